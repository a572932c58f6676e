# SPDX-License-Identifier: Apache-2.0
r"""Exports as JSON Lines: an object in each line, in UTF-8.

    {"lsmkv": "export", "version": 1, "uuid": ..., "sequence": ..., ...}   the head
    {"namespace": "users", "options": {...}, "vectors": {...}}     each namespace
    {"chunk": 0, "rows": 0, "xxh3": "0123456789abcdef"}
    {"namespace": "users", "key": "u/1", "value": "x", "expires": 1790000000000}  a row
    {"chunk": 1, "rows": 1, "xxh3": ...}
    {"end": true, "rows": 1, "xxh3": ...}

Keys and values that are text stand in the notation of `lsmkv.cli.text`; others are
`key64` and `value64`, in base64, unless they are short and that would be longer. Rows
of the database's own keyspace name no namespace. `expires` and `fresh` are ms since
1970 and left out where there are none.

A chunk is closed by a line with the rows so far and the XXH3-64 of all lines since the
one that closed the chunk before, that one included, whose checksum is the seed.
"""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Iterator
from json.encoder import encode_basestring as quoted
from typing import Any, BinaryIO, NamedTuple

from lsmkv._base import xxh3_64
from lsmkv.cli import text
from lsmkv.cli.command import Advance
from lsmkv.cli.dump import Chunk, DamageError, Head, Row, Space, Summary

_SHORT = 64  # bytes, up to which what is no text is tried in both notations
# What reading JSON, and looking for what it should hold, may raise.
_WRONG = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
_BEGIN = b'{"lsmkv": "export"'
_RESUMED = b'{"resumed":'
_CLOSING = (b'{"chunk":', b'{"end":')


def _field(name: str, data: bytes) -> str:
    """Write a key or value."""
    plain = text.plain(data)
    if plain is not None:
        return f'"{name}":{quoted(plain)}'
    packed = base64.b64encode(data).decode()
    if len(data) <= _SHORT:
        escaped: str = quoted(text.escape(data))
        if len(escaped) <= len(packed):
            return f'"{name}":{escaped}'
    return f'"{name}64":"{packed}"'


def _line(space: str, row: Row) -> str:
    """Write a row."""
    key, value, expires, fresh = row
    head = f'"namespace":{quoted(space)},' if space else ""
    times = f',"expires":{expires}' if expires else ""
    if fresh:
        times += f',"fresh":{fresh}'
    return f"{{{head}{_field('key', key)},{_field('value', value)}{times}}}\n"


def _data(found: dict[str, Any], name: str) -> bytes:
    """Read a key or value."""
    if name in found:
        value: str = found[name]
        return text.unescape(value) if "\\" in value else value.encode()
    return base64.b64decode(found[f"{name}64"], validate=True)


def _row(line: bytes) -> tuple[str, Row]:
    """Read a row; one of _WRONG if it is none."""
    found = json.loads(line)
    times = found.get("expires", 0), found.get("fresh", 0)
    for each in times:
        if type(each) is not int or not 0 <= each < 1 << 64:
            raise ValueError(f"{each!r} is no time")
    space = found.get("namespace", "")
    return space, Row(_data(found, "key"), _data(found, "value"), *times)


def _closing(number: int, rows: int, check: int, *, end: bool) -> bytes:
    """Write the line that closes a chunk."""
    name = '"end": true' if end else f'"chunk": {number}'
    return f'{{{name}, "rows": {rows}, "xxh3": "{check:016x}"}}\n'.encode()


class Mark(NamedTuple):
    """Where a chunk of a file ends.

    Attributes:
        number: The chunks before.
        rows: The rows up to here.
        check: The running checksum.
        closing: The line that says so, of which the next checksum is.
        offset: Behind that line.
    """

    number: int
    rows: int
    check: int
    closing: bytes
    offset: int


class LinesSink:
    """Writes an export, or the rest of one."""

    def __init__(self, file: BinaryIO, since: Mark | None = None) -> None:
        """Write to `file`, which ends with the chunk `since` if that is given."""
        self._file = file
        self._mark = since or Mark(-1, 0, 0, b"", 0)
        self._rows = self._mark.rows

    def begin(self, head: Head) -> None:
        """Write the head of a new export."""
        objects = [head.to_json(), *(space.to_json() for space in head.spaces)]
        self._close("".join(json.dumps(each) + "\n" for each in objects).encode())

    def resume(self, head: Head) -> None:
        """Note of which moment the rest is."""
        note = json.dumps({"resumed": head.time, "sequence": head.sequence})
        self._close(f"{note}\n".encode())

    def add(self, space: str, rows: list[Row]) -> None:
        """Write a chunk."""
        lines = [_line(space, row) for row in rows]
        self._rows += len(rows)
        self._close("".join(lines).encode())

    def _close(self, lines: bytes, *, end: bool = False) -> None:
        """Write lines, and the one that closes them."""
        number, _, check, closing, offset = self._mark
        check = xxh3_64(closing + lines, check)
        closing = _closing(number + 1, self._rows, check, end=end)
        self._file.write(lines + closing)
        offset += len(lines) + len(closing)
        self._mark = Mark(number + 1, self._rows, check, closing, offset)

    def finish(self) -> Summary:
        """Write the end."""
        self._close(b"", end=True)
        return Summary(self._rows, f"{self._mark.check:016x}")


class _Part(NamedTuple):
    """Lines up to one that closes them, checked."""

    mark: Mark
    first: int  # line, from 1
    offset: int
    lines: list[bytes]
    end: bool


class LinesSource:
    """Reads an export."""

    head: Head

    def __init__(self, file: BinaryIO, path: str) -> None:
        """Read the head of `file`, called `path` in messages."""
        self._file = file
        self._path = path
        self._parts = self._read_parts()
        self._start = self._read_head()

    def check(self, advance: Advance) -> Summary:
        """Read all of the file, and go back behind the head."""
        mark = self._start
        advance(mark.offset)
        for part in self._parts:
            advance(part.mark.offset - mark.offset)
            mark = part.mark
        self._file.seek(0)
        self._parts = self._read_parts()
        next(self._parts)
        return Summary(mark.rows, f"{mark.check:016x}")

    def chunks(self) -> Iterator[Chunk]:
        """Read what follows the head."""
        for part in self._parts:
            yield Chunk(part.mark.number, part.mark.rows, self._rows(part))

    def last_whole(
        self, advance: Advance
    ) -> tuple[Mark, tuple[str, bytes] | None, int]:
        """Return where the last whole chunk ends, the last row there, and its moment.

        Of the row that is namespace and key. What lies behind was being written.
        """
        mark, row, sequence = self._start, None, self.head.sequence
        with contextlib.suppress(DamageError):
            for part in self._parts:
                if part.end:
                    break
                advance(part.mark.rows - mark.rows)
                mark = part.mark
                if part.lines[-1].startswith(_RESUMED):
                    sequence = json.loads(part.lines[-1])["sequence"]
                for space, (key, *_) in self._rows(part, only_last=True):
                    row = space, key
        return mark, row, sequence

    def _damaged(self, where: str, what: str) -> DamageError:
        return DamageError(self._path, where, what)

    def _read_parts(self) -> Iterator[_Part]:
        """Read to the end; DamageError where the checksum or the order is wrong."""
        before = Mark(-1, 0, 0, b"", 0)
        first, lines = 1, list[bytes]()
        for line in self._file:
            lines.append(line)
            if not lines[0].startswith(_BEGIN) and first == 1:
                raise self._damaged("line 1", "this is no export of lsmkv")
            if not line.startswith(_CLOSING):
                continue
            part = self._closed(before, first, lines)
            yield part
            before, first, lines = part.mark, first + len(lines), []
            if part.end:
                if self._file.read(1):
                    break
                return
        where = f"from line {first:,} (byte {before.offset:,}) on"
        raise self._damaged(where, self._suspect(first, lines, "it is not whole"))

    def _closed(self, before: Mark, first: int, lines: list[bytes]) -> _Part:
        """Check lines, the last of which closes them."""
        closing = lines[-1]
        where = f"lines {first:,} to {first + len(lines) - 1:,}"
        where += f" (from byte {before.offset:,} on)"
        body = b"".join(lines[:-1])
        check = xxh3_64(before.closing + body, before.check)
        end = closing.startswith(b'{"end":')
        rows = -1
        with contextlib.suppress(*_WRONG):
            rows = int(json.loads(closing)["rows"])
        number = before.number + 1
        if closing != _closing(number, rows, check, end=end):
            what = "the checksum is wrong: they are not as they were written"
            raise self._damaged(where, self._suspect(first, lines, what))
        mark = Mark(
            number, rows, check, closing, before.offset + len(body) + len(closing)
        )
        return _Part(mark, first, before.offset, lines[:-1], end)

    def _suspect(self, first: int, lines: list[bytes], what: str) -> str:
        """Add what is known of lines that are wrong."""
        for number, line in enumerate(lines, first):
            try:
                json.loads(line)
            except (ValueError, RecursionError) as error:
                return f"{what}; line {number:,} is no JSON ({error})"
        return what

    def _read_head(self) -> Mark:
        """Take the first chunk."""
        part = next(self._parts)
        try:
            first, *others = map(json.loads, part.lines)
            self.head = Head.of_json(first, tuple(map(Space.of_json, others)))
            self._spaces = {"", *(space.name for space in self.head.spaces)}
        except _WRONG as error:
            raise self._damaged("the head", f"this cannot be read: {error}") from None
        return part.mark

    def _rows(
        self, part: _Part, *, only_last: bool = False
    ) -> Iterator[tuple[str, Row]]:
        """Read the rows of a part."""
        lines, first = part.lines, part.first
        if only_last:
            lines, first = lines[-1:], first + len(lines) - 1
        for number, line in enumerate(lines, first):
            if line.startswith(_RESUMED):
                continue
            try:
                space, row = _row(line)
                if space not in self._spaces:
                    raise ValueError(f"the head has no namespace {space!r}")
                yield space, row
            except _WRONG as error:
                where = f"line {number:,} (chunk from byte {part.offset:,} on)"
                raise self._damaged(where, f"this is no row: {error!r}") from None

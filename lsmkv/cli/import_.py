# SPDX-License-Identifier: Apache-2.0
"""Imports: the rows of an export, put into a database.

The file is read once to check all of it before the first row is put. Rows are written
in batches, whole chunks of the file each, and with each batch, atomically, how far that
is. So an import that was interrupted knows where to go on, whatever interrupted it.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from lsmkv import WriteBatch, _namespace
from lsmkv.cli import lines, render
from lsmkv.cli.command import CommandError
from lsmkv.cli.dump import POSITION_SPACE, DamageError, Format, Source, Space, Summary
from lsmkv.namespace import Namespace

if TYPE_CHECKING:
    from rich.console import Console

    import lsmkv
    from lsmkv.cli.command import Place, Progress
    from lsmkv.cli.dump import Chunk
    from lsmkv.keyspace import Keyspace

_KEY = b"position"
_PARQUET = b"PAR1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportResult:
    """What was put.

    Attributes:
        ok: True.
        input: The file.
        format: "jsonl" or "parquet".
        rows: How many rows the file has.
        resumed: How many of them an interrupted run had put.
        created: Namespaces that were made.
        kept: Namespaces that were there, and kept options that are not those of the
            file.
        uuid: Of the database that was exported.
        sequence: The number of the newest write that the export shows.
        seconds: How long it took.
    """

    ok: bool
    input: str
    format: Format
    rows: int
    resumed: int
    created: list[str]
    kept: list[str]
    uuid: str
    sequence: int
    seconds: float


class _Position(NamedTuple):
    """How far an import is: what is kept in the database."""

    file: str  # checksum of the whole file; "" where that is not known
    chunk: int
    rows: int


def run(
    progress: Progress,
    place: Place,
    *,
    source: str,
    resume: bool,
    start_over: bool,
    batch_bytes: int,
) -> ImportResult:
    """Put what a file has."""
    began = time.monotonic()
    if source == "-" and resume:
        raise click.UsageError("what is read from - cannot be resumed")
    with _opened(source) as (found, file_format):
        job = _Job(place.db, found, batch_bytes)
        since = job.find_position(resume=resume, start_over=start_over)
        whole = None
        if source != "-":
            with progress.step("checking", Path(source).stat().st_size) as advance:
                whole = found.check(advance)
        if since is not None and (whole is None or since.file != whole.check):
            raise CommandError(
                f"{source} is not the file whose import was interrupted, or has been "
                f"changed since: give that one, or --start-over to import this one"
            )
        rows = job.put(progress, whole, since)
    return ImportResult(
        ok=True,
        input=source,
        format=file_format,
        rows=rows,
        resumed=since.rows if since else 0,
        created=job.created,
        kept=job.kept,
        uuid=found.head.uuid,
        sequence=found.head.sequence,
        seconds=time.monotonic() - began,
    )


@contextlib.contextmanager
def _opened(source: str) -> Iterator[tuple[Source, Format]]:
    """Open an export; what it begins with tells its format."""
    if source == "-":
        yield lines.LinesSource(sys.stdin.buffer, "standard input"), "jsonl"
        return
    with Path(source).open("rb") as file:
        if file.peek(len(_PARQUET)).startswith(_PARQUET):
            from lsmkv.cli import parquet

            with parquet.source(source) as found:
                yield found, "parquet"
        else:
            yield lines.LinesSource(file, source), "jsonl"


@dataclass(slots=True)
class _Job:
    """An import.

    Attributes:
        created: Namespaces that it made.
        kept: Namespaces that were there, with other options.
    """

    db: lsmkv.DB
    source: Source
    batch_bytes: int
    created: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)

    def find_position(self, *, resume: bool, start_over: bool) -> _Position | None:
        """Return how far an interrupted import has come, if it is to go on."""
        try:
            space = self.db.namespace(POSITION_SPACE, create=False)
        except KeyError:
            return None
        kept = space.get(_KEY)
        if kept is None or start_over:
            self.db.drop_namespace(POSITION_SPACE)
            return None
        position = _Position(*json.loads(kept))
        if not resume:
            raise CommandError(
                f"an import into this database was interrupted after "
                f"{position.rows:,} rows: --resume goes on with it, --start-over "
                f"forgets about it (the rows stay)"
            )
        return position

    def put(
        self, progress: Progress, whole: Summary | None, since: _Position | None
    ) -> int:
        """Put all rows behind a position; return how many rows the file has."""
        head = self.source.head
        spaces: dict[str, Keyspace] = {"": self.db}
        for space in head.spaces:
            spaces[space.name] = self._make(space)
        done = since or _Position("", 0, 0)
        writer = _Writer(self.db, spaces, whole, self.batch_bytes, done)
        with progress.step("importing", whole.rows if whole else None) as advance:
            advance(writer.done.rows)
            try:
                for chunk in self.source.chunks():
                    if since is None or chunk.number > since.chunk:
                        advance(writer.add(chunk))
            except DamageError as damage:
                raise CommandError(
                    f"{damage}\n{writer.done.rows:,} rows before that were put"
                ) from damage
            writer.write()
        self.db.sync()
        self.db.drop_namespace(POSITION_SPACE)
        return writer.done.rows

    def _make(self, wanted: Space) -> Namespace:
        """Find or make a namespace; one that is there keeps its options."""
        found = _namespace.names(self.db, None).get(wanted.name)
        if found is None:
            self.created.append(wanted.name)
            how = wanted.to_engine() | {"create": 1}
            return _namespace.Namespace.__new__(
                Namespace, self.db, wanted.name, how, None
            )
        there = Space.of_engine(wanted.name, found)
        if there.vectors != wanted.vectors:
            raise CommandError(
                f"the namespace {wanted.name!r} is there and holds other rows: "
                f"{there.vectors or 'bytes'}, not {wanted.vectors or 'bytes'}"
            )
        if there != wanted:
            self.kept.append(wanted.name)
        return self.db.namespace(wanted.name, create=False)


@dataclass(slots=True)
class _Writer:
    """Puts rows, and with them how far that is.

    Attributes:
        done: What is in the database.
    """

    db: lsmkv.DB
    spaces: Mapping[str, Keyspace]
    whole: Summary | None
    batch_bytes: int
    done: _Position
    _batch: WriteBatch = field(default_factory=WriteBatch)
    _next: _Position | None = None

    def add(self, chunk: Chunk) -> int:
        """Add a chunk; return how many rows it has."""
        rows = list(chunk.rows)
        size = sum(len(row.key) + len(row.value) for _, row in rows)
        if self._batch.nbytes + size > self.batch_bytes:
            self.write()
        put = self._batch._put_until
        for name, (key, value, expires, fresh) in rows:
            put(key, value, expires, fresh, self.spaces[name])
        check = self.whole.check if self.whole else ""
        self._next = _Position(check, chunk.number, chunk.total)
        return len(rows)

    def write(self) -> None:
        """Write what was added."""
        if self._next is None:
            return
        if self.whole is not None:  # what has no file cannot be resumed
            place = self.db.namespace(POSITION_SPACE)
            self._batch.put(_KEY, json.dumps(self._next).encode(), namespace=place)
        self.db.write(self._batch)
        self._batch.clear()
        self.done, self._next = self._next, None


def show(result: ImportResult, console: Console) -> None:
    """Write it for people."""
    rate = (result.rows - result.resumed) / max(result.seconds, 1e-9)
    console.print(
        f"{render.number(result.rows)} rows of {result.input} "
        f"({render.duration(result.seconds)}, {render.number(rate)} rows/s)",
        soft_wrap=True,
        markup=False,
    )
    if result.resumed:
        console.print(f"{render.number(result.resumed)} of them were there before")
    for name in result.kept:
        console.print(
            f"the namespace {name!r} was there: it keeps its options, which are not "
            f"those of the file",
            soft_wrap=True,
            markup=False,
        )

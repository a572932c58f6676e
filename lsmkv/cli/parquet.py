# SPDX-License-Identifier: Apache-2.0
"""Exports as Parquet, for what reads tables; needs the extra [parquet].

    namespace   text             the database's own keyspace is ""
    key         binary
    value       binary           or `vector`, a list of fixed size, where the rows of
                                 one namespace of vectors are all there is
    expires_at  time, null where the row does not expire
    fresh_until time, null where it is fresh until it expires

Pages carry checksums of Parquet's own. The metadata `lsmkv` is a JSON object with the
head, the namespaces, and of each row group the rows up to its end and a running XXH3-64
of what is in it; `lsmkv.xxh3` is the XXH3-64 of that object.
"""

from __future__ import annotations

import contextlib
import importlib
import json
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsmkv._base import xxh3_64
from lsmkv.cli.command import Advance, CommandError
from lsmkv.cli.dump import Chunk, DamageError, Head, Row, Space, Summary

if TYPE_CHECKING:
    from lsmkv.vector_reader import VectorSchema

GROUP_ROWS = 1 << 17
GROUP_BYTES = 32 << 20
# What reading facts that are not right may raise.
_WRONG = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
)
_TIMES_MAX = (1 << 63) - 1
_TYPES = {"float32": "float32", "float16": "float16", "int8": "int8"}


def _need(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise CommandError(f"{error}: pip install 'lsmkv[parquet]'") from error


def _check_of(space: str, rows: Sequence[Row], seed: int) -> int:
    """Return the checksum of a row group, after that of those before."""
    keys = [row.key for row in rows]
    values = [row.value for row in rows]
    numbers = array("Q", map(len, keys))
    numbers.extend(map(len, values))
    numbers.extend(row.expires for row in rows)
    numbers.extend(row.fresh for row in rows)
    for part in (space.encode(), numbers, b"".join(keys), b"".join(values)):
        seed = xxh3_64(part, seed)
    return seed


class _Sink:
    """Writes an export, a row group at a time, each of one namespace."""

    def __init__(self, path: Path, head: Head, schema: VectorSchema | None) -> None:
        self._pa = _need("pyarrow")
        self._head = head
        self._vectors = schema if schema and schema.dtype in _TYPES else None
        pa, when = self._pa, self._pa.timestamp("ms", tz="UTC")
        self._when = when
        self._value = ("value", pa.binary())
        if self._vectors is not None:
            number = pa.type_for_alias(_TYPES[self._vectors.dtype])
            self._value = ("vector", pa.list_(number, self._vectors.dim))
        self._schema = pa.schema(
            [
                pa.field("namespace", pa.string(), nullable=False),
                pa.field("key", pa.binary(), nullable=False),
                pa.field(*self._value, nullable=False),
                pa.field("expires_at", when),
                pa.field("fresh_until", when),
            ]
        )
        self.writer = _need("pyarrow.parquet").ParquetWriter(
            path,
            self._schema,
            compression="zstd",
            use_dictionary=["namespace"],
            write_page_checksum=True,
            store_schema=True,
        )
        self._space = ""
        self._rows: list[Row] = []
        self._bytes = 0
        self._total = self._check = 0
        self._groups: list[dict[str, object]] = []

    def add(self, space: str, rows: list[Row]) -> None:
        """Take rows of a namespace, in the order of their keys."""
        if space != self._space:
            self._write()
            self._space = space
        self._rows += rows
        self._bytes += sum(len(row.key) + len(row.value) for row in rows)
        if len(self._rows) >= GROUP_ROWS or self._bytes >= GROUP_BYTES:
            self._write()

    def _write(self) -> None:
        """Write a row group."""
        rows, pa = self._rows, self._pa
        if not rows:
            return
        self._check = _check_of(self._space, rows, self._check)
        self._total += len(rows)
        self._groups.append({"rows": self._total, "xxh3": f"{self._check:016x}"})
        times = [
            pa.array([min(at, _TIMES_MAX) or None for at in column], self._when)
            for column in ([row.expires for row in rows], [row.fresh for row in rows])
        ]
        columns = [
            pa.array([self._space] * len(rows), pa.string()),
            pa.array([row.key for row in rows], pa.binary()),
            self._values(),
            *times,
        ]
        table = pa.Table.from_arrays(columns, schema=self._schema)
        self.writer.write_table(table, row_group_size=len(rows))
        self._rows, self._bytes = [], 0

    def _values(self) -> Any:
        """Return the column of values."""
        pa, values = self._pa, [row.value for row in self._rows]
        if self._vectors is None:
            return pa.array(values, pa.binary())
        size = self._vectors.row_bytes
        for row in self._rows:
            if len(row.value) != size:
                raise CommandError(
                    f"the value of {row.key!r} in {self._space!r} has "
                    f"{len(row.value)} bytes, a vector {size}: export as JSON Lines"
                )
        data = pa.py_buffer(b"".join(values))
        kind = self._schema[2].type
        count = len(values) * self._vectors.dim
        numbers = pa.Array.from_buffers(kind.value_type, count, [None, data])
        return pa.FixedSizeListArray.from_arrays(numbers, type=kind)

    def finish(self) -> Summary:
        """Write what makes the file whole."""
        self._write()
        facts = json.dumps(
            self._head.to_json()
            | {
                "namespaces": [space.to_json() for space in self._head.spaces],
                "groups": self._groups,
            }
        ).encode()
        check = f"{xxh3_64(facts):016x}"
        self.writer.add_key_value_metadata({"lsmkv": facts, "lsmkv.xxh3": check})
        return Summary(self._total, check)


@contextlib.contextmanager
def sink(path: Path, head: Head, schema: VectorSchema | None) -> Iterator[_Sink]:
    """Begin a file, with a column of vectors if all rows are such."""
    made = _Sink(path, head, schema)
    with made.writer:
        yield made


class _Source:
    """Reads an export."""

    def __init__(self, path: str, file: Any) -> None:
        self._path = path
        self._file = file
        self._pa = _need("pyarrow")
        found = file.metadata.metadata or {}
        if b"lsmkv" not in found:
            raise self._damaged("its metadata", "this is no export of lsmkv")
        self._facts = found[b"lsmkv"]
        self._check = f"{xxh3_64(self._facts):016x}"
        if found.get(b"lsmkv.xxh3") != self._check.encode():
            raise self._damaged("its metadata", "the checksum is wrong")
        try:
            facts = json.loads(self._facts)
            self._groups = facts["groups"]
            spaces = tuple(map(Space.of_json, facts["namespaces"]))
            self.head = Head.of_json(facts, spaces)
        except _WRONG as error:
            raise self._damaged(
                "its metadata", f"this cannot be read: {error}"
            ) from None
        self._spaces = {"", *(space.name for space in spaces)}

    def _damaged(self, where: str, what: str) -> DamageError:
        return DamageError(self._path, where, what)

    def check(self, advance: Advance) -> Summary:
        """Read all row groups."""
        total, left = 0, Path(self._path).stat().st_size
        for chunk in self.chunks():
            group = self._file.metadata.row_group(chunk.number)
            columns = map(group.column, range(group.num_columns))
            size = sum(column.total_compressed_size for column in columns)
            advance(size)
            total, left = chunk.total, left - size
        advance(left)
        return Summary(total, self._check)

    def chunks(self) -> Iterator[Chunk]:
        """Read the row groups in their order."""
        check, total = 0, 0
        if self._file.num_row_groups != len(self._groups):
            raise self._damaged(
                "its metadata",
                f"it has {self._file.num_row_groups} row groups, not "
                f"{len(self._groups)}",
            )
        for number, told in enumerate(self._groups):
            where = f"row group {number} (rows {total:,} on)"
            try:
                space, rows = self._read(number)
                check, total = _check_of(space, rows, check), total + len(rows)
            except (self._pa.ArrowException, OSError, *_WRONG) as error:
                raise self._damaged(where, " ".join(str(error).split())) from None
            if told != {"rows": total, "xxh3": f"{check:016x}"}:
                raise self._damaged(where, "the checksum is wrong")
            yield Chunk(number, total, ((space, row) for row in rows))

    def _read(self, number: int) -> tuple[str, list[Row]]:
        """Read a row group."""
        table = self._file.read_row_group(number)
        names = table["namespace"].unique().to_pylist()
        if len(names) != 1 or names[0] not in self._spaces:
            raise ValueError("its rows are of no namespace, or of several")
        if "vector" in table.column_names:
            values = self._vectors(table["vector"])
        else:
            values = table["value"].to_pylist()
        keys = table["key"].to_pylist()
        times = [
            [at or 0 for at in table[name].cast(self._pa.int64()).to_pylist()]
            for name in ("expires_at", "fresh_until")
        ]
        return names[0], list(map(Row, keys, values, *times))

    def _vectors(self, column: Any) -> list[bytes]:
        """Return the bytes of vectors."""
        whole = column.combine_chunks()
        if isinstance(whole, self._pa.ChunkedArray):
            whole = whole.chunk(0)
        numbers = whole.flatten()
        size = whole.type.list_size * numbers.type.bit_width // 8
        at = numbers.offset * numbers.type.bit_width // 8
        data = numbers.buffers()[1].to_pybytes()[at:]
        return [data[i * size : (i + 1) * size] for i in range(len(whole))]


@contextlib.contextmanager
def source(path: str) -> Iterator[_Source]:
    """Open a file."""
    pa, parquet = _need("pyarrow"), _need("pyarrow.parquet")
    try:
        file = parquet.ParquetFile(path, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        where = "the end of the file"
        raise DamageError(path, where, " ".join(str(error).split())) from None
    with file:
        yield _Source(path, file)

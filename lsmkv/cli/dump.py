# SPDX-License-Identifier: Apache-2.0
"""What exports consist of, whatever their format: a head, and rows in chunks."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from lsmkv.cli import text
from lsmkv.cli.command import Advance, CommandError
from lsmkv.vector_reader import VectorSchema

if TYPE_CHECKING:
    from lsmkv._scan import EntryScan

VERSION = 1
CHUNK_ROWS = 4096
CHUNK_BYTES = 1 << 20
POSITION_SPACE = "lsmkv.import"  # where an import keeps how far it is

Format = Literal["jsonl", "parquet"]

# What a namespace has that has nothing of its own, as the C interface says it.
_OPTIONS = {
    "default_ttl_ms": 0,
    "default_stale_ms": 0,
    "blob_threshold_bytes": -1,
    "codec": -1,
    "max_bytes": 0,
    "cache_policy": 0,
}


class Row(NamedTuple):
    """A row. Times are ms since 1970; 0: never, and: until it expires."""

    key: bytes
    value: bytes
    expires: int
    fresh: int


class DamageError(CommandError):
    """An export is not as it was written; the text says where."""

    def __init__(self, path: str, where: str, what: str) -> None:
        """Name the file, the place in it, and what is wrong."""
        super().__init__(f"{path}, {where}: {what}")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """A namespace that an export recreates.

    Attributes:
        name: Its name.
        options: What it has of its own, as the C interface says it.
        vectors: What its rows are, if they are vectors.
    """

    name: str
    options: dict[str, int]
    vectors: VectorSchema | None = None

    @classmethod
    def of_engine(cls, name: str, values: dict[str, int]) -> Space:
        """Take what the engine tells of a namespace."""
        options = {k: values[k] for k, none in _OPTIONS.items() if values[k] != none}
        if "codec" in options:
            options["codec_level"] = values["codec_level"]
        schema = VectorSchema._from_engine(values)
        return cls(name=name, options=options, vectors=schema)

    def to_engine(self) -> dict[str, int]:
        """Return it as the engine is asked for it."""
        return self.options | (self.vectors._to_engine() if self.vectors else {})

    def to_json(self) -> dict[str, Any]:
        """Return it as an object of a file."""
        found: dict[str, Any] = {"namespace": self.name, "options": self.options}
        if self.vectors is not None:
            found["vectors"] = dataclasses.asdict(self.vectors)
        return found

    @classmethod
    def of_json(cls, found: Mapping[str, Any]) -> Space:
        """Take an object of a file; ValueError or TypeError if it is none."""
        name, options, vectors = found["namespace"], found["options"], None
        known = {*_OPTIONS, "codec_level"}
        if not isinstance(name, str) or not isinstance(options, dict):
            raise TypeError("a namespace has a name and options")
        for key, value in options.items():
            if key not in known or type(value) is not int:
                raise ValueError(f"a namespace has no option {key!r} of {value!r}")
        if "vectors" in found:
            vectors = VectorSchema(**found["vectors"])
        return cls(name=name, options=options, vectors=vectors)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What an export says first.

    Attributes:
        uuid: Of the database, in hexadecimal.
        sequence: The number of the newest write that it shows.
        time: When it was begun, in UTC.
        selection: Which rows were asked for: namespace ("" is the database's own, null
            all of them), prefix, start and stop, as they are typed.
        spaces: The namespaces that it holds rows of, without the database's own.
    """

    uuid: str
    sequence: int
    time: str
    selection: dict[str, str | None]
    spaces: tuple[Space, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as an object of a file, without the namespaces."""
        return {
            "lsmkv": "export",
            "version": VERSION,
            "uuid": self.uuid,
            "sequence": self.sequence,
            "time": self.time,
            "selection": self.selection,
        }

    @classmethod
    def of_json(cls, found: Mapping[str, Any], spaces: tuple[Space, ...]) -> Head:
        """Take an object of a file; KeyError, ValueError or TypeError if it is none."""
        if found["lsmkv"] != "export":
            raise ValueError("this is no export")
        if found["version"] != VERSION:
            raise ValueError(f"this is of version {found['version']!r}, not {VERSION}")
        fields = {key: found[key] for key in ("uuid", "sequence", "time", "selection")}
        return cls(**fields, spaces=spaces)


class Chunk(NamedTuple):
    """Rows of an export that were checked together.

    Attributes:
        number: Its place among the chunks.
        total: Rows up to its end.
        rows: The rows, each with the name of its namespace.
    """

    number: int
    total: int
    rows: Iterator[tuple[str, Row]]


class Summary(NamedTuple):
    """What an export was found to hold when all of it was checked."""

    rows: int
    check: str


class Sink(Protocol):
    """Where an export is written to."""

    def add(self, space: str, rows: list[Row]) -> None:
        """Write rows of a namespace, in the order of their keys."""

    def finish(self) -> Summary:
        """Write what makes it whole."""


class Source(Protocol):
    """An export that is read."""

    @property
    def head(self) -> Head:
        """What it says first."""

    def check(self, advance: Advance) -> Summary:
        """Read all of it; DamageError if it is not as it was written."""

    def chunks(self) -> Iterator[Chunk]:
        """Read it in the order in which it was written; DamageError as for `check`."""


def now() -> str:
    """Return the time, in UTC, for people."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def in_chunks(scan: EntryScan) -> Iterator[list[Row]]:
    """Take rows together, so many that they fit well into memory."""
    rows: list[Row] = []
    size = 0
    for row in scan:
        size += len(row[0]) + len(row[1])
        if size > CHUNK_BYTES and rows:
            yield rows
            rows, size = [], len(row[0]) + len(row[1])
        rows.append(Row(*row))
        if len(rows) == CHUNK_ROWS:
            yield rows
            rows, size = [], 0
    if rows:
        yield rows


def typed(value: str | None) -> bytes | None:
    """Read a bound of keys as it is typed."""
    return None if value is None else text.parse(value)

# SPDX-License-Identifier: Apache-2.0
"""What a database is like: what the engine counts, and a sample of its rows.

All rows are looked at if there are few. Otherwise, for each namespace, runs of rows
that lie evenly among all of them: the places are found by asking about how many keys
there are before a key, which costs little however large the database is.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import lsmkv
from lsmkv import _namespace
from lsmkv._scan import EntryScan, KeyScan
from lsmkv.cli.dump import Space
from lsmkv.stats import Memory, Stats

if TYPE_CHECKING:
    from lsmkv import _core
    from lsmkv.cli.command import Place, Progress
    from lsmkv.snapshot import Snapshot

SAMPLE_ROWS = 200_000
SAMPLE_BYTES = 256 << 20
RUNS = 32
_PROBES = 40  # places tried for the start of a run

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
# When a row expires, from now on: up to so many seconds, and what that is called.
TIMES = (
    (_MINUTE, "within a minute"),
    (_HOUR, "within an hour"),
    (_DAY, "within a day"),
    (7 * _DAY, "within a week"),
    (30 * _DAY, "within 30 days"),
    (365 * _DAY, "within a year"),
    (float("inf"), "later"),
)
STALE, NEVER = "stale already", "never"


@dataclass(slots=True)
class Sizes:
    """How large keys or values are.

    Attributes:
        counts: By power of two: [0] of size 0, [n] from 2**(n-1) to 2**n - 1 bytes.
        total: Bytes of all.
        largest: The size of the largest.
    """

    counts: list[float] = field(default_factory=list)
    total: float = 0.0
    largest: int = 0

    def add(self, size: int, weight: float) -> None:
        """Count one that stands for `weight` many."""
        bucket = size.bit_length()
        if bucket >= len(self.counts):
            self.counts += [0.0] * (bucket + 1 - len(self.counts))
        self.counts[bucket] += weight
        self.total += size * weight
        self.largest = max(self.largest, size)

    def labels(self) -> list[tuple[str, float]]:
        """Return each size that there is, and those between, for people."""
        first = next((i for i, n in enumerate(self.counts) if n), len(self.counts))
        return [(_range(i), n) for i, n in enumerate(self.counts) if i >= first]


def _range(bucket: int) -> str:
    if bucket < 2:
        return f"{bucket} B"
    return f"{_binary(1 << (bucket - 1))} to {_binary((1 << bucket) - 1)}"


def _binary(size: int) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size} {unit}"
        size >>= 10
    return f"{size} GiB"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceFacts:
    """A namespace.

    Attributes:
        name: Its name; "" for the database's own keyspace.
        space: What it is made with; None for the database's own keyspace.
        rows: How many rows it has; about, unless all were looked at.
        sampled: How many of them were looked at.
        key_bytes: Of all keys, as far as the sample tells.
        value_bytes: Of all values, likewise.
        file_bytes: What it takes in tables, about.
    """

    name: str
    space: Space | None
    rows: int
    sampled: int
    key_bytes: float
    value_bytes: float
    file_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a database is like at one moment.

    Attributes:
        directory: Where it lies.
        uuid: What no other database has.
        version: Of lsmkv.
        time: Of this moment, in seconds since 1970.
        sequence: The number of the newest write.
        exact: Whether all rows were looked at.
        rows: How many there are; about, unless `exact`.
        sampled: How many were looked at.
        keys: The sizes of keys.
        values: The sizes of values.
        times: How many rows expire when.
        spaces: Each namespace.
        files: How many files of each kind there are, and their bytes.
        stats: What the engine counts; what it has done since this opening is little.
        memory: What this opening takes.
        options: Those of the database.
    """

    directory: str
    uuid: str
    version: str
    time: float
    sequence: int
    exact: bool
    rows: int
    sampled: int
    keys: Sizes
    values: Sizes
    times: dict[str, float]
    spaces: list[SpaceFacts]
    files: dict[str, tuple[int, int]]
    stats: Stats
    memory: Memory
    options: dict[str, object]

    @property
    def file_bytes(self) -> int:
        """The size of all files."""
        return sum(size for _, size in self.files.values())


def gather(progress: Progress, place: Place, sample_rows: int = SAMPLE_ROWS) -> Facts:
    """Look at a database."""
    db = place.db
    now = time.time()
    sizes = Sizes(), Sizes()
    times = dict.fromkeys((STALE, *(name for _, name in TIMES), NEVER), 0.0)
    spaces = []
    stats = db.stats()
    with db.snapshot() as snapshot:
        names = _namespace.names(db, snapshot)
        made = {name: Space.of_engine(name, each) for name, each in names.items()}
        parts = len(names) + 1
        sampling = _Sampling(snapshot, sample_rows // parts, SAMPLE_BYTES // parts)
        with progress.step("looking at rows", parts) as advance:
            for name in ("", *names):
                rows, found = sampling.take(name)
                weight = rows / len(found) if found else 0.0
                before = sizes[0].total, sizes[1].total
                for key_size, value_size, expires, fresh in found:
                    sizes[0].add(key_size, weight)
                    sizes[1].add(value_size, weight)
                    times[_when(expires, fresh, now)] += weight
                counts = stats.namespaces.get(name)
                spaces.append(
                    SpaceFacts(
                        name=name,
                        space=made.get(name),
                        rows=rows,
                        sampled=len(found),
                        key_bytes=sizes[0].total - before[0],
                        value_bytes=sizes[1].total - before[1],
                        file_bytes=counts.bytes if counts else 0,
                    )
                )
                advance(1)
        sequence = snapshot._sequence()
    return Facts(
        directory=str(Path(db.path).resolve()),
        uuid=db._uuid().hex(),
        version=lsmkv.__version__,
        time=now,
        sequence=sequence,
        exact=sampling.exact,
        rows=sum(space.rows for space in spaces),
        sampled=sum(space.sampled for space in spaces),
        keys=sizes[0],
        values=sizes[1],
        times=times,
        spaces=spaces,
        files=_files(Path(db.path)),
        stats=stats,
        memory=db.memory(),
        options=dataclasses.asdict(db.options),
    )


def _when(expires: int, fresh: int, now: float) -> str:
    """Say when a row expires, or stops being fresh."""
    at = min(filter(None, (expires, fresh)), default=0)
    if at == 0:
        return NEVER
    left = at / 1000 - now
    return next(name for limit, name in TIMES if left <= limit) if left > 0 else STALE


_KINDS = {
    ".tbl": "tables",
    ".log": "logs",
    ".seg": "value files",
    ".cache": "cache files",
    "": "bookkeeping",
}


def _files(directory: Path) -> dict[str, tuple[int, int]]:
    """Count the files of a directory by what they are."""
    found: dict[str, tuple[int, int]] = {}
    for path in sorted(directory.iterdir()):
        kind = _KINDS.get(path.suffix, "others")
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            continue  # deleted meanwhile
        count, total = found.get(kind, (0, 0))
        found[kind] = count + 1, total + size
    return found


_Sizes = tuple[int, int, int, int]  # of key and value, and the times


@dataclass(slots=True)
class _Sampling:
    """Takes rows of namespaces, up to `limit` of each.

    Attributes:
        exact: Whether all rows were taken.
    """

    snapshot: Snapshot
    limit: int
    limit_bytes: int
    exact: bool = True

    def take(self, name: str) -> tuple[int, list[_Sizes]]:
        """Return how many rows there are, and those taken."""
        space: _core.Keyspace = self.snapshot.db
        if name:
            space = _namespace.Namespace(self.snapshot.db, name, {}, self.snapshot)
        count = space.approximate_count(snapshot=self.snapshot)
        if count <= self.limit:
            found, whole = self._run(space, None, 1)
            if whole:
                return len(found), found
        self.exact = False
        found = []
        for start in self._places(space, count):
            found += self._run(space, start, RUNS)[0]
        return max(count, len(found)), found

    def _run(
        self, space: _core.Keyspace, start: bytes | None, share: int
    ) -> tuple[list[_Sizes], bool]:
        """Read rows from a place on; tell whether they are all there are behind it."""
        rows: list[_Sizes] = []
        left = self.limit_bytes // share
        with EntryScan(space, (start, None, None), False, self.snapshot) as scan:
            for key, value, expires, fresh in scan:
                if rows and (len(rows) >= self.limit // share or left <= 0):
                    return rows, False
                left -= len(key) + len(value)
                rows.append((len(key), len(value), expires, fresh))
        return rows, True

    def _places(self, space: _core.Keyspace, count: int) -> Iterator[bytes | None]:
        """Yield keys with about as many rows between each two."""
        first = self._end(space, reverse=False)
        last = self._end(space, reverse=True)

        def before(key: bytes) -> int:
            return space.approximate_count(None, key, snapshot=self.snapshot)

        yield None
        for number in range(1, RUNS):
            first = _find(before, (first, last), count * number // RUNS)
            yield first

    def _end(self, space: _core.Keyspace, *, reverse: bool) -> bytes:
        """Return the first or the last key."""
        with KeyScan(space, (None, None, None), reverse, self.snapshot) as scan:
            return next(scan, b"")


def _find(
    before: Callable[[bytes], int], bounds: tuple[bytes, bytes], wanted: int
) -> bytes:
    """Return about the key that so many lie before."""
    low, high = bounds
    width = max(len(low), len(high), 1) + 2
    at = int.from_bytes(low.ljust(width, b"\0"))
    end = int.from_bytes(high.ljust(width, b"\0"))
    for _ in range(_PROBES):
        if end - at <= 1:
            break
        middle = (at + end) // 2
        if before(middle.to_bytes(width)) < wanted:
            at = middle
        else:
            end = middle
    return end.to_bytes(width)

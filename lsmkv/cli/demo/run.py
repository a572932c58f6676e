# SPDX-License-Identifier: Apache-2.0
"""The demo, step by step, and what it found.

The records lie in one namespace, the rows of killed processes in another, sessions that
expire in a third; the database itself holds one key that says whose it is.

The directory may hold what an earlier run left, of this Python or another, complete or
killed at any moment. What is there is checked before it is written again: every write
was a whole batch, so a record is either right or absent.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import platform
import random
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import lsmkv
from lsmkv.cli.command import CommandError, Progress
from lsmkv.cli.demo import corpus, crash, expiry
from lsmkv.keyspace import Keyspace
from lsmkv.stats import LevelStats

# Says whose database this is, and which records it gets: MARK, then a fingerprint.
MARK_KEY = b"demo"
MARK = b"lsmkv demo 2 "
CLEARING = MARK + b"clearing"
LIBRARY = "library"
NAMESPACES = (LIBRARY, crash.NAMESPACE, expiry.NAMESPACE)

SEED = 1
THRESHOLD = 1024  # larger values are written once, to files of their own kind
FILL_BATCH = 500
READ_BATCH = 256
SCAN_ROWS = 1000
COLD_READS = 2000
HOT_ROUNDS = 10
ABSENT_READS = 2000
MODULE = b"argparse."
LOCK_SECONDS_MAX = 10.0


@dataclasses.dataclass(frozen=True, slots=True)
class Check:
    """Something that must hold, whether it did, and the figures."""

    name: str
    ok: bool
    detail: str


@dataclasses.dataclass(frozen=True, slots=True)
class Latency:
    """Seconds that single reads took."""

    count: int
    p50: float
    p99: float
    highest: float

    @classmethod
    def of(cls, samples: list[int]) -> Latency:
        """Summarise samples in nanoseconds."""
        ordered = sorted(samples)
        p50, p99, highest = (
            ordered[min(int(share * len(ordered)), len(ordered) - 1)] / 1e9
            for share in (0.5, 0.99, 1.0)
        )
        return cls(len(ordered), p50, p99, highest)


@dataclasses.dataclass(kw_only=True)
class DemoResult:
    """What the demo found. Sizes are bytes, times seconds."""

    python: str
    version: str
    directory: str
    kept: bool
    file_count: int
    skipped: dict[str, str]
    record_count: int
    record_bytes: int
    value_bytes_max: int
    large_count: int
    large_bytes: int
    threshold: int
    found_before: int = 0
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    disk_bytes: int = 0
    cold: Latency | None = None
    hot: Latency | None = None
    module: str = ""
    module_rows: int = 0
    levels: tuple[LevelStats, ...] = ()
    write_amplification: float = 0.0
    segment_bytes: int = 0
    expiry: expiry.Expiry | None = None
    kills: list[crash.Kill] = dataclasses.field(default_factory=list)
    checks: list[Check] = dataclasses.field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether every check held."""
        return all(check.ok for check in self.checks)

    def check(self, name: str, ok: bool, detail: str) -> None:
        """Note the outcome of a check."""
        self.checks.append(Check(name, ok, detail))

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Note how long something takes."""
        started = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - started


def run(progress: Progress, *, directory: Path | None, kills: int) -> DemoResult:
    """Run the demo in a directory, or in one that is removed afterwards."""
    if directory is not None:
        _refuse_others(directory)
        return _Demo(progress, directory, kept=True).run(kills)
    with tempfile.TemporaryDirectory(prefix="lsmkv-demo-") as name:
        return _Demo(progress, Path(name) / "db", kept=False).run(kills)


def _refuse_others(directory: Path) -> None:
    """Put no database among other files; its LOCK is the first of its own."""
    names = {path.name for path in directory.iterdir()} if directory.exists() else set()
    if names and "LOCK" not in names:
        raise CommandError(f"{directory} holds other files: name an empty directory")


def _open(directory: Path) -> lsmkv.DB:
    """Open the database; wait for the processes of a killed demo to be gone."""
    deadline = time.monotonic() + LOCK_SECONDS_MAX
    while True:
        try:
            return lsmkv.open(
                directory, compression="zstd", blob_threshold_bytes=THRESHOLD
            )
        except lsmkv.LockedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _drop_from_page_cache(directory: Path) -> None:
    """Let the next reads come from the disk, where the system can be told that."""
    if sys.platform == "linux":
        for path in directory.iterdir():
            fd = os.open(path, os.O_RDONLY)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)


def _time_gets(db: Keyspace, keys: Iterable[bytes]) -> tuple[list[int], list[object]]:
    """Read keys one by one; return nanoseconds and values."""
    clock, get = time.perf_counter_ns, db.get
    samples: list[int] = []
    values: list[object] = []
    for key in keys:
        started = clock()
        value = get(key)
        samples.append(clock() - started)
        values.append(value)
    return samples, values


class _Demo:
    def __init__(self, progress: Progress, directory: Path, *, kept: bool) -> None:
        self._progress = progress
        self._directory = directory
        started = time.perf_counter()
        self._corpus = corpus.load(progress)
        self._records = self._corpus.records
        self._keys = list(self._records)
        self._rng = random.Random(SEED)
        self._large = [
            key for key, value in self._records.items() if len(value) >= THRESHOLD
        ]
        self._result = DemoResult(
            python=f"{platform.python_implementation()} {platform.python_version()}",
            version=lsmkv.__version__,
            directory=str(directory),
            kept=kept,
            file_count=self._corpus.file_count,
            skipped=self._corpus.skipped,
            record_count=len(self._records),
            record_bytes=self._corpus.byte_count,
            value_bytes_max=max(map(len, self._records.values())),
            large_count=len(self._large),
            large_bytes=sum(len(self._records[key]) for key in self._large),
            threshold=THRESHOLD,
        )
        self._result.seconds["parse"] = time.perf_counter() - started

    def run(self, kills: int) -> DemoResult:
        started = time.perf_counter()
        with _open(self._directory) as db:
            self._take_over(db)
            self._fill(db, db.namespace(LIBRARY))
            self._expire(db)
        _drop_from_page_cache(self._directory)
        with self._result.timed("open"):
            db = _open(self._directory)
        with db:
            library = db.namespace(LIBRARY)
            self._read_single(library)
            self._read_all(library)
            self._read_module(library)
            self._read_large(library)
            self._describe(db)
            head = crash.head_of(db.namespace(crash.NAMESPACE))
        self._kill(kills, head)
        with _open(self._directory) as db:
            self._read_again(db)
            self._verify(db)
        took = self._result.seconds["parse"] + time.perf_counter() - started
        self._result.seconds["all"] = took
        return self._result

    def _take_over(self, db: lsmkv.DB) -> None:
        """Check what an earlier run left, or make way."""
        mark = db.get(MARK_KEY)
        if mark is None and next(db.keys(), None) is not None:
            raise CommandError(
                f"{self._directory} holds a database that is not the demo's"
            )
        if mark is not None and not mark.startswith(MARK):
            raise CommandError(f"{self._directory} is of another version of the demo")
        wanted = MARK + self._corpus.fingerprint.encode()
        if mark == wanted:
            self._check_earlier(db)
            return
        if mark is not None:  # of another Python
            db.put(MARK_KEY, CLEARING)
            for name in NAMESPACES:
                db.drop_namespace(name)
        db.put(MARK_KEY, wanted)

    def _check_earlier(self, db: lsmkv.DB) -> None:
        found = 0
        wrong: list[bytes] = []
        with self._progress.step("check the earlier run", len(self._keys)) as advance:
            for key, value in db.namespace(LIBRARY).items():
                found += 1
                if self._records.get(key) != value:
                    wrong.append(key)
                advance(1)
        self._result.found_before = found
        self._judge("the records of an earlier run are right", found, wrong)
        writes = db.namespace(crash.NAMESPACE)
        self._result.check(
            "and the rows of its killed processes",
            crash.rows_are_right(writes),
            f"{crash.head_of(writes):,} writes",
        )

    def _fill(self, db: lsmkv.DB, library: Keyspace) -> None:
        """Write all records, in an order that is not that of the keys."""
        order = self._rng.sample(self._keys, len(self._keys))
        batches = [
            [(key, self._records[key]) for key in order[start : start + FILL_BATCH]]
            for start in range(0, len(order), FILL_BATCH)
        ]
        with (
            self._progress.step("write", len(order)) as advance,
            self._result.timed("fill"),
        ):
            for batch in batches:
                library.put_many(batch)
                advance(len(batch))
        with self._progress.step("compact"), self._result.timed("settle"):
            db.flush()
            db.settle()
        self._result.write_amplification = db.stats().write_amplification

    def _expire(self, db: lsmkv.DB) -> None:
        """Put sessions with a time to live, and watch them go."""
        sessions = db.namespace(expiry.NAMESPACE, default_ttl=expiry.LAST_SECONDS)
        due = expiry.put_sessions(sessions)
        with sessions.snapshot() as before:
            found = expiry.look_on(sessions, due, self._progress)
            shown = dict(before.items())
        self._result.expiry = found
        self._result.check(
            "sessions expire at their time",
            found.ok,
            f"{found.expired} gone, {found.kept} kept"
            + ("" if found.ok else f"; {found.early} early, {found.late} late"),
        )
        self._result.check(
            "and are gone from a snapshot of before",
            shown == expiry.kept_rows(),
            f"{len(shown)} left",
        )

    def _read_large(self, library: Keyspace) -> None:
        """Read the large values without copying them."""
        wrong: list[bytes] = []
        buffer = bytearray(max(self._result.value_bytes_max, 1))
        with self._progress.step("view large values"), self._result.timed("views"):
            views = [library.get_view(key) for key in self._large]
        for key, view in zip(self._large, views, strict=True):
            size = library.get_into(key, buffer)
            if view is None or view != self._records[key] or buffer[:size] != view:
                wrong.append(key)
        small = len(self._records) - len(self._large)
        self._judge(
            f"values on both sides of {THRESHOLD:,} bytes are right",
            len(self._large),
            wrong if small and self._large else [b"all on one side"],
        )

    def _read_single(self, db: Keyspace) -> None:
        result = self._result
        chosen = self._rng.sample(self._keys, min(COLD_READS, len(self._keys)))
        expected: list[object] = [self._records[key] for key in chosen]
        with self._progress.step("read one by one"):
            cold, values = _time_gets(db, chosen)
            again = chosen * HOT_ROUNDS
            hot, values_again = _time_gets(db, again)
            absent = [b"%s/%d" % (key, i) for i, key in enumerate(chosen)]
            ghosts = [key for key in absent[:ABSENT_READS] if key in db]
        result.cold, result.hot = Latency.of(cold), Latency.of(hot)
        wrong = [
            key
            for key, value, wanted in zip(
                chosen + again,
                values + values_again,
                itertools.cycle(expected),
                strict=False,
            )
            if value != wanted
        ]
        self._judge("single reads give the source", len(cold) + len(hot), wrong)
        self._judge("keys never written are absent", len(absent), ghosts)

    def _read_all(self, db: Keyspace) -> None:
        order = self._rng.sample(self._keys, len(self._keys))
        wrong: list[bytes] = []
        spent = 0.0
        with self._progress.step("read in batches", len(order)) as advance:
            for start in range(0, len(order), READ_BATCH):
                keys = order[start : start + READ_BATCH]
                started = time.perf_counter()
                values = db.get_many(keys)
                spent += time.perf_counter() - started
                pairs = zip(keys, values, strict=True)
                wrong += [key for key, value in pairs if value != self._records[key]]
                advance(len(keys))
        self._result.seconds["get_many"] = spent
        self._judge("every record read by key is the source", len(order), wrong)
        self._result.seconds["scan"] = self._scan_all(
            db, "a scan gives every record, in order"
        )

    def _scan_all(self, db: Keyspace, name: str) -> float:
        """Compare all records, as they come in order, with the source.

        Returns the seconds that reading took.
        """
        expected = iter(self._records.items())
        wrong: list[bytes] = []
        scan = db.items()
        rows: list[tuple[bytes, bytes]] = []
        count, spent = 0, 0.0
        with self._progress.step("read in order", len(self._keys)) as advance:
            while True:
                started = time.perf_counter()
                rows = list(itertools.islice(scan, SCAN_ROWS))
                spent += time.perf_counter() - started
                wanted = list(itertools.islice(expected, len(rows)))
                wrong += [
                    row[0]
                    for row, other in itertools.zip_longest(rows, wanted)
                    if row != other
                ]
                count += len(rows)
                advance(len(rows))
                if not rows:
                    break
        wrong += [key for key, _ in expected]  # those that did not come
        self._judge(name, count, wrong)
        return spent

    def _read_module(self, db: Keyspace) -> None:
        module = MODULE
        if not any(key.startswith(module) for key in self._keys):
            module = self._keys[0].partition(b"#")[0]
        expected = [
            item for item in self._records.items() if item[0].startswith(module)
        ]
        with self._result.timed("prefix"):
            rows = list(db.items(prefix=module))
        self._result.module = module.decode()
        self._result.module_rows = len(rows)
        self._result.check(
            f"a scan of {module.decode()}* gives that module",
            rows == expected,
            f"{len(rows):,} of {len(expected):,}",
        )

    def _describe(self, db: lsmkv.DB) -> None:
        stats = db.stats()
        self._result.levels = stats.levels
        self._result.segment_bytes = stats.segment_bytes
        self._result.disk_bytes = sum(
            path.stat().st_size for path in self._directory.iterdir()
        )

    def _kill(self, kills: int, head: int) -> None:
        moments = random.SystemRandom()
        with self._progress.step("kill a writing process", kills) as advance:
            for _ in range(kills):
                kill = crash.kill_writer(self._directory, head, moments)
                head += kill.found
                self._result.kills.append(kill)
                advance(1)
        lost = sum(max(0, k.acknowledged - k.found) for k in self._result.kills)
        acknowledged = sum(kill.acknowledged for kill in self._result.kills)
        self._result.check(
            "acknowledged writes survive SIGKILL",
            all(kill.ok for kill in self._result.kills),
            f"{kills} kills, {acknowledged:,} writes, {lost} lost",
        )

    def _read_again(self, db: lsmkv.DB) -> None:
        self._scan_all(db.namespace(LIBRARY), "and every record is still there")
        sessions = dict(db.namespace(expiry.NAMESPACE).items())
        self._result.check(
            "and no expired session came back",
            sessions == expiry.kept_rows(),
            f"{len(sessions)} sessions",
        )

    def _verify(self, db: lsmkv.DB) -> None:
        with self._progress.step("verify"), self._result.timed("verify"):
            report = db.verify()
        problems = [f"{p.file}: {p.message}" for p in report.problems[:3]]
        detail = f"{report.file_count} files, {report.block_count:,} blocks"
        self._result.check(
            "every byte of every file verifies",
            report.ok,
            "; ".join([detail, *problems]),
        )

    def _judge(self, name: str, count: int, wrong: list[bytes]) -> None:
        """Note a check of many keys."""
        detail = f"{count:,}"
        if wrong:
            some = ", ".join(key.decode(errors="replace") for key in wrong[:3])
            detail += f", {len(wrong):,} wrong: {some}"
        self._result.check(name, not wrong, detail)

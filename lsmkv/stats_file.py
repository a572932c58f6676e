# SPDX-License-Identifier: Apache-2.0
"""Reads the statistics file of a database: what the process that writes to it tells.

The file is written over in place while others read it, so a reading may meet half of
an old and half of a new text; the checksum in the last line tells, and it is read
again. docs/file-format.md describes it. Nothing in it is believed but by who asked.
"""

from __future__ import annotations

import dataclasses
import enum
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lsmkv import _zstd, lock_file
from lsmkv._base import xxh3_64
from lsmkv.errors import Error
from lsmkv.metrics import LATENCIES, Histogram, bounds
from lsmkv.stats import STATES, LevelStats, Memory, NamespaceStats, Stats

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "STATS"
VERSION = 1
LEVELS = 7
NAMESPACES_MAX = 256
SIZE_MAX = 1 << 20

_MAGIC = "lsmkv-stats"
_HEAD = ("time_ms", "pid", "start", "uptime_ms", "interval_ms")
_PLAIN = tuple(
    field.name
    for field in dataclasses.fields(Stats)
    if field.metadata["kind"] is not None
)
_LEVEL = tuple(field.name for field in dataclasses.fields(LevelStats))
_MEMORY = tuple(field.name for field in dataclasses.fields(Memory))
_SPACE = tuple(field.name for field in dataclasses.fields(NamespaceStats))
_SPACE_LINE = re.compile(r'namespace "((?:[!#-\[\]-~]|\\x[0-9a-f]{2})*)" ([0-9 ]+)')
_NUMBER = re.compile("0|[1-9][0-9]{0,19}")
_LAST_LINE = re.compile(rb"xxh3 ([0-9a-f]{16})\n")
_LAST_SIZE = len("xxh3 \n") + 16
_TORN_TRIES, _TORN_PAUSE = 20, 0.005
_FRESH_SECONDS = 3.0


class Trouble(enum.Enum):
    """Why there are no figures."""

    MISSING = "missing"
    DAMAGED = "damaged"
    VERSION = "version"


class StatsFileError(Error):
    """The statistics file cannot be used; the text says why and what to do.

    Attributes:
        trouble: Which of the reasons.
    """

    def __init__(self, message: str, trouble: Trouble) -> None:
        """Keep the reason beside the message."""
        super().__init__(message)
        self.trouble = trouble


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a process has told of the database that it writes to.

    Attributes:
        time: When, in seconds since 1970.
        pid: Which process.
        start: When that started, in ticks of the system's clock; 0: unknown.
        uptime: How long it has had the database open, in seconds.
        interval: The seconds after which it tells again, if something has changed.
        namespace_count: Namespaces there are, the database itself included; `stats`
            has it and the 255 others that were asked most.
        stats: As `DB.stats()`; `follower` and `zstd` are those of nobody and of this
            process.
        memory: As `DB.memory()`.
    """

    time: float
    pid: int
    start: int
    uptime: float
    interval: float
    namespace_count: int
    stats: Stats
    memory: Memory

    @property
    def age(self) -> float:
        """Seconds since these figures were written."""
        return max(time.time() - self.time, 0.0)


def is_alive(directory: str | os.PathLike[str], figures: Figures) -> bool:
    """Whether the process that wrote the figures still has the database open.

    The file LOCK names who has, and the system tells whether it is locked. Where it
    does not, there must be a process of that number, or one that goes on telling.
    """
    if figures.stats.state == "closed":
        return False
    lock = lock_file.look(directory)
    if lock is None or (lock.pid, lock.start) != (figures.pid, figures.start):
        return False
    if lock.held is not None:
        return lock.held
    fresh = figures.age < _FRESH_SECONDS + 2 * figures.interval
    return fresh or _is_running(figures.pid, figures.start)


def _is_running(pid: int, start: int) -> bool:
    """Whether there is a process of that number that started at that time."""
    if not 0 < pid < 2**31:
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        pass
    except OSError:
        return False
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return True  # there is nothing to tell it by
    return start == 0 or len(fields) < 20 or int(fields[19]) == start


def read(directory: str | os.PathLike[str]) -> Figures:
    """Read what the process that writes to this database has told last.

    Raises:
        StatsFileError: There is none, or it is damaged, or of another version.
    """
    path = Path(directory) / NAME
    for attempt in range(_TORN_TRIES):
        data = _load(path)
        try:
            return parse(data, str(path))
        except StatsFileError as error:
            if error.trouble is not Trouble.DAMAGED or attempt == _TORN_TRIES - 1:
                raise
        _pause()
    raise AssertionError("unreachable")  # pragma: no cover


def _pause() -> None:
    """Let the writer finish."""
    time.sleep(_TORN_PAUSE)


def _load(path: Path) -> bytes:
    """Read the file, of no more than its limit, and only if it is one."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        with open(path, "rb", opener=lambda name, _: os.open(name, flags)) as file:
            return file.read(SIZE_MAX + 1)
    except FileNotFoundError:
        raise StatsFileError(
            f"{path} does not exist: no process with stats_interval above 0 has had "
            "this database open for writing",
            Trouble.MISSING,
        ) from None


def parse(data: bytes, name: str = NAME) -> Figures:
    """Read the text of a statistics file.

    Raises:
        StatsFileError: It is damaged, or of another version.
    """
    try:
        return _parse(_Lines(_checked(data)))
    except _VersionError as error:
        raise StatsFileError(
            f"{name} is of version {error}, this lsmkv knows version {VERSION}: use "
            "the release that the watched process uses",
            Trouble.VERSION,
        ) from None
    except _DamageError as error:
        raise StatsFileError(f"{name} is damaged: {error}", Trouble.DAMAGED) from None


class _DamageError(Exception):
    pass


class _VersionError(Exception):
    pass


def _checked(data: bytes) -> str:
    """Return the text before the last line, which has to be the checksum of it."""
    if len(data) > SIZE_MAX:
        raise _DamageError(f"more than {SIZE_MAX} bytes")
    text, last = data[:-_LAST_SIZE], data[-_LAST_SIZE:]
    found = _LAST_LINE.fullmatch(last)
    if found is None:
        raise _DamageError("the last line is no checksum")
    if int(found[1], 16) != xxh3_64(text):
        raise _DamageError("the checksum is not that of the text")
    try:
        return text.decode("ascii")
    except UnicodeDecodeError:
        raise _DamageError("it is not plain text") from None


class _Lines:
    """Takes the lines of a text one by one, each with the name that is expected."""

    def __init__(self, text: str) -> None:
        self._lines = text.split("\n")
        self._at = 0
        if self._lines.pop():
            raise _DamageError("the line before the checksum has no end")

    def line(self) -> str | None:
        """Return the next line; None behind the last."""
        if self._at == len(self._lines):
            return None
        self._at += 1
        return self._lines[self._at - 1]

    def take(self, name: str) -> str:
        """Return what the next line says of this name."""
        found, _, rest = (self.line() or "").partition(" ")
        if found != name:
            raise _DamageError(f"line {self._at}: {name} expected")
        return rest

    def number(self, name: str) -> int:
        """Return the number that is all that the next line says of this name."""
        return _number(self.take(name), self._at)

    def numbers(self, names: tuple[str, ...], prefix: str = "") -> dict[str, int]:
        """Return the numbers of lines with these names."""
        return {name: self.number(prefix + name) for name in names}

    def fail(self, problem: str) -> _DamageError:
        """Return the error to raise for the line that was taken last."""
        return _DamageError(f"line {self._at}: {problem}")


def _number(text: str, line: int) -> int:
    if not _NUMBER.fullmatch(text) or int(text) >= 2**64:
        raise _DamageError(f"line {line}: {text[:40]!r} is no number")
    return int(text)


def _parse(lines: _Lines) -> Figures:
    version = lines.number(_MAGIC)
    if version != VERSION:
        raise _VersionError(version)
    head = lines.numbers(_HEAD)
    state, warming = lines.number("state"), lines.number("warming")
    if state >= len(STATES) or warming > 1:
        raise lines.fail("no such state")
    counters = lines.numbers(_PLAIN)
    levels = tuple(
        LevelStats(**lines.numbers(_LEVEL, f"level.{depth}."))
        for depth in range(LEVELS)
    )
    memory = Memory(**lines.numbers(_MEMORY, "memory."))
    latencies = {name: _histogram(lines, f"latency.{name}") for name in LATENCIES}
    namespace_count = lines.number("namespace_count")
    namespaces = dict(_namespaces(lines))
    if not 1 <= len(namespaces) <= min(namespace_count, NAMESPACES_MAX):
        raise lines.fail("another number of namespaces is expected")
    return Figures(
        time=head["time_ms"] / 1000,
        pid=head["pid"],
        start=head["start"],
        uptime=head["uptime_ms"] / 1000,
        interval=head["interval_ms"] / 1000,
        namespace_count=namespace_count,
        stats=Stats(
            levels=levels,
            state=STATES[state],
            warming=bool(warming),
            follower=None,
            zstd=_zstd.register(),
            namespaces=namespaces,
            latencies=latencies,
            **counters,
        ),
        memory=memory,
    )


def _histogram(lines: _Lines, name: str) -> Histogram:
    buckets = len(bounds())
    words = lines.take(name).split(" ")
    at = lines._at
    if len(words) < 3 or len(words) > 3 + buckets:
        raise lines.fail("a count, a sum and a longest time are expected")
    count, total, longest = (_number(word, at) for word in words[:3])
    counts, after = [0] * buckets, 0
    for word in words[3:]:
        left, _, right = word.partition(":")
        bucket, held = _number(left, at), _number(right, at)
        if not after <= bucket < buckets or held == 0:
            raise lines.fail(f"{word[:40]!r} is out of place")
        counts[bucket], after = held, bucket + 1
    if sum(counts) != count:
        raise lines.fail("the buckets hold another number")
    return Histogram(count, total * 1e-9, longest * 1e-9, tuple(counts))


def _namespaces(lines: _Lines) -> Iterator[tuple[str, NamespaceStats]]:
    seen: set[str] = set()
    while (line := lines.line()) is not None:
        found = _SPACE_LINE.fullmatch(line)
        numbers = found[2].split(" ") if found else []
        if found is None or len(numbers) != len(_SPACE):
            raise lines.fail("a namespace is expected")
        try:
            name = re.sub(
                rb"\\x(..)", lambda hit: bytes([int(hit[1], 16)]), found[1].encode()
            ).decode()
        except UnicodeDecodeError:
            raise lines.fail("this namespace has no proper name") from None
        if name in seen or bool(name) != bool(seen):
            raise lines.fail("this namespace is out of place")
        seen.add(name)
        values = (_number(number, lines._at) for number in numbers)
        yield name, NamespaceStats(**dict(zip(_SPACE, values, strict=True)))

# SPDX-License-Identifier: Apache-2.0
"""Runs the commands of scripts on a simulated disk, one line each.

A session is one disk and, most of the time, one open database on it. Each command
returns the lines that it prints. What the engine refuses is printed, too, as the name
of the status: a script shows errors like everything else. `COMMANDS` is the list, with
a line on each; docs/testing.md has the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lsmkv.fuzz.engine import (
    At,
    Cursor,
    Database,
    Disk,
    EngineError,
    How,
    Publish,
    Range,
    Row,
    Snapshot,
    Space,
    feed,
)
from lsmkv.fuzz.notation import NotationError, show, split

# So small that every structure of the engine comes to be within tens of commands.
TINY: Mapping[str, int] = {
    "memory_bytes": 1 << 20,
    "memtable_bytes": 1024,
    "max_open_files": 16,
    "block_bytes": 64,
    "table_bytes": 512,
    "level_base_bytes": 1024,
    "level_multiplier": 2,
    "l0_compact_trigger": 2,
    "blob_threshold_bytes": 400,
    "log_bytes": 8192,
    "seed": 1,
}
SPACE_OPTIONS = {
    "default_ttl_ms": "default_ttl_ms",
    "default_stale_ms": "default_stale_ms",
    "blob_threshold_bytes": "blob_threshold_bytes",
    "max_bytes": "max_bytes",
}
READ_OPTIONS = {"in", "snapshot", "stale", "follower", "published", "version"}
WRITE_OPTIONS = {"in", "sync", "ttl_ms", "stale_ms", "since"}


class UsageError(NotationError):
    """A command was given what it does not take; the text says what it takes."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command of the language."""

    usage: str
    text: str  # a line on it
    options: frozenset[str]
    run: Callable[[Session, list[bytes], dict[str, bytes]], list[str]]
    any_option: bool = False

    @property
    def counts(self) -> tuple[int, int | None]:
        """How many words it takes: at least, at most."""
        words = self.usage.split()[1:]
        least = sum(not word.startswith("[") for word in words)
        return least, None if self.usage.endswith("...]") else len(words)


COMMANDS: dict[str, Command] = {}
Run = Callable[["Session", list[bytes], dict[str, bytes]], list[str] | None]


def command(
    usage: str, options: set[str] | None = None, *, any_option: bool = False
) -> Callable[[Run], Run]:
    """Declare what runs a command; the usage is its name and words."""

    def declare(run: Run) -> Run:
        def always(
            session: Session, words: list[bytes], given: dict[str, bytes]
        ) -> list[str]:
            return run(session, words, given) or []

        allowed = frozenset(options or ())
        text = run.__doc__ or ""
        COMMANDS[usage.split()[0]] = Command(usage, text, allowed, always, any_option)
        return run

    return declare


def number(word: bytes) -> int:
    """Read a number."""
    try:
        return int(word)
    except ValueError:
        raise UsageError(f"{show(word)} is not a number") from None


def show_value(value: bytes | None) -> str:
    """Write a value, or - where there is none."""
    return "-" if value is None else show(value)


def show_row(row: Row | None) -> str:
    """Write a row, or - where there is none."""
    return "-" if row is None else f"{show(row[0])} {show(row[1])}"


def bounds(words: list[bytes]) -> Range:
    """Read [START [STOP]]; - stands for none."""
    ends = [None if word == b"-" else word for word in words]
    start, stop = (*ends, None, None)[:2]
    return start, stop


@dataclass(slots=True)
class Session:
    """One simulated disk and what is open on it."""

    seed: int = 1
    disk: Disk = field(init=False)
    path: bytes = b"db"
    options: dict[str, int] = field(default_factory=lambda: dict(TINY))
    db: Database | None = None
    follower: Database | None = None
    publish: Publish | None = None
    snapshots: dict[bytes, Snapshot] = field(default_factory=dict)
    cursors: dict[bytes, Cursor] = field(default_factory=dict)
    spaces: dict[tuple[bool, bytes], Space] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the disk."""
        self.disk = Disk.create(self.seed)

    def run(self, line: str) -> list[str]:
        """Run one command and return what it prints.

        NotationError: the line is no command.
        """
        words, options = split(line)
        if not words:
            raise UsageError("no command")
        name = words.pop(0).decode("latin-1")
        command = COMMANDS.get(name)
        if command is None:
            raise UsageError(f"{name}: there is no such command")
        least, most = command.counts
        unknown = set(options) - command.options
        if len(words) < least or (most is not None and len(words) > most):
            raise UsageError(f"{name}: expected {command.usage}")
        if unknown and not command.any_option:
            known = " ".join(sorted(command.options)) or "none"
            raise UsageError(f"{name}: no option {unknown.pop()}; there is {known}")
        try:
            return command.run(self, words, options)
        except EngineError as error:
            return [error.status]

    @property
    def opened(self) -> Database:
        """The database, opened with the options of the session if it is not."""
        if self.db is None:
            self.db = Database(self.disk, self.options, self.path)
        return self.db

    def reader(self, options: Mapping[str, bytes]) -> Database:
        """Return what a read goes to: the database or its follower."""
        if not options.get("follower"):
            return self.opened
        if self.follower is None:
            raise UsageError("there is no follower: follow")
        return self.follower

    def _snapshot(self, options: Mapping[str, bytes], name: str) -> Snapshot | None:
        """Return the snapshot that an option means; without one, none."""
        if name not in options:
            return None
        snapshot = self.snapshots.get(options[name])
        if snapshot is None:
            raise EngineError("NO_SUCH_SNAPSHOT", "")
        return snapshot

    def at(self, options: Mapping[str, bytes]) -> At:
        """Return what a read looks at."""
        snapshot = self._snapshot(options, "snapshot")
        follower = bool(options.get("follower"))
        space = self.space(options, follower=follower)
        if "published" in options:
            names = options["published"], options.get("version", b"")
            space = self.reader(options).published(*names, At(snapshot=snapshot))
            self.keep_space((follower, b"/".join((b"published", *names))), space)
        return At(snapshot, space, stale=bool(options.get("stale")))

    def how(self, options: Mapping[str, bytes]) -> How:
        """Return how a write is done."""
        since = self._snapshot(options, "since")
        return How(
            sync=bool(number(options["sync"])) if "sync" in options else None,
            ttl_ms=number(options.get("ttl_ms", b"0")),
            stale_ms=number(options.get("stale_ms", b"0")),
            space=self.space(options),
            since=since,
        )

    def space(
        self, options: Mapping[str, bytes], *, follower: bool = False
    ) -> Space | None:
        """Return the namespace that in= names, None for the default one."""
        name = options.get("in")
        if name is None:
            return None
        known: Space | None = self.spaces.get((follower, name))
        if known is None:
            db = self.follower if follower and self.follower else self.opened
            known = self.spaces[follower, name] = Space(db, name)
        return known

    def keep_space(self, key: tuple[bool, bytes], space: Space) -> None:
        """Keep a handle, in the place of one that was kept under this key."""
        known = self.spaces.pop(key, None)
        if known is not None:
            known.free()
        self.spaces[key] = space

    def let_go(self) -> None:
        """Free what depends on the handles."""
        handles: list[Any] = [*self.cursors.values(), *self.snapshots.values()]
        handles += self.spaces.values()
        if self.publish is not None:
            handles.append(self.publish)
        for handle in handles:
            handle.free()
        self.cursors.clear()
        self.snapshots.clear()
        self.spaces.clear()
        self.publish = None

    def leave(self) -> None:
        """Let the follower go."""
        if self.follower is not None:
            self.let_go_of_spaces(follower=True)
            self.follower.free()
            self.follower = None

    def let_go_of_spaces(self, *, follower: bool) -> None:
        """Free the handles of namespaces of the database or of its follower."""
        for key in [key for key in self.spaces if key[0] == follower]:
            self.spaces.pop(key).free()

    def close(self) -> None:
        """Close the database; EngineError if that did not end well."""
        self.let_go()
        db, self.db = self.db, None
        if db is not None:
            try:
                db.maintain("close")
            finally:
                db.free()

    def abandon(self) -> None:
        """Leave the database as a process that dies."""
        self.leave()
        self.let_go()
        db, self.db = self.db, None
        if db is not None:
            db.abandon()

    def end(self) -> None:
        """Give everything back."""
        feed()
        self.abandon()
        self.disk.destroy()

# SPDX-License-Identifier: Apache-2.0
"""A hypothesis machine that makes up scripts and knows what each line must print.

The model is a dict with the moments at which values expire, the list of the states
after each commit since the last recovery, and how many of them are durable. Options are
so tiny that a run of fifty commands meets full memtables, several levels and rolled
logs. What fails is minimised by hypothesis; of what that leaves, which is not always
little, the calls are left out that are not needed. It ends as a script.
"""

from __future__ import annotations

import functools
import io
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from typing import Any, ClassVar

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from lsmkv.fuzz.engine import MODES, live_allocations
from lsmkv.fuzz.failure import Failure
from lsmkv.fuzz.notation import pattern, show
from lsmkv.fuzz.reduce import REDUCE_SECONDS_MAX, reduce
from lsmkv.fuzz.script import Paragraph, write
from lsmkv.fuzz.session import Session

KEY_SIZE_MAX = 65535
STEPS = 50
START_MS = 0

# A value and when it expires; None: it never does.
Entry = tuple[bytes, int | None]
State = dict[bytes, Entry]
# A rule and its arguments.
Call = tuple[str, dict[str, Any]]

keys = st.one_of(
    st.just(b""),
    st.text(alphabet="\x00a\xff", max_size=8).map(lambda text: text.encode("latin-1")),
    st.integers(0, 60).map(lambda number: b"key/%03d" % number),
    st.integers(0, 3).map(lambda number: b"long%d" % number * 80),
)
ends = st.one_of(st.none(), keys)
# Around a block, around two, around what lies apart, and what a tiny memtable holds.
values = st.one_of(
    st.sampled_from([0, 1, 15, 16, 17, 63, 64, 65, 128, 129, 399, 400, 600, 1500]),
    st.integers(0, 80),
).map(lambda size: pattern(size, size * 31 % 256))
options = st.fixed_dictionaries(
    {
        "memory_bytes": st.sampled_from([1 << 20, 1 << 22]),
        "memtable_bytes": st.sampled_from([1024, 1024, 2048, 4096]),
        "block_cache_bytes": st.sampled_from([0, 1024, 65536]),
        "block_bytes": st.sampled_from([64, 128, 256]),
        "bloom_bits_per_key": st.sampled_from([0, 1, 10]),
        "table_bytes": st.sampled_from([512, 1024, 4096]),
        "level_base_bytes": st.sampled_from([1024, 4096]),
        "level_multiplier": st.sampled_from([2, 3]),
        "l0_compact_trigger": st.sampled_from([2, 3]),
        "blob_threshold_bytes": st.sampled_from([0, 64, 400]),
        "durability": st.sampled_from([1, 1, 1, 2]),
        "seed": st.integers(1, 1 << 32),
    }
)
syncs = st.sampled_from([None, None, None, False, True])
ttls = st.sampled_from([0, 0, 0, 1, 1000, 60_000])
slots = st.integers(0, 2)


class MismatchError(AssertionError):
    """A command printed something else than the model says."""


@dataclass(slots=True)
class OpenCursor:
    """The rows a cursor should show, and where among them it is."""

    rows: list[tuple[bytes, bytes]]
    at: int | None = None


def _row(row: tuple[bytes, bytes] | None) -> str:
    return "-" if row is None else f"{show(row[0])} {show(row[1])}"


def _bound(key: bytes | None) -> str:
    return "-" if key is None else show(key)


def noted(function: Callable[..., None]) -> Callable[..., None]:
    """Make a rule whose calls can be made again, those by other rules aside."""

    @functools.wraps(function)
    def call(self: Machine, *given: Any, **named: Any) -> None:
        if self.inside:
            function(self, *given, **named)
            return
        self.calls.append((function.__name__, named))
        self.inside = True
        try:
            function(self, *given, **named)
        finally:
            self.inside = False

    return call


class Machine(RuleBasedStateMachine):
    """The engine beside the model."""

    commands_run: ClassVar[int] = 0
    crashes: ClassVar[int] = 0
    failures: ClassVar[int] = 0  # calls that were made to fail
    failed: ClassVar[Failure | None] = None  # the last one, so the minimal one
    failed_calls: ClassVar[list[Call]] = []  # those that led to it

    def __init__(self) -> None:
        """Start with an empty disk."""
        super().__init__()
        self.live = live_allocations()
        self.session = Session()
        self.script: list[Paragraph] = []
        self.calls: list[Call] = []
        self.inside = False  # a rule, which may call others
        self.options: dict[str, int] = {}
        self.time_ms = START_MS
        self.now: State = {}
        self.history: list[State] = [{}]  # states since the last recovery
        self.floor = 0  # index of the first state that a crash may show
        self.maybe: list[State] = []  # after failed writes: there or not
        self.snapshots: dict[int, State] = {}
        self.cursors: dict[int, OpenCursor] = {}

    # What the rules are made of.

    def fail(self, what: str) -> None:
        """Keep the script, and raise."""
        Machine.failed = Failure(what, write(self.script))
        Machine.failed_calls = self.calls
        raise MismatchError(what)

    def do(self, line: str, *expected: str) -> None:
        """Run a command that must print just this."""
        found = self.run_line(line, list(expected))
        if found != list(expected):
            self.fail(f"{line}: expected {list(expected)}, found {found}")

    def run_line(self, line: str, expected: list[str]) -> list[str]:
        """Run a command; what is expected is for the script."""
        Machine.commands_run += 1
        paragraph = Paragraph(0, commands=[line], expected=expected)
        self.script.append(paragraph)
        return self.session.run(line)

    def do_one_of(self, line: str, *allowed: str) -> str:
        """Run a command that must print one of these; "" is nothing."""
        found = "\n".join(self.run_line(line, []))
        if found not in allowed:
            self.fail(f"{line}: expected one of {list(allowed)}, found {found!r}")
        self.script[-1].expected = found.split("\n") if found else []
        return found

    def rows(
        self,
        state: State,
        start: bytes | None = None,
        stop: bytes | None = None,
    ) -> list[tuple[bytes, bytes]]:
        """Return what a scan of a state must show."""
        return [
            (key, value)
            for key, (value, end) in sorted(state.items())
            if (start is None or key >= start)
            and (stop is None or key < stop)
            and (end is None or self.time_ms < end)
        ]

    def value(self, state: State, key: bytes) -> str:
        """Return what a get must print."""
        value, end = state.get(key, (b"", 0))
        return "-" if end is not None and self.time_ms >= end else show(value)

    def usable_key(self, number: int, key: bytes) -> bytes:
        """Prefer keys that were used before, and their neighbours."""
        if number % 3 == 0 or not self.now:
            return key
        used = sorted(self.now)[number % len(self.now)]
        if number % 7 == 1 and len(used) < KEY_SIZE_MAX:
            return used + b"\0"
        if number % 7 == 2 and used:
            return used[:-1]
        return used

    def commit(self, after: State, sync: bool | None) -> None:
        """Note what a write that succeeded has made."""
        self.now = after
        self.history.append(after)
        self.maybe.clear()
        if sync or (sync is None and self.options["durability"] == 2):
            self.floor = len(self.history) - 1

    @staticmethod
    def sync_text(sync: bool | None) -> str:
        """Write the option."""
        return "" if sync is None else f" sync={sync:d}"

    def entry(self, value: bytes, ttl_ms: int) -> Entry:
        """Return what a put with a time to live makes, 0: none."""
        return value, self.time_ms + ttl_ms if ttl_ms else None

    @initialize(chosen=options)
    @noted
    def begin(self, chosen: dict[str, int]) -> None:
        """Open the database."""
        self.reopen_with(chosen)

    def reopen_with(self, chosen: dict[str, int]) -> None:
        """Open with these options, closing what was open."""
        self.options = chosen
        given = " ".join(f"{name}={value}" for name, value in chosen.items())
        self.do(f"open {given}")

    # Writes.

    @rule(number=st.integers(0, 1000), key=keys, value=values, sync=syncs, ttl_ms=ttls)
    @noted
    def put(
        self, number: int, key: bytes, value: bytes, sync: bool | None, ttl_ms: int
    ) -> None:
        """Write a row and read it."""
        key = self.usable_key(number, key)
        ttl = f" ttl_ms={ttl_ms}" if ttl_ms else ""
        self.do(f"put {show(key)} {show(value)}{ttl}{self.sync_text(sync)}")
        self.commit({**self.now, key: self.entry(value, ttl_ms)}, sync)
        self.do(f"get {show(key)}", show(value))

    @rule(number=st.integers(0, 1000), key=keys, sync=syncs)
    @noted
    def delete(self, number: int, key: bytes, sync: bool | None) -> None:
        """Delete a row and look for it."""
        key = self.usable_key(number, key)
        self.do(f"delete {show(key)}{self.sync_text(sync)}")
        after = dict(self.now)
        after.pop(key, None)
        self.commit(after, sync)
        self.do(f"get {show(key)}", "-")

    @rule(start=ends, stop=ends, sync=syncs)
    @noted
    def delete_range(
        self, start: bytes | None, stop: bytes | None, sync: bool | None
    ) -> None:
        """Delete a range."""
        line = f"delete_range {_bound(start)} {_bound(stop)}{self.sync_text(sync)}"
        self.do(line)
        after = {
            key: entry
            for key, entry in self.now.items()
            if (start is not None and key < start) or (stop is not None and key >= stop)
        }
        self.commit(after, sync)

    @rule(number=st.integers(0, 1000), key=keys, ttl_ms=ttls)
    @noted
    def touch(self, number: int, key: bytes, ttl_ms: int) -> None:
        """Give a value another time to live."""
        key = self.usable_key(number, key)
        line = f"touch {show(key)} ttl_ms={ttl_ms or -1}"
        if self.value(self.now, key) == "-":
            self.do(line, "NOT_FOUND")
            return
        self.do(line)
        after = {**self.now, key: self.entry(self.now[key][0], ttl_ms)}
        self.commit(after, None)
        self.do(f"ttl {show(key)}", str(ttl_ms) if ttl_ms else "never")

    @rule(
        records=st.lists(
            st.tuples(keys, st.one_of(st.none(), values)), min_size=0, max_size=20
        ),
        sync=syncs,
    )
    @noted
    def batch(
        self, records: list[tuple[bytes, bytes | None]], sync: bool | None
    ) -> None:
        """Write several at once."""
        words: list[str] = []
        after = dict(self.now)
        for key, value in records:
            if value is None:
                after.pop(key, None)
                words.append(f"delete {show(key)}")
            else:
                after[key] = value, None
                words.append(f"put {show(key)} {show(value)}")
        self.do(f"batch {' '.join(words)}{self.sync_text(sync)}")
        self.commit(after, sync)
        for key, _ in records:
            self.do(f"get {show(key)}", self.value(after, key))

    @rule(extra=st.integers(-1, 1))
    @noted
    def put_at_the_key_limit(self, extra: int) -> None:
        """Keys may be so long and no longer."""
        key = show(b"k" * (KEY_SIZE_MAX + extra))
        if extra > 0:
            self.do(f"put {key} v", "LIMIT_EXCEEDED")
            return
        self.do(f"put {key} v")
        self.commit({**self.now, b"k" * (KEY_SIZE_MAX + extra): (b"v", None)}, None)
        self.do(f"delete {key}")
        after = dict(self.now)
        del after[b"k" * (KEY_SIZE_MAX + extra)]
        self.commit(after, None)

    # Maintenance.

    @rule(what=st.sampled_from(["flush", "sync"]))
    @noted
    def make_durable(self, what: str) -> None:
        """Flush or sync."""
        self.do(what)
        self.floor = len(self.history) - 1

    @rule(what=st.sampled_from(["settle", "verify", "warm"]))
    @noted
    def maintain(self, what: str) -> None:
        """Nothing is printed, and nothing changes."""
        self.do(what)

    @rule(start=ends, stop=ends)
    @noted
    def compact(self, start: bytes | None, stop: bytes | None) -> None:
        """Compact a range."""
        self.do(f"compact {_bound(start)} {_bound(stop)}")

    @rule(count=st.integers(1, 20))
    @noted
    def step(self, count: int) -> None:
        """Run background work."""
        self.do(f"step {count}")

    @rule(milliseconds=st.sampled_from([1, 999, 1000, 59_000, 60_000, 3_600_000]))
    @noted
    def pass_time(self, milliseconds: int) -> None:
        """Let time pass; cursors, which may show what expires now, go before."""
        for slot in list(self.cursors):
            self.free_cursor(slot)
        self.do(f"advance {milliseconds}")
        self.time_ms += milliseconds

    # Reads.

    @rule(wanted=st.lists(st.tuples(st.integers(0, 1000), keys), max_size=12))
    @noted
    def get(self, wanted: list[tuple[int, bytes]]) -> None:
        """Read keys, in three ways."""
        asked = [self.usable_key(number, key) for number, key in wanted]
        for key in asked:
            self.do(f"get {show(key)}", self.value(self.now, key))
            self.do(f"view {show(key)}", self.value(self.now, key))
        expected = [f"{show(key)} {self.value(self.now, key)}" for key in asked]
        self.do(f"get_many {' '.join(map(show, asked))}", *expected)

    @rule(reverse=st.booleans(), start=ends, stop=ends)
    @noted
    def scan(self, reverse: bool, start: bytes | None, stop: bytes | None) -> None:
        """Read all rows, or those of a range."""
        rows = [_row(row) for row in self.rows(self.now, start, stop)]
        line = f"scan {_bound(start)} {_bound(stop)}"
        if reverse:
            self.do(f"{line} reverse=1", *reversed(rows))
        else:
            self.do(line, *rows)

    @rule(slot=slots)
    @noted
    def take_snapshot(self, slot: int) -> None:
        """Make a snapshot."""
        self.do(f"snapshot {slot}")
        self.snapshots[slot] = self.now

    @precondition(lambda self: self.snapshots)
    @rule(slot=slots, asked=st.lists(keys, max_size=6))
    @noted
    def read_snapshot(self, slot: int, asked: list[bytes]) -> None:
        """A snapshot shows the state of its creation."""
        if slot not in self.snapshots:
            return
        state = self.snapshots[slot]
        self.do(f"scan snapshot={slot}", *(_row(row) for row in self.rows(state)))
        for key in [*asked, *list(self.now)[:4]]:
            self.do(f"get {show(key)} snapshot={slot}", self.value(state, key))
        expected = [f"{show(key)} {self.value(state, key)}" for key in asked]
        self.do(f"get_many {' '.join(map(show, asked))} snapshot={slot}", *expected)

    @rule(slot=slots)
    @noted
    def free_snapshot(self, slot: int) -> None:
        """Let a snapshot go."""
        if self.snapshots.pop(slot, None) is not None:
            self.do(f"free_snapshot {slot}")

    @rule(slot=slots, snapshot=st.one_of(st.none(), slots), start=ends, stop=ends)
    @noted
    def open_cursor(
        self, slot: int, snapshot: int | None, start: bytes | None, stop: bytes | None
    ) -> None:
        """Make a cursor."""
        state, where = self.now, ""
        if snapshot is not None and snapshot in self.snapshots:
            state, where = self.snapshots[snapshot], f" snapshot={snapshot}"
        self.do(f"cursor {slot} {_bound(start)} {_bound(stop)}{where}")
        self.cursors[slot] = OpenCursor(self.rows(state, start, stop))

    def moved(self, cursor: OpenCursor, at: int) -> str:
        """Note where a cursor is now, and return what it must show."""
        cursor.at = at if 0 <= at < len(cursor.rows) else None
        return _row(None if cursor.at is None else cursor.rows[cursor.at])

    @precondition(lambda self: self.cursors)
    @rule(
        slot=slots,
        how=st.lists(
            st.sampled_from(["first", "last", *["next", "prev"] * 3]), min_size=1
        ),
    )
    @noted
    def move_cursor(self, slot: int, how: list[str]) -> None:
        """Move a cursor to and fro."""
        cursor = self.cursors.get(slot)
        if cursor is None:
            return
        expected: list[str] = []
        for move in how:
            if move in {"first", "last"}:
                at = 0 if move == "first" else len(cursor.rows) - 1
                expected.append(self.moved(cursor, at))
            elif cursor.at is None:
                expected.append("INVALID_ARGUMENT")
            else:
                at = cursor.at + (1 if move == "next" else -1)
                expected.append(self.moved(cursor, at))
        self.do(f"move {slot} {' '.join(how)}", *expected)

    @precondition(lambda self: self.cursors)
    @rule(slot=slots, number=st.integers(0, 1000), key=keys, back=st.booleans())
    @noted
    def seek_cursor(self, slot: int, number: int, key: bytes, back: bool) -> None:
        """Send a cursor to a key."""
        cursor = self.cursors.get(slot)
        if cursor is None:
            return
        key = self.usable_key(number, key)
        found = [row[0] for row in cursor.rows]
        at = bisect_right(found, key) - 1 if back else bisect_left(found, key)
        line = f"seek {slot} {show(key)}{' back=1' if back else ''}"
        self.do(line, self.moved(cursor, at))

    @precondition(lambda self: self.cursors)
    @rule(slot=slots, row_max=st.integers(1, 5))
    @noted
    def fill_cursor(self, slot: int, row_max: int) -> None:
        """Copy a run of rows."""
        cursor = self.cursors.get(slot)
        if cursor is None or cursor.at is None:
            return
        rows = cursor.rows[cursor.at : cursor.at + row_max]
        self.do(f"fill {slot} rows={row_max} bytes=1000000", *map(_row, rows))
        self.moved(cursor, cursor.at + len(rows))

    @rule(slot=slots)
    @noted
    def free_cursor(self, slot: int) -> None:
        """Let a cursor go."""
        if self.cursors.pop(slot, None) is not None:
            self.do(f"free_cursor {slot}")

    # Ends and beginnings.

    def recovered(self, found: State) -> None:
        """Go on from the state that an open has found."""
        self.now, self.history, self.floor = found, [found], 0
        self.maybe.clear()
        self.snapshots.clear()
        self.cursors.clear()

    @rule(chosen=options)
    @noted
    def reopen(self, chosen: dict[str, int]) -> None:
        """Close and open with other options."""
        self.reopen_with(chosen)
        self.recovered(self.now)
        self.do("scan", *(_row(row) for row in self.rows(self.now)))

    @rule(name=st.integers(0, 1 << 30))
    @noted
    def move_to_checkpoint(self, name: int) -> None:
        """Go on in a checkpoint."""
        directory = f"copy{name}/{len(self.script)}"
        self.do(f"checkpoint {directory}")
        self.do(f"open dir={directory}")
        self.recovered(self.now)
        self.do("scan", *(_row(row) for row in self.rows(self.now)))

    @rule(
        chosen=options,
        number=st.integers(0, 1 << 32),
        mode=st.sampled_from(MODES),
        sector=st.sampled_from([32, 64, 512, 4096]),
    )
    @noted
    def crash(
        self, chosen: dict[str, int], number: int, mode: str, sector: int
    ) -> None:
        """Lose power; what is found is the state after some prefix of the writes."""
        self.do(f"crash {mode} seed={number} sector={sector}")
        Machine.crashes += 1
        self.reopen_with(chosen)
        legal = [*self.history[self.floor :], *self.maybe]
        shown = [[_row(row) for row in self.rows(state)] for state in legal]
        found = self.run_line("scan", shown[0])
        if found not in shown:
            self.script[-1].remarks = [f"# or a later one of {len(legal)} states"]
            self.fail(f"after a crash: none of {len(legal)} states, but {found}")
        self.script[-1].expected = found
        self.recovered(legal[shown.index(found)])
        self.settle_times(found, legal, shown)
        self.do("verify")
        if self.session.run("files"):
            self.do("settle")  # the open may have begun a compaction
        self.do("files")

    def settle_times(
        self, found: list[str], legal: list[State], shown: list[list[str]]
    ) -> None:
        """Of states that look alike, take times by what the values have left."""
        alike = [
            state for state, rows in zip(legal, shown, strict=True) if rows == found
        ]
        if all(state == alike[0] for state in alike):
            return
        times = [self.session.run(f"ttl {show(key)}") for key, _ in self.rows(self.now)]
        for state in alike:
            ends = [state[key][1] for key, _ in self.rows(self.now)]
            left = ["never" if end is None else str(end - self.time_ms) for end in ends]
            if [[text] for text in left] == times:
                self.recovered(state)
                return
        self.fail(f"after a crash: times of no state, {times}")

    @rule(
        key=keys,
        value=values,
        call=st.sampled_from(["APPEND", "SYNC", "OPEN", "DIR_SYNC", "RENAME"]),
        skip=st.integers(0, 2),
        how=st.sampled_from(["EIO", "ENOSPC", "EIO sticky=1", "ENOSPC sticky=1"]),
    )
    @noted
    def fail_once(
        self, key: bytes, value: bytes, call: str, skip: int, how: str
    ) -> None:
        """A failed write does not show; afterwards writes work, or never again."""
        self.do(f"fail {call} skip={skip} errno={how}")
        after = {**self.now, key: (value, None)}
        line = f"put {show(key)} {show(value)}"
        error = self.do_one_of(f"{line} sync=1", "", "IO_ERROR", "DISK_FULL")
        self.do("heal")
        self.time_ms += 120_000
        if error:
            Machine.failures += 1
            self.maybe.append(after)
        else:
            self.commit(after, True)
        for slot in list(self.cursors):
            self.free_cursor(slot)
        self.do(f"get {show(key)}", self.value(self.now, key))
        state = self.do_one_of("state", "open", "degraded", "poisoned")
        if state == "poisoned":
            self.do_one_of(line, "IO_ERROR", "DISK_FULL")
            self.crash(self.options, skip, "ALL", 512)
        elif error:
            self.do(line)
            self.commit(after, None)

    @invariant()
    def newest_write_is_there(self) -> None:
        """Look at one key after every rule."""
        if self.now and self.options:
            key = next(reversed(self.now))
            if self.session.run(f"get {show(key)}") != [self.value(self.now, key)]:
                self.do(f"get {show(key)}", self.value(self.now, key))

    def teardown(self) -> None:
        """Close; nothing may be left behind."""
        try:
            self.session.leave()
            self.session.close()
        finally:
            self.session.end()
        if live_allocations() != self.live:
            self.fail(f"{live_allocations() - self.live} allocations were not freed")


def run(examples: int, *, seed: int | None) -> Failure | None:
    """Run so many examples of up to STEPS rules; None: every answer was right.

    Args:
        examples: How many.
        seed: Decides them; None: they are much the same each time.
    """
    chosen = hypothesis.settings(
        max_examples=examples,
        stateful_step_count=STEPS,
        derandomize=seed is None,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    machine = Machine if seed is None else hypothesis.seed(seed)(Machine)
    Machine.failed = None
    try:
        with redirect_stdout(io.StringIO()):  # hypothesis prints the rules
            run_state_machine_as_test(machine, settings=chosen)
    except MismatchError:
        return _reduced()
    return None


def _replay(calls: Sequence[Call]) -> Failure | None:
    """Make calls without hypothesis."""
    Machine.failed = None
    machine = Machine()
    with suppress(MismatchError):
        try:
            for name, given in calls:
                getattr(machine, name)(**given)
                machine.newest_write_is_there()
        finally:
            machine.teardown()
    return Machine.failed


def _reduced() -> Failure | None:
    """Leave out of the calls that failed last, the opening aside, what need not be."""
    found = Machine.failed
    opening, *calls = Machine.failed_calls

    def fails(candidate: Sequence[Call]) -> bool:
        return _replay([opening, *candidate]) is not None

    if fails(calls):  # else it takes more than these calls
        calls = reduce(calls, fails, seconds=REDUCE_SECONDS_MAX)
        found = _replay([opening, *calls]) or found
    return found

# SPDX-License-Identifier: Apache-2.0
"""Goal: whatever the order of calls, the engine answers what a dict would, and after a
crash it holds the state after some prefix of the writes.

Method: a hypothesis machine over the C interface (bound from the headers, harness/
binding.py) on a simulated disk, with options so tiny that a run of fifty calls meets
full memtables, several levels and rolled logs. The model is a dict, the list of the
states after each commit since the last recovery, and how many of them are durable.
"""

from __future__ import annotations

import errno
import os
import secrets
from bisect import bisect_left, bisect_right
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, Phase, note, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from harness.engine import (
    MODES,
    Cursor,
    Database,
    Disk,
    EngineError,
    Snapshot,
    live_allocations,
)

EXAMPLES = int(os.environ.get("LSMKV_MODEL_EXAMPLES", "300"))
RANDOM_EXAMPLES = int(os.environ.get("LSMKV_MODEL_RANDOM_EXAMPLES", "60"))
STEPS = 50
POISONED = 2
KEY_SIZE_MAX = 65535

State = dict[bytes, bytes]

keys = st.one_of(
    st.just(b""),
    st.text(alphabet="\x00a\xff", max_size=8).map(lambda text: text.encode("latin-1")),
    st.integers(0, 60).map(lambda number: b"key/%03d" % number),
    st.integers(0, 3).map(lambda number: b"long" * 80 + b"%d" % number),
)
# Around a block, around two, and around what a tiny memtable holds.
values = st.one_of(
    st.sampled_from([0, 1, 15, 16, 17, 63, 64, 65, 128, 129, 600, 1500]),
    st.integers(0, 80),
).map(lambda size: bytes((size * 31 + i * 7) % 256 for i in range(size)))
options = st.fixed_dictionaries(
    {
        "memory_bytes": st.sampled_from([1 << 20, 1 << 22]),
        "memtable_bytes": st.sampled_from([1024, 1024, 2048, 4096]),
        "block_cache_bytes": st.sampled_from([0, 1024, 65536]),
        "max_open_files": st.just(16),
        "block_bytes": st.sampled_from([64, 128, 256]),
        "bloom_bits_per_key": st.sampled_from([0, 1, 10]),
        "table_bytes": st.sampled_from([512, 1024, 4096]),
        "level_base_bytes": st.sampled_from([1024, 4096]),
        "level_multiplier": st.sampled_from([2, 3]),
        "l0_compact_trigger": st.sampled_from([2, 3]),
        "durability": st.sampled_from([1, 1, 1, 2]),
        "seed": st.integers(1, 1 << 32),
    }
)
syncs = st.sampled_from([None, None, None, False, True])
slots = st.integers(0, 2)


@dataclass(slots=True)
class OpenCursor:
    """An iterator, the rows it should show, and where among them it is."""

    cursor: Cursor
    rows: list[tuple[bytes, bytes]]
    at: int | None = None


class Machine(RuleBasedStateMachine):
    """The engine beside the model."""

    def __init__(self) -> None:
        super().__init__()
        self.live = live_allocations()
        self.disk = Disk.create(1)
        self.db: Database | None = None
        self.options: dict[str, int] = {}
        self.now: State = {}
        self.history: list[State] = [{}]  # states since the last recovery
        self.floor = 0  # index of the first state that a crash may show
        self.maybe: list[State] = []  # after failed writes: there or not
        self.snapshots: dict[int, tuple[Snapshot, State]] = {}
        self.cursors: dict[int, OpenCursor] = {}

    @initialize(chosen=options, number=st.integers(1, 1 << 32))
    def begin(self, chosen: dict[str, int], number: int) -> None:
        self.disk.destroy()
        self.disk = Disk.create(number)
        self.open(chosen)

    def open(self, chosen: dict[str, int]) -> None:
        self.options = chosen
        self.db = Database(self.disk, chosen)

    @property
    def opened(self) -> Database:
        assert self.db is not None
        return self.db

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

    def commit(
        self, after: State, sync: bool | None, error: EngineError | None
    ) -> None:
        if error is not None:
            self.maybe.append(after)
            return
        self.now = after
        self.history.append(after)
        self.maybe.clear()
        always = self.options["durability"] == 2
        if sync or (sync is None and always):
            self.floor = len(self.history) - 1

    # Writes.

    @rule(number=st.integers(0, 1000), key=keys, value=values, sync=syncs)
    def put(self, number: int, key: bytes, value: bytes, sync: bool | None) -> None:
        key = self.usable_key(number, key)
        self.opened.put(key, value, sync=sync)
        self.commit({**self.now, key: value}, sync, None)
        assert self.opened.get(key) == value

    @rule(number=st.integers(0, 1000), key=keys, sync=syncs)
    def delete(self, number: int, key: bytes, sync: bool | None) -> None:
        key = self.usable_key(number, key)
        self.opened.delete(key, sync=sync)
        after = dict(self.now)
        after.pop(key, None)
        self.commit(after, sync, None)
        assert self.opened.get(key) is None

    @rule(
        records=st.lists(
            st.tuples(keys, st.one_of(st.none(), values)), min_size=0, max_size=20
        ),
        sync=syncs,
    )
    def batch(
        self, records: list[tuple[bytes, bytes | None]], sync: bool | None
    ) -> None:
        self.opened.write(records, sync=sync)
        after = dict(self.now)
        for key, value in records:
            if value is None:
                after.pop(key, None)
            else:
                after[key] = value
        self.commit(after, sync, None)
        for key, _ in records:
            assert self.opened.get(key) == after.get(key)

    @rule(extra=st.integers(-1, 1))
    def put_at_the_key_limit(self, extra: int) -> None:
        key = b"k" * (KEY_SIZE_MAX + extra)
        if extra > 0:
            with pytest.raises(EngineError) as caught:
                self.opened.put(key, b"v")
            assert caught.value.status == "LIMIT_EXCEEDED"
            return
        self.opened.put(key, b"v")
        self.commit({**self.now, key: b"v"}, None, None)
        self.opened.delete(key)
        after = dict(self.now)
        del after[key]
        self.commit(after, None, None)

    # Maintenance.

    @rule()
    def flush(self) -> None:
        self.opened.maintain("flush")
        self.floor = len(self.history) - 1

    @rule()
    def sync(self) -> None:
        self.opened.maintain("sync")
        self.floor = len(self.history) - 1

    @rule()
    def settle(self) -> None:
        self.opened.maintain("settle")

    @rule(start=st.one_of(st.none(), keys), stop=st.one_of(st.none(), keys))
    def compact(self, start: bytes | None, stop: bytes | None) -> None:
        self.opened.compact(start, stop)

    @rule(count=st.integers(1, 20))
    def step(self, count: int) -> None:
        self.opened.step(count)

    @rule(seconds=st.integers(-100, 100_000))
    def pass_time(self, seconds: int) -> None:
        self.disk.advance_ms(seconds * 1000)

    @rule()
    def verify(self) -> None:
        assert self.opened.problems() == 0

    # Reads.

    @rule(wanted=st.lists(st.tuples(st.integers(0, 1000), keys), max_size=12))
    def get(self, wanted: list[tuple[int, bytes]]) -> None:
        asked = [self.usable_key(number, key) for number, key in wanted]
        expected = [self.now.get(key) for key in asked]
        assert self.opened.get_many(asked) == expected
        assert [self.opened.get(key) for key in asked] == expected

    @rule()
    def scan(self) -> None:
        assert self.opened.items() == sorted(self.now.items())

    @rule(slot=slots)
    def take_snapshot(self, slot: int) -> None:
        self.free_snapshot(slot)
        self.snapshots[slot] = (Snapshot(self.opened), self.now)

    @precondition(lambda self: self.snapshots)
    @rule(slot=slots, asked=st.lists(keys, max_size=6))
    def read_snapshot(self, slot: int, asked: list[bytes]) -> None:
        if slot not in self.snapshots:
            return
        snapshot, state = self.snapshots[slot]
        assert self.opened.items(snapshot) == sorted(state.items())
        for key in [*asked, *list(self.now)[:4]]:
            assert self.opened.get(key, snapshot) == state.get(key)
        assert self.opened.get_many(asked, snapshot) == [state.get(k) for k in asked]

    @rule(slot=slots)
    def free_snapshot(self, slot: int) -> None:
        if slot in self.snapshots:
            self.snapshots.pop(slot)[0].free()

    @rule(
        slot=slots,
        snapshot=st.one_of(st.none(), slots),
        start=st.one_of(st.none(), keys),
        stop=st.one_of(st.none(), keys),
    )
    def open_cursor(
        self, slot: int, snapshot: int | None, start: bytes | None, stop: bytes | None
    ) -> None:
        self.free_cursor(slot)
        handle, state = None, self.now
        if snapshot is not None and snapshot in self.snapshots:
            handle, state = self.snapshots[snapshot]
        rows = [
            row
            for row in sorted(state.items())
            if (start is None or row[0] >= start) and (stop is None or row[0] < stop)
        ]
        self.cursors[slot] = OpenCursor(Cursor(self.opened, start, stop, handle), rows)
        assert self.cursors[slot].cursor.row() is None

    def check_cursor(self, cursor: OpenCursor, at: int) -> None:
        cursor.at = at if 0 <= at < len(cursor.rows) else None
        expected = None if cursor.at is None else cursor.rows[cursor.at]
        assert cursor.cursor.row() == expected

    @precondition(lambda self: self.cursors)
    @rule(slot=slots, how=st.lists(st.sampled_from("fl+-+-+-")))
    def move_cursor(self, slot: int, how: list[str]) -> None:
        cursor = self.cursors.get(slot)
        if cursor is None:
            return
        for move in how:
            if move in "fl":
                cursor.cursor.move("seek_first" if move == "f" else "seek_last")
                self.check_cursor(cursor, 0 if move == "f" else len(cursor.rows) - 1)
            elif cursor.at is not None:
                cursor.cursor.move("next" if move == "+" else "prev")
                self.check_cursor(cursor, cursor.at + (1 if move == "+" else -1))
            else:
                with pytest.raises(EngineError, match="INVALID_ARGUMENT"):
                    cursor.cursor.move("next" if move == "+" else "prev")

    @precondition(lambda self: self.cursors)
    @rule(slot=slots, number=st.integers(0, 1000), key=keys, for_prev=st.booleans())
    def seek_cursor(self, slot: int, number: int, key: bytes, for_prev: bool) -> None:
        cursor = self.cursors.get(slot)
        if cursor is None:
            return
        key = self.usable_key(number, key)
        cursor.cursor.seek(key, for_prev=for_prev)
        found = [row[0] for row in cursor.rows]
        at = bisect_right(found, key) - 1 if for_prev else bisect_left(found, key)
        self.check_cursor(cursor, at)

    @precondition(lambda self: self.cursors)
    @rule(slot=slots, row_max=st.integers(0, 5), byte_max=st.integers(0, 200))
    def fill_cursor(self, slot: int, row_max: int, byte_max: int) -> None:
        cursor = self.cursors.get(slot)
        if cursor is None or cursor.at is None:
            return
        rows = cursor.cursor.fill(row_max=row_max, byte_max=byte_max)
        assert rows
        assert row_max == 0 or len(rows) <= row_max
        assert rows == cursor.rows[cursor.at : cursor.at + len(rows)]
        self.check_cursor(cursor, cursor.at + len(rows))

    @rule(slot=slots)
    def free_cursor(self, slot: int) -> None:
        if slot in self.cursors:
            self.cursors.pop(slot).cursor.free()

    # Ends and beginnings.

    def free_views(self) -> None:
        for slot in list(self.cursors):
            self.free_cursor(slot)
        for slot in list(self.snapshots):
            self.free_snapshot(slot)

    @rule(chosen=options, views_first=st.booleans())
    def reopen(self, chosen: dict[str, int], views_first: bool) -> None:
        if views_first:
            self.free_views()
        self.opened.maintain("close")
        assert self.opened.is_closed()
        with pytest.raises(EngineError, match="CLOSED"):
            self.opened.get(b"")
        for cursor in self.cursors.values():
            with pytest.raises(EngineError, match="CLOSED"):
                cursor.cursor.move("seek_first")
        self.opened.free()
        self.free_views()
        self.history, self.floor = [self.now], 0
        self.maybe.clear()
        self.open(chosen)
        assert self.opened.items() == sorted(self.now.items())

    @rule(
        chosen=options,
        number=st.integers(0, 1 << 32),
        mode=st.sampled_from(MODES),
        sector=st.sampled_from([32, 64, 512, 4096]),
    )
    def crash(
        self, chosen: dict[str, int], number: int, mode: str, sector: int
    ) -> None:
        crashed = self.disk.crash(number, mode, sector)
        self.free_views()
        self.opened.abandon()
        self.db = None
        self.disk.destroy()
        self.disk = crashed
        self.open(chosen)
        found = dict(self.opened.items())
        legal = [*self.history[self.floor :], *self.maybe]
        note(f"{len(legal)} legal states")
        assert found in legal
        self.now, self.history, self.floor = found, [found], 0
        self.maybe.clear()
        assert self.opened.problems() == 0
        if self.opened.stray_file() is not None:
            self.opened.maintain("settle")  # the open may have begun a compaction
        assert self.opened.stray_file() is None

    @rule(
        key=keys,
        value=values,
        call=st.sampled_from(["APPEND", "SYNC", "OPEN", "DIR_SYNC", "RENAME"]),
        skip=st.integers(0, 2),
        code=st.sampled_from([errno.EIO, errno.ENOSPC]),
        sticky=st.booleans(),
    )
    def fail_once(
        self, key: bytes, value: bytes, call: str, skip: int, code: int, sticky: bool
    ) -> None:
        """A failed write does not show; afterwards writes work, or never again."""
        self.disk.fail(call, skip, code, sticky=sticky)
        after, error = {**self.now, key: value}, None
        try:
            self.opened.put(key, value, sync=True)
        except EngineError as caught:
            assert caught.status in {"IO_ERROR", "DISK_FULL"}  # noqa: PT017
            error = caught
        self.disk.fail(call, 0, 0, sticky=False)
        self.commit(after, True, error)
        assert self.opened.get(key) == self.now.get(key)
        if self.opened.state() == POISONED:
            with pytest.raises(EngineError, match=r"IO_ERROR|DISK_FULL"):
                self.opened.put(key, value)
            self.crash(self.options, skip, "ALL", 512)
        elif error is not None:
            self.disk.advance_ms(60_000)
            self.opened.put(key, value)
            self.commit(after, None, None)

    @invariant()
    def newest_write_is_there(self) -> None:
        if self.db is not None and self.now:
            key = next(reversed(self.now))
            assert self.opened.get(key) == self.now[key]

    def teardown(self) -> None:
        self.free_views()
        if self.db is not None:
            self.opened.free()
        self.disk.destroy()
        assert live_allocations() == self.live


def run(examples: int, *, derandomize: bool, number: int | None = None) -> None:
    chosen = settings(
        max_examples=examples,
        stateful_step_count=STEPS,
        derandomize=derandomize,
        database=None,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    machine = Machine if number is None else seed(number)(Machine)
    run_state_machine_as_test(machine, settings=chosen)


@pytest.mark.timeout(600)
def test_the_engine_answers_as_a_dict_does() -> None:
    run(EXAMPLES, derandomize=True)
    print(f"examples={EXAMPLES} steps={STEPS} derandomized")


@pytest.mark.timeout(600)
def test_the_engine_answers_as_a_dict_does_on_fresh_examples() -> None:
    number = int(os.environ.get("LSMKV_SEED") or secrets.randbits(32))
    print(f"LSMKV_SEED={number} examples={RANDOM_EXAMPLES} steps={STEPS}")
    run(RANDOM_EXAMPLES, derandomize=False, number=number)

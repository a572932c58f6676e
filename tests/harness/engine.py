# SPDX-License-Identifier: Apache-2.0
"""A thin, checked face of the C interface on a simulated disk, for the model machine.

Every method is one C call. Statuses other than OK and NOT_FOUND raise EngineError with
the status's name. Nothing is cached and nothing is retried.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.binding import load

MODES = [
    "STRICT",
    "ALL",
    "PREFIX",
    "SUBSET",
    "EXTEND",
    "GARBAGE",
    "DIR_STRICT",
    "DIR_SUBSET",
    "MIXED",
]


class EngineError(Exception):
    """A call answered something else than OK; `status` is its name."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


def live_allocations() -> int:
    """Return how many allocations of the engine are not given back."""
    lib = load()[1]
    return int(lib.lsm_test_live_allocations())


class Disk:
    """A simulated operating system; `crash` makes another one."""

    def __init__(self, env: Any) -> None:
        self.env = env

    @classmethod
    def create(cls, seed: int) -> Disk:
        """Make an empty one."""
        return cls(load()[1].lsm_sim_create(seed))

    def crash(self, seed: int, mode: str, sector: int) -> Disk:
        """Return what a crash right now leaves."""
        lib = load()[1]
        number = getattr(lib, f"LSM_CRASH_{mode}")
        return Disk(lib.lsm_sim_crash(self.env, seed, number, sector))

    def fail(self, call: str, skip: int, errno: int, *, sticky: bool) -> None:
        """Let a coming call of a class fail; errno 0 ends it."""
        lib = load()[1]
        lib.lsm_sim_fail(self.env, getattr(lib, f"LSM_SIM_{call}"), skip, errno, sticky)

    def advance_ms(self, milliseconds: int) -> None:
        """Move the clock, also back."""
        load()[1].lsm_sim_advance_ms(self.env, milliseconds)

    def destroy(self) -> None:
        """Free it; its database must be closed."""
        load()[1].lsm_sim_destroy(self.env)


class Handle:
    """What databases, snapshots and iterators share: the library and errors."""

    def __init__(self) -> None:
        self.ffi, self.lib = load()
        self.err = self.ffi.new("lsmkv_error *")

    def check(self, status: int) -> bool:
        """Return whether the status is OK; False for NOT_FOUND, else raise."""
        if status == self.lib.LSMKV_OK:
            return True
        if status == self.lib.LSMKV_NOT_FOUND:
            return False
        name = self.ffi.string(self.lib.lsmkv_status_name(status)).decode()
        raise EngineError(name, self.ffi.string(self.err.message).decode())

    def bytes_in(self, data: bytes, keep: list[Any]) -> dict[str, Any]:
        """Return a lsmkv_bytes; `keep` holds its memory."""
        keep.append(self.ffi.from_buffer(data))
        return {"data": keep[-1], "size": len(data)}

    def bytes_out(self, lent: Any) -> bytes:
        """Copy a lsmkv_bytes."""
        if lent.size == 0:
            return b""
        return bytes(self.ffi.buffer(lent.data, lent.size))

    def read_options(self, snapshot: Snapshot | None, keep: list[Any]) -> Any:
        """Return a lsmkv_read."""
        read = self.ffi.new("lsmkv_read *")
        if snapshot is not None:
            read.snapshot = snapshot.snapshot
        keep.append(read)
        return read


class Snapshot(Handle):
    """A snapshot of a database."""

    def __init__(self, db: Database) -> None:
        super().__init__()
        out = self.ffi.new("lsmkv_snapshot **")
        self.check(self.lib.lsmkv_snapshot_create(db.db, out, self.err))
        self.snapshot = out[0]

    def free(self) -> None:
        """Give it back; fine before and after the close of its database."""
        self.lib.lsmkv_snapshot_free(self.snapshot)


class Cursor(Handle):
    """An iterator."""

    def __init__(
        self,
        db: Database,
        start: bytes | None,
        stop: bytes | None,
        snapshot: Snapshot | None,
    ) -> None:
        super().__init__()
        keep: list[Any] = []
        bounds = self.ffi.new("lsmkv_range *")
        if start is not None:
            bounds.has_start = True
            bounds.start = self.bytes_in(start, keep)
        if stop is not None:
            bounds.has_stop = True
            bounds.stop = self.bytes_in(stop, keep)
        out = self.ffi.new("lsmkv_iter **")
        read = self.read_options(snapshot, keep)
        self.check(self.lib.lsmkv_iter_create(db.db, read, bounds, out, self.err))
        self.iter = out[0]

    def move(self, how: str) -> None:
        """Run seek_first, seek_last, next or prev."""
        self.check(getattr(self.lib, f"lsmkv_iter_{how}")(self.iter, self.err))

    def seek(self, key: bytes, *, for_prev: bool) -> None:
        """Go to the first key >= `key`, or the last one <= it."""
        keep: list[Any] = []
        call = (
            self.lib.lsmkv_iter_seek_for_prev if for_prev else self.lib.lsmkv_iter_seek
        )
        self.check(call(self.iter, self.bytes_in(key, keep), self.err))

    def row(self) -> tuple[bytes, bytes] | None:
        """Return the current row."""
        if not self.lib.lsmkv_iter_valid(self.iter):
            return None
        key = self.bytes_out(self.lib.lsmkv_iter_key(self.iter))
        return key, self.bytes_out(self.lib.lsmkv_iter_value(self.iter))

    def fill(
        self, *, reverse: bool = False, row_max: int = 0, byte_max: int = 0
    ) -> list[tuple[bytes, bytes]]:
        """Copy a chunk of rows out."""
        fill = self.ffi.new("lsmkv_fill *")
        fill.reverse, fill.row_max, fill.byte_max = reverse, row_max, byte_max
        chunk = self.ffi.new("lsmkv_chunk *")
        self.check(self.lib.lsmkv_iter_fill(self.iter, fill, chunk, self.err))
        rows: list[tuple[bytes, bytes]] = []
        for i in range(chunk.row_count):
            row = chunk.rows[i]
            key = self.ffi.buffer(chunk.data + row.key_offset, row.key_size)[:]
            value = self.ffi.buffer(chunk.data + row.value_offset, row.value_size)[:]
            rows.append((key, value))
        return rows

    def free(self) -> None:
        """Give it back; fine before and after the close of its database."""
        self.lib.lsmkv_iter_free(self.iter)


class Database(Handle):
    """A database on a simulated disk."""

    def __init__(self, disk: Disk, options: Mapping[str, int]) -> None:
        super().__init__()
        given = self.ffi.new("lsmkv_options *")
        self.lib.lsmkv_options_init(given)
        for name, value in options.items():
            setattr(given, name, value)
        out = self.ffi.new("lsmkv_db **")
        self.check(self.lib.lsm_test_open(disk.env, b"db", given, out, self.err))
        self.db = out[0]

    def _how(self, sync: bool | None, keep: list[Any]) -> Any:
        how = self.ffi.new("lsmkv_write *")
        if sync is not None:
            how.sync, how.nosync = sync, not sync
        keep.append(how)
        return how

    def put(self, key: bytes, value: bytes, *, sync: bool | None = None) -> None:
        """Write one row."""
        keep: list[Any] = []
        how = self._how(sync, keep)
        key_in, value_in = self.bytes_in(key, keep), self.bytes_in(value, keep)
        self.check(self.lib.lsmkv_put(self.db, how, key_in, value_in, self.err))

    def delete(self, key: bytes, *, sync: bool | None = None) -> None:
        """Delete one row."""
        keep: list[Any] = []
        how, key_in = self._how(sync, keep), self.bytes_in(key, keep)
        self.check(self.lib.lsmkv_delete(self.db, how, key_in, self.err))

    def write(
        self,
        records: Sequence[tuple[bytes, bytes | None]],
        *,
        sync: bool | None = None,
    ) -> None:
        """Write a batch; None deletes."""
        keep: list[Any] = []
        out = self.ffi.new("lsmkv_batch **")
        self.check(self.lib.lsmkv_batch_create(out, self.err))
        batch = out[0]
        try:
            for key, value in records:
                key_in = self.bytes_in(key, keep)
                if value is None:
                    status = self.lib.lsmkv_batch_delete(
                        batch, self.ffi.NULL, key_in, self.err
                    )
                else:
                    value_in = self.bytes_in(value, keep)
                    status = self.lib.lsmkv_batch_put(
                        batch, self.ffi.NULL, key_in, value_in, self.err
                    )
                self.check(status)
            how = self._how(sync, keep)
            self.check(self.lib.lsmkv_write_batch(self.db, how, batch, self.err))
        finally:
            self.lib.lsmkv_batch_free(batch)

    def get(self, key: bytes, snapshot: Snapshot | None = None) -> bytes | None:
        """Read one row."""
        keep: list[Any] = []
        pin = self.ffi.new("lsmkv_pin *")
        read, key_in = self.read_options(snapshot, keep), self.bytes_in(key, keep)
        if not self.check(self.lib.lsmkv_get(self.db, read, key_in, pin, self.err)):
            return None
        value = self.bytes_out(pin.value)
        self.lib.lsmkv_pin_release(pin)
        return value

    def get_many(
        self, keys: Sequence[bytes], snapshot: Snapshot | None = None
    ) -> list[bytes | None]:
        """Read rows in one consistent state."""
        keep: list[Any] = []
        lookups = self.ffi.new("lsmkv_lookup[]", len(keys))
        for lookup, key in zip(lookups, keys, strict=True):
            lookup.key = self.bytes_in(key, keep)
        pin = self.ffi.new("lsmkv_pin *")
        read = self.read_options(snapshot, keep)
        self.check(
            self.lib.lsmkv_get_many(self.db, read, lookups, len(keys), pin, self.err)
        )
        found = [self.bytes_out(x.value) if x.found else None for x in lookups]
        self.lib.lsmkv_pin_release(pin)
        return found

    def items(self, snapshot: Snapshot | None = None) -> list[tuple[bytes, bytes]]:
        """Return all rows in order."""
        cursor = Cursor(self, None, None, snapshot)
        try:
            rows: list[tuple[bytes, bytes]] = []
            while chunk := cursor.fill():
                rows += chunk
            return rows
        finally:
            cursor.free()

    def maintain(self, what: str) -> None:
        """Run flush, sync, settle or close."""
        self.check(getattr(self.lib, f"lsmkv_{what}")(self.db, self.err))

    def compact(self, start: bytes | None, stop: bytes | None) -> None:
        """Compact a range."""
        keep: list[Any] = []
        bounds = self.ffi.new("lsmkv_range *")
        if start is not None:
            bounds.has_start, bounds.start = True, self.bytes_in(start, keep)
        if stop is not None:
            bounds.has_stop, bounds.stop = True, self.bytes_in(stop, keep)
        self.check(self.lib.lsmkv_compact(self.db, self.ffi.NULL, bounds, self.err))

    def step(self, count: int) -> int:
        """Run background work."""
        return int(self.lib.lsm_test_step(self.db, count))

    def problems(self) -> int:
        """Verify everything and return the number of problems."""
        report = self.ffi.new("lsmkv_report *")
        self.check(
            self.lib.lsmkv_verify(
                self.db, self.ffi.NULL, self.ffi.NULL, report, self.err
            )
        )
        return int(report.problem_count)

    def stray_file(self) -> str | None:
        """Return the name of a file too many or too few."""
        name = self.ffi.new(f"char[{self.lib.LSM_NAME_SIZE_MAX}]")
        if self.lib.lsm_test_files_match(self.db, name):
            return None
        return str(self.ffi.string(name).decode())

    def state(self) -> int:
        """Return 0 open, 1 degraded, 2 poisoned, 3 closed."""
        stats = self.ffi.new("lsmkv_stats *")
        self.check(self.lib.lsmkv_get_stats(self.db, stats, self.err))
        return int(stats.state)

    def is_closed(self) -> bool:
        """Return whether close was called."""
        return bool(self.lib.lsmkv_is_closed(self.db))

    def free(self) -> None:
        """Drop the handle, closing it if need be."""
        self.lib.lsmkv_free(self.db)

    def abandon(self) -> None:
        """Drop the handle as a crash would."""
        self.lib.lsm_test_abandon(self.db)

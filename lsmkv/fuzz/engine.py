# SPDX-License-Identifier: Apache-2.0
"""A thin, checked face of the C interface on a simulated disk.

Every method is one C call. Statuses other than OK and NOT_FOUND raise EngineError with
the status's name. Nothing is cached and nothing is retried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from lsmkv.fuzz._native import ffi, lib

MODES = (
    "STRICT",
    "ALL",
    "PREFIX",
    "SUBSET",
    "EXTEND",
    "GARBAGE",
    "DIR_STRICT",
    "DIR_SUBSET",
    "MIXED",
)
STATES = ("open", "degraded", "poisoned", "closed", "read-only")
Row = tuple[bytes, bytes]
Range = tuple[bytes | None, bytes | None]


class EngineError(Exception):
    """A call answered something else than OK; `status` is its name."""

    def __init__(self, status: str, message: str) -> None:
        """Keep both."""
        super().__init__(f"{status}: {message}")
        self.status = status


def live_allocations() -> int:
    """Return how many allocations of the engine are not given back."""
    return int(lib.lsm_test_live_allocations())


def starve(after: int, count: int) -> None:
    """Let `count` allocations of the engine fail, after so many that do not."""
    lib.lsm_alloc_fail_range(after, count)


def feed() -> None:
    """Let no allocation fail any more."""
    lib.lsm_alloc_fail_never()


def _bytes_in(data: bytes, keep: list[Any]) -> dict[str, Any]:
    """Return a lsmkv_bytes; `keep` holds its memory."""
    keep.append(ffi.from_buffer(data))
    return {"data": keep[-1], "size": len(data)}


def _bytes_out(lent: Any) -> bytes:
    """Copy a lsmkv_bytes."""
    return bytes(ffi.buffer(lent.data, lent.size)) if lent.size else b""


def _range_in(bounds: Range, keep: list[Any]) -> Any:
    given = ffi.new("lsmkv_range *")
    start, stop = bounds
    if start is not None:
        given.has_start, given.start = True, _bytes_in(start, keep)
    if stop is not None:
        given.has_stop, given.stop = True, _bytes_in(stop, keep)
    keep.append(given)
    return given


class Disk:
    """A simulated operating system; `crash` makes another one."""

    def __init__(self, env: Any) -> None:
        """Take a lsm_env."""
        self.env = env
        self.caught: Disk | None = None  # what crash_at has made

    @classmethod
    def create(cls, seed: int) -> Disk:
        """Make an empty one."""
        return cls(lib.lsm_sim_create(seed))

    def crash(self, seed: int, mode: str, sector: int) -> Disk:
        """Return what a crash right now leaves."""
        number = getattr(lib, f"LSM_CRASH_{mode}")
        return Disk(lib.lsm_sim_crash(self.env, seed, number, sector))

    def crash_after(self, steps: int, seed: int, mode: str, sector: int) -> None:
        """Have `caught` be what a crash leaves behind so many steps from now."""
        last = int(lib.lsm_sim_steps(self.env)) + steps

        def hear(step: int) -> None:
            if step == last:
                self.caught = self.crash(seed, mode, sector)

        self.forget_crash()
        _on_step[self.env] = hear
        lib.lsm_sim_set_hook(self.env, lib.lsmkv_fuzz_on_step, self.env)

    def forget_crash(self) -> None:
        """Give back what was caught, and catch no more."""
        lib.lsm_sim_set_hook(self.env, ffi.NULL, ffi.NULL)
        _on_step.pop(self.env, None)
        caught, self.caught = self.caught, None
        if caught is not None:
            caught.destroy()

    def exempt_memory(self) -> None:
        """Let its own memory not count among the allocations that can fail."""
        lib.lsm_sim_exempt_memory(self.env)

    def fail(self, call: str, skip: int, errno: int, *, sticky: bool) -> None:
        """Let a coming call of a class fail; errno 0 ends it."""
        lib.lsm_sim_fail(self.env, getattr(lib, f"LSM_SIM_{call}"), skip, errno, sticky)

    def set_quota(self, size: int) -> None:
        """Have the disk be full when all files together pass `size`; 0: never."""
        lib.lsm_sim_set_quota(self.env, size)

    def advance_ms(self, milliseconds: int) -> None:
        """Move the clock, also back."""
        lib.lsm_sim_advance_ms(self.env, milliseconds)

    def jump_ms(self, milliseconds: int) -> None:
        """Set the wall clock ahead, while no time passes."""
        lib.lsm_sim_jump_ms(self.env, milliseconds)

    def read_file(self, path: bytes, name: bytes) -> bytes | None:
        """Return the bytes of a file, None if there is none."""
        data, size = ffi.new("uint8_t **"), ffi.new("size_t *")
        if not lib.lsm_sim_file_read(self.env, path, name, data, size):
            return None
        return bytes(ffi.buffer(data[0], size[0]))

    def write_file(self, path: bytes, name: bytes, data: bytes) -> bool:
        """Replace a file, durably."""
        return bool(lib.lsm_sim_file_write(self.env, path, name, data, len(data)))

    def remove_file(self, path: bytes, name: bytes) -> bool:
        """Remove a file, durably."""
        return bool(lib.lsm_sim_file_remove(self.env, path, name))

    def destroy(self) -> None:
        """Free it; its databases must be closed."""
        self.forget_crash()
        lib.lsm_sim_destroy(self.env)


class Handle:
    """What databases, snapshots and iterators share: how errors come back."""

    def __init__(self) -> None:
        """Make room for an error."""
        self.err = ffi.new("lsmkv_error *")

    def check(self, status: int) -> bool:
        """Return whether the status is OK; False for NOT_FOUND, else raise."""
        if status == lib.LSMKV_OK:
            return True
        if status == lib.LSMKV_NOT_FOUND:
            return False
        name = ffi.string(lib.lsmkv_status_name(status)).decode()
        raise EngineError(name, ffi.string(self.err.message).decode())


class Snapshot(Handle):
    """A snapshot of a database."""

    def __init__(self, db: Database) -> None:
        """Make one of this moment."""
        super().__init__()
        out = ffi.new("lsmkv_snapshot **")
        self.check(lib.lsmkv_snapshot_create(db.db, out, self.err))
        self.snapshot = out[0]

    def free(self) -> None:
        """Give it back; fine before and after the close of its database."""
        lib.lsmkv_snapshot_free(self.snapshot)


class Space(Handle):
    """A namespace, found by its name or created with what is given of its options."""

    def __init__(
        self, db: Database, name: bytes, options: Mapping[str, int] | None = None
    ) -> None:
        """Find it, or with options (may be empty) create it."""
        super().__init__()
        keep: list[Any] = []
        how = ffi.new("lsmkv_namespace_how *")
        how.create = options is not None
        for option, value in (options or {}).items():
            bare = option.removesuffix("_ms").removesuffix("_bytes")
            flag = option if option.startswith("max") else bare
            setattr(how, f"has_{flag}", True)
            setattr(how.options, option, value)
        out = ffi.new("lsmkv_namespace **")
        found = self.check(
            lib.lsmkv_namespace_open(db.db, _bytes_in(name, keep), how, out, self.err)
        )
        if not found:
            raise EngineError("NOT_FOUND", "there is no such namespace")
        self.space = out[0]

    def free(self) -> None:
        """Give it back; fine before and after the close of its database."""
        lib.lsmkv_namespace_free(self.space)


@dataclass(frozen=True, slots=True)
class At:
    """What a read looks at: a snapshot, a namespace; the newest state, the default."""

    snapshot: Snapshot | None = None
    space: Space | None = None
    stale: bool = False

    def read(self, keep: list[Any]) -> Any:
        """Return a lsmkv_read."""
        read = ffi.new("lsmkv_read *")
        if self.snapshot is not None:
            read.snapshot = self.snapshot.snapshot
        if self.space is not None:
            read.space = self.space.space
        read.stale = self.stale
        keep.append(read)
        return read


@dataclass(frozen=True, slots=True)
class How:
    """How a write is done; times are in milliseconds, 0 as the namespace has it."""

    sync: bool | None = None
    ttl_ms: int = 0
    stale_ms: int = 0
    space: Space | None = None
    since: Snapshot | None = None

    def write(self, keep: list[Any]) -> Any:
        """Return a lsmkv_write."""
        how = ffi.new("lsmkv_write *")
        if self.sync is not None:
            how.sync, how.nosync = self.sync, not self.sync
        how.ttl_ms, how.stale_ms = self.ttl_ms, self.stale_ms
        if self.space is not None:
            how.space = self.space.space
        if self.since is not None:
            how.since = self.since.snapshot
        keep.append(how)
        return how


HERE, PLAIN = At(), How()


class Batch(Handle):
    """Records that are written as one."""

    def __init__(self) -> None:
        """Make an empty one."""
        super().__init__()
        out = ffi.new("lsmkv_batch **")
        self.check(lib.lsmkv_batch_create(out, self.err))
        self.batch = out[0]

    def put(self, key: bytes, value: bytes, how: How = PLAIN) -> None:
        """Add a row."""
        keep: list[Any] = []
        given, key_in = how.write(keep), _bytes_in(key, keep)
        value_in = _bytes_in(value, keep)
        self.check(lib.lsmkv_batch_put(self.batch, given, key_in, value_in, self.err))

    def delete(self, key: bytes, how: How = PLAIN) -> None:
        """Add a deletion."""
        keep: list[Any] = []
        given, key_in = how.write(keep), _bytes_in(key, keep)
        self.check(lib.lsmkv_batch_delete(self.batch, given, key_in, self.err))

    def delete_range(self, bounds: Range, how: How = PLAIN) -> None:
        """Add the deletion of a range."""
        keep: list[Any] = []
        given, range_in = how.write(keep), _range_in(bounds, keep)
        self.check(lib.lsmkv_batch_delete_range(self.batch, given, range_in, self.err))

    def free(self) -> None:
        """Give it back."""
        lib.lsmkv_batch_free(self.batch)


class Cursor(Handle):
    """An iterator."""

    def __init__(self, db: Database, bounds: Range, at: At = HERE) -> None:
        """Make one that is not on a row yet."""
        super().__init__()
        keep: list[Any] = []
        out = ffi.new("lsmkv_iter **")
        read, range_in = at.read(keep), _range_in(bounds, keep)
        self.check(lib.lsmkv_iter_create(db.db, read, range_in, out, self.err))
        self.iter = out[0]

    def move(self, how: str) -> None:
        """Run seek_first, seek_last, next or prev."""
        self.check(getattr(lib, f"lsmkv_iter_{how}")(self.iter, self.err))

    def seek(self, key: bytes, *, for_prev: bool) -> None:
        """Go to the first key >= `key`, or the last one <= it."""
        keep: list[Any] = []
        call = lib.lsmkv_iter_seek_for_prev if for_prev else lib.lsmkv_iter_seek
        self.check(call(self.iter, _bytes_in(key, keep), self.err))

    def row(self) -> Row | None:
        """Return the current row."""
        if not lib.lsmkv_iter_valid(self.iter):
            return None
        key = _bytes_out(lib.lsmkv_iter_key(self.iter))
        return key, _bytes_out(lib.lsmkv_iter_value(self.iter))

    def fill(
        self, *, reverse: bool = False, row_max: int = 0, byte_max: int = 0
    ) -> list[Row]:
        """Copy a chunk of rows out."""
        fill = ffi.new("lsmkv_fill *")
        fill.reverse, fill.row_max, fill.byte_max = reverse, row_max, byte_max
        chunk = ffi.new("lsmkv_chunk *")
        self.check(lib.lsmkv_iter_fill(self.iter, fill, chunk, self.err))
        rows: list[Row] = []
        for i in range(chunk.row_count):
            row = chunk.rows[i]
            key = ffi.buffer(chunk.data + row.key_offset, row.key_size)[:]
            value = ffi.buffer(chunk.data + row.value_offset, row.value_size)[:]
            rows.append((key, value))
        return rows

    def free(self) -> None:
        """Give it back; fine before and after the close of its database."""
        lib.lsmkv_iter_free(self.iter)


class Publish(Handle):
    """A version that is being published."""

    def __init__(self, db: Database, name: bytes, version: bytes) -> None:
        """Begin it."""
        super().__init__()
        keep: list[Any] = []
        out = ffi.new("lsmkv_publish **")
        names = _bytes_in(name, keep), _bytes_in(version, keep)
        self.check(lib.lsmkv_publish_begin(db.db, *names, ffi.NULL, out, self.err))
        self.publish = out[0]

    def put(self, key: bytes, value: bytes, how: How = PLAIN) -> None:
        """Add a row."""
        keep: list[Any] = []
        pairs = ffi.new("lsmkv_pair[1]")
        pairs[0].key = _bytes_in(key, keep)
        pairs[0].value = _bytes_in(value, keep)
        given = how.write(keep)
        self.check(lib.lsmkv_publish_put(self.publish, given, pairs, 1, self.err))

    def end(self, what: str) -> None:
        """Run commit or abort."""
        self.check(getattr(lib, f"lsmkv_publish_{what}")(self.publish, self.err))

    def free(self) -> None:
        """Give it back, discarding it unless it was committed."""
        lib.lsmkv_publish_free(self.publish)


_callbacks: list[Callable[..., None]] = []
_on_step: dict[Any, Callable[[int], None]] = {}


@ffi.def_extern()  # type: ignore[untyped-decorator]
def lsmkv_fuzz_on_step(context: Any, step: int) -> None:
    """Hear of a step that a simulated disk is about to take."""
    _on_step[ffi.cast("lsm_env *", context)](step)


@ffi.def_extern()  # type: ignore[untyped-decorator]
def lsmkv_fuzz_on_space(context: Any, name: Any, options: Any) -> None:
    """Hear of a namespace."""
    del context
    _callbacks[-1](name, options)


@ffi.def_extern()  # type: ignore[untyped-decorator]
def lsmkv_fuzz_on_version(context: Any, info: Any) -> None:
    """Hear of a published version."""
    del context
    _callbacks[-1](info)


@ffi.def_extern()  # type: ignore[untyped-decorator]
def lsmkv_fuzz_on_problem(context: Any, problem: Any) -> None:
    """Hear of what a verification found."""
    del context
    _callbacks[-1](problem)


@contextmanager
def _hearing(callback: Callable[..., None]) -> Iterator[None]:
    _callbacks.append(callback)
    try:
        yield
    finally:
        _callbacks.pop()


def select_mutant(name: str) -> None:
    """Have the engine make a mistake on purpose from now on; "": none.

    ValueError: there is none of that name.
    """
    if not lib.lsm_test_select_mutant(name.encode()):
        raise ValueError(f"{name}: no mutant is called that")


@contextmanager
def mutated(name: str) -> Iterator[None]:
    """Have the engine make a mistake while a block runs, as `select_mutant` does."""
    select_mutant(name)
    try:
        yield
    finally:
        select_mutant("")


class Database(Handle):
    """A database on a simulated disk."""

    def __init__(
        self, disk: Disk, options: Mapping[str, int], path: bytes = b"db"
    ) -> None:
        """Open the one in a directory, creating it if it is not there."""
        super().__init__()
        given = ffi.new("lsmkv_options *")
        lib.lsmkv_options_init(given)
        for name, value in options.items():
            setattr(given, name, value)
        out = ffi.new("lsmkv_db **")
        self.check(lib.lsm_test_open(disk.env, path, given, out, self.err))
        self.db = out[0]

    # Writes.

    def put(self, key: bytes, value: bytes, how: How = PLAIN) -> bool:
        """Write one row; False: not since that snapshot."""
        keep: list[Any] = []
        given, key_in = how.write(keep), _bytes_in(key, keep)
        value_in = _bytes_in(value, keep)
        return self.check(lib.lsmkv_put(self.db, given, key_in, value_in, self.err))

    def delete(self, key: bytes, how: How = PLAIN) -> None:
        """Delete one row."""
        keep: list[Any] = []
        given, key_in = how.write(keep), _bytes_in(key, keep)
        self.check(lib.lsmkv_delete(self.db, given, key_in, self.err))

    def delete_range(self, bounds: Range, how: How = PLAIN) -> None:
        """Delete a range."""
        keep: list[Any] = []
        given, range_in = how.write(keep), _range_in(bounds, keep)
        self.check(lib.lsmkv_delete_range(self.db, given, range_in, self.err))

    def touch(self, key: bytes, how: How) -> bool:
        """Give a value new times; False: there is none."""
        keep: list[Any] = []
        given, key_in = how.write(keep), _bytes_in(key, keep)
        return self.check(lib.lsmkv_touch(self.db, given, key_in, self.err))

    def write(self, batch: Batch, how: How = PLAIN) -> None:
        """Write a batch."""
        keep: list[Any] = []
        given = how.write(keep)
        self.check(lib.lsmkv_write_batch(self.db, given, batch.batch, self.err))

    def drop(self, name: bytes) -> bool:
        """Drop a namespace; False: there is none."""
        keep: list[Any] = []
        name_in = _bytes_in(name, keep)
        return self.check(lib.lsmkv_namespace_drop(self.db, name_in, self.err))

    def switch(self, what: str, name: bytes, version: bytes) -> bool:
        """Run rollback or release; False: there is no such version."""
        keep: list[Any] = []
        names = _bytes_in(name, keep), _bytes_in(version, keep)
        return self.check(getattr(lib, f"lsmkv_{what}")(self.db, *names, self.err))

    # Reads.

    def get(self, key: bytes, at: At = HERE) -> bytes | None:
        """Read one row."""
        keep: list[Any] = []
        pin = ffi.new("lsmkv_pin *")
        read, key_in = at.read(keep), _bytes_in(key, keep)
        if not self.check(lib.lsmkv_get(self.db, read, key_in, pin, self.err)):
            return None
        value = _bytes_out(pin.value)
        lib.lsmkv_pin_release(pin)
        return value

    def get_view(self, key: bytes, at: At = HERE) -> bytes | None:
        """Read one row as a view."""
        keep: list[Any] = []
        view, value = ffi.new("lsmkv_view **"), ffi.new("lsmkv_bytes *")
        read, key_in = at.read(keep), _bytes_in(key, keep)
        if not self.check(
            lib.lsmkv_get_view(self.db, read, key_in, view, value, self.err)
        ):
            return None
        data = _bytes_out(value[0])
        lib.lsmkv_view_free(view[0])
        return data

    def get_many(self, keys: Sequence[bytes], at: At = HERE) -> list[bytes | None]:
        """Read rows in one consistent state."""
        keep: list[Any] = []
        lookups = ffi.new("lsmkv_lookup[]", max(len(keys), 1))
        for lookup, key in zip(lookups, keys, strict=False):
            lookup.key = _bytes_in(key, keep)
        pin = ffi.new("lsmkv_pin *")
        read = at.read(keep)
        self.check(lib.lsmkv_get_many(self.db, read, lookups, len(keys), pin, self.err))
        found = [
            _bytes_out(lookups[i].value) if lookups[i].found else None
            for i in range(len(keys))
        ]
        lib.lsmkv_pin_release(pin)
        return found

    def ttl_ms(self, key: bytes, at: At = HERE) -> int | None:
        """Return the time left to a value; -1: it never expires, None: no value."""
        keep: list[Any] = []
        left = ffi.new("int64_t *")
        read, key_in = at.read(keep), _bytes_in(key, keep)
        if not self.check(lib.lsmkv_ttl(self.db, read, key_in, left, self.err)):
            return None
        return int(left[0])

    def items(
        self, at: At = HERE, bounds: Range = (None, None), *, reverse: bool = False
    ) -> list[Row]:
        """Return the rows of a range in order, or the other way round."""
        cursor = Cursor(self, bounds, at)
        try:
            rows: list[Row] = []
            while chunk := cursor.fill(reverse=reverse):
                rows += chunk
            return rows
        finally:
            cursor.free()

    def readings(self, key: bytes, at: At = HERE) -> dict[str, bytes | None]:
        """Read one row in every way that there is."""
        before, behind = key[:-1], key + b"\0"
        around = self.items(at, (before, key + b"\xff"), reverse=True)
        ways = {
            "get": self.get(key, at),
            "view": self.get_view(key, at),
            "get_many": self.get_many([before, key, behind], at)[1],
            "scan": dict(self.items(at, (key, behind))).get(key),
            "scan around": dict(around).get(key),
        }
        cursor = Cursor(self, (None, None), at)
        try:
            for name, for_prev in (("seek", False), ("seek back", True)):
                cursor.seek(key, for_prev=for_prev)
                row = cursor.row()
                ways[name] = row[1] if row is not None and row[0] == key else None
        finally:
            cursor.free()
        return ways

    def count(self, at: At = HERE, bounds: Range = (None, None)) -> int:
        """Return about how many keys a range holds."""
        keep: list[Any] = []
        count = ffi.new("uint64_t *")
        read, range_in = at.read(keep), _range_in(bounds, keep)
        self.check(
            lib.lsmkv_approximate_count(self.db, read, range_in, count, self.err)
        )
        return int(count[0])

    def spaces(self, at: At = HERE) -> list[bytes]:
        """Return the names of the namespaces but the default one."""
        keep: list[Any] = []
        names: list[bytes] = []

        def hear(name: Any, options: Any) -> None:
            del options
            names.append(_bytes_out(name))

        with _hearing(hear):
            heard = lib.lsmkv_fuzz_on_space
            read = at.read(keep)
            self.check(
                lib.lsmkv_namespace_list(self.db, read, heard, ffi.NULL, self.err)
            )
        return names

    def versions(self, at: At = HERE) -> list[tuple[bytes, bytes, bool]]:
        """Return name, version and whether readers see it, of all that is published."""
        keep: list[Any] = []
        found: list[tuple[bytes, bytes, bool]] = []

        def hear(info: Any) -> None:
            names = _bytes_out(info.name), _bytes_out(info.version)
            found.append((*names, bool(info.current)))

        with _hearing(hear):
            heard = lib.lsmkv_fuzz_on_version
            read, every = at.read(keep), _bytes_in(b"", keep)
            self.check(
                lib.lsmkv_versions(self.db, read, every, heard, ffi.NULL, self.err)
            )
        return found

    def published(self, name: bytes, version: bytes, at: At = HERE) -> Space:
        """Return a handle for reading what was published."""
        keep: list[Any] = []
        snapshot = ffi.NULL if at.snapshot is None else at.snapshot.snapshot
        names = _bytes_in(name, keep), _bytes_in(version, keep)
        out = ffi.new("lsmkv_namespace **")
        if not self.check(
            lib.lsmkv_published_open(self.db, *names, snapshot, out, self.err)
        ):
            raise EngineError("NOT_FOUND", "there is no such version")
        space = Space.__new__(Space)
        Handle.__init__(space)
        space.space = out[0]
        return space

    # Maintenance.

    def maintain(self, what: str) -> None:
        """Run flush, sync, settle, resume or close."""
        self.check(getattr(lib, f"lsmkv_{what}")(self.db, self.err))

    def compact(self, bounds: Range = (None, None), space: Space | None = None) -> None:
        """Compact a range."""
        keep: list[Any] = []
        where = ffi.NULL if space is None else space.space
        range_in = _range_in(bounds, keep)
        self.check(lib.lsmkv_compact(self.db, where, range_in, self.err))

    def warm(self) -> None:
        """Read what was in memory at the last close."""
        report = ffi.new("lsmkv_warm_report *")
        self.check(lib.lsmkv_warm(self.db, ffi.NULL, report, self.err))

    def refresh(self) -> bool:
        """Have a follower show what was written by now; True: that is new."""
        changed = ffi.new("bool *")
        self.check(lib.lsmkv_refresh(self.db, changed, self.err))
        return bool(changed[0])

    def checkpoint(self, path: bytes) -> None:
        """Make another directory a database with the state of this moment."""
        self.check(lib.lsmkv_checkpoint(self.db, path, self.err))

    def step(self, count: int) -> int:
        """Run background work; returns how much there was."""
        return int(lib.lsm_test_step(self.db, count))

    def follow_clock(self) -> None:
        """Have engine time follow the wall clock, as writes do."""
        lib.lsm_test_follow_clock(self.db)

    def problems(self) -> list[str]:
        """Verify everything and return what was found."""
        found: list[str] = []

        def hear(problem: Any) -> None:
            found.append(ffi.string(problem.message).decode(errors="replace"))

        report = ffi.new("lsmkv_report *")
        with _hearing(hear):
            heard = lib.lsmkv_fuzz_on_problem
            self.check(lib.lsmkv_verify(self.db, heard, ffi.NULL, report, self.err))
        return found

    def stray_file(self) -> str | None:
        """Return the name of a file too many or too few."""
        name = ffi.new(f"char[{lib.LSM_NAME_SIZE_MAX}]")
        if lib.lsm_test_files_match(self.db, name):
            return None
        return str(ffi.string(name).decode())

    def state(self) -> str:
        """Return one of STATES."""
        stats = ffi.new("lsmkv_stats *")
        self.check(lib.lsmkv_get_stats(self.db, stats, self.err))
        return STATES[int(stats.state)]

    def level_tables(self) -> list[int]:
        """Return how many tables each level has."""
        stats = ffi.new("lsmkv_stats *")
        self.check(lib.lsmkv_get_stats(self.db, stats, self.err))
        return [int(level.table_count) for level in stats.levels]

    def is_closed(self) -> bool:
        """Return whether close was called."""
        return bool(lib.lsmkv_is_closed(self.db))

    def free(self) -> None:
        """Drop the handle, closing it if need be."""
        lib.lsmkv_free(self.db)

    def abandon(self) -> None:
        """Drop the handle as a crash would."""
        lib.lsm_test_abandon(self.db)


def repair(disk: Disk, path: bytes, into: bytes) -> list[str]:
    """Make `into` a database of what can be read in `path`; returns what was lost."""
    found: list[str] = []
    request = ffi.new("lsm_test_repair_request *")
    paths = ffi.new("char[]", path), ffi.new("char[]", into)
    request.path, request.into = paths
    request.on_problem = lib.lsmkv_fuzz_on_problem
    report, handle = ffi.new("lsmkv_report *"), Handle()
    with _hearing(lambda problem: found.append(ffi.string(problem.message).decode())):
        handle.check(lib.lsm_test_repair(disk.env, request, report, handle.err))
    return found

# SPDX-License-Identifier: Apache-2.0
"""The database, its snapshots and its batches, on top of the handles of `_core`."""

from __future__ import annotations

import dataclasses
import os
import warnings
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Self, Unpack

from lsmkv import _base, _batch, _core, _scan, _zstd
from lsmkv.errors import InvalidArgumentError
from lsmkv.mapping import KeyspaceMapping
from lsmkv.options import Options, Overrides
from lsmkv.stats import LevelStats, Memory, Problem, Report, State, Stats

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from types import TracebackType

    from typing_extensions import Buffer

_STATES: tuple[State, ...] = ("open", "degraded", "poisoned", "closed", "read-only")

Mode = Literal["rw", "r"]


class DB(_core.DB):
    """An ordered map of bytes to bytes in a directory, made by `lsmkv.open`.

    Keys are ordered as unsigned bytes. Every method may be called from any thread.
    Use it as a context manager, or call `close()`.
    """

    __slots__ = ("__weakref__", "_absolute", "_pid")

    _absolute: str  # the path, wherever the process goes
    _pid: int

    def __new__(
        cls,
        path: str | bytes | os.PathLike[str] | os.PathLike[bytes],
        *,
        mode: Mode = "rw",
        create: bool = True,
        error_if_exists: bool = False,
        options: Options | None = None,
        **overrides: Unpack[Overrides],
    ) -> Self:
        """Open the database in `path`; see `lsmkv.open`."""
        if mode not in ("rw", "r"):
            raise InvalidArgumentError(f'mode is {mode!r}: must be "rw" or "r"')
        chosen = dataclasses.replace(options or Options(), **overrides)
        name = os.fsencode(path)
        if not name or b"\0" in name:
            raise InvalidArgumentError(f"{path!r} cannot be the name of a directory")
        _zstd.register()
        self = super().__new__(
            cls,
            os.fsdecode(path),
            name,
            {
                **chosen.to_engine(),
                "create_if_missing": create,
                "error_if_exists": error_if_exists,
                "read_only": mode == "r",
            },
        )
        self._absolute = os.path.abspath(self.path)  # noqa: PTH100
        self._pid = os.getpid()
        return self

    def __enter__(self) -> Self:
        """Return the database itself."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the database."""
        self.close()

    def __del__(self, _warn: Any = warnings.warn, _getpid: Any = os.getpid) -> None:
        """Warn if the database was not closed; dropping the handle then closes it."""
        if not self.closed and self._pid == _getpid():
            _warn(f"unclosed database {self!r}", ResourceWarning, source=self)

    def __repr__(self) -> str:
        """Tell the directory and whether it is open."""
        return f"<lsmkv.DB {self.path!r}{' closed' if self.closed else ''}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as a read-only opening of the directory, whatever `mode` was.

        So a database can be handed to worker processes: each opens, when it unpickles
        it, the state of that moment, and has to open it again to see later writes.
        """
        return _reopen, (self._absolute,)

    def __copy__(self) -> NoReturn:
        """Refuse: one handle writes to a directory, and it may be shared instead."""
        raise TypeError("a database cannot be copied; share it, or open it again")

    def __deepcopy__(self, memo: object) -> NoReturn:
        """Refuse, as `copy.copy` is."""
        self.__copy__()

    def __iter__(self) -> _scan.KeyScan:
        """Iterate over all keys in order, as they are now."""
        return self.keys()

    def items(
        self,
        *,
        start: Buffer | None = None,
        stop: Buffer | None = None,
        prefix: Buffer | None = None,
        reverse: bool = False,
        snapshot: Snapshot | None = None,
    ) -> _scan.ItemScan:
        """Iterate lazily over (key, value) pairs in key order.

        Shows the state of the moment of this call, or that of `snapshot`, whatever is
        written while iterating.

        Args:
            start: First key, inclusive; None is the first of all.
            stop: End, exclusive; None is behind the last of all.
            prefix: Only keys that begin with this; may be combined with the bounds.
            reverse: From the last key to the first.
            snapshot: The state to show.
        """
        if prefix is not None:
            start, stop = _bounds(start, stop, prefix)
        return _scan.ItemScan(self, start, stop, reverse, snapshot)

    def keys(
        self,
        *,
        start: Buffer | None = None,
        stop: Buffer | None = None,
        prefix: Buffer | None = None,
        reverse: bool = False,
        snapshot: Snapshot | None = None,
    ) -> _scan.KeyScan:
        """Iterate lazily over keys in order; arguments as for `items`."""
        if prefix is not None:
            start, stop = _bounds(start, stop, prefix)
        return _scan.KeyScan(self, start, stop, reverse, snapshot)

    def values(
        self,
        *,
        start: Buffer | None = None,
        stop: Buffer | None = None,
        prefix: Buffer | None = None,
        reverse: bool = False,
        snapshot: Snapshot | None = None,
    ) -> _scan.ValueScan:
        """Iterate lazily over values in key order; arguments as for `items`."""
        if prefix is not None:
            start, stop = _bounds(start, stop, prefix)
        return _scan.ValueScan(self, start, stop, reverse, snapshot)

    def write_batch(self, *, sync: bool | None = None) -> WriteBatch:
        """Return a batch to be used in a `with` block.

        It is written, atomically, when the block ends, and discarded if the block
        raises. `sync` as for `put`.
        """
        return WriteBatch(self, sync=sync)

    def snapshot(self) -> Snapshot:
        """Return a view of the state of this moment; close it when done."""
        return Snapshot(self)

    def verify(self) -> Report:
        """Read and check every byte of every live file.

        Damage does not raise: it is in the report. Takes as long as reading it all.
        """
        counts, problems = self._verify()
        return Report(
            problems=tuple(
                Problem(file, offset if offset >= 0 else None, message)
                for file, offset, message in problems
            ),
            **counts,
        )

    def stats(self) -> Stats:
        """Return the counters of the engine at this moment; cheap."""
        counters = self._stats()
        levels = tuple(LevelStats(**level) for level in counters.pop("levels"))
        state = _STATES[counters.pop("state")]
        return Stats(levels=levels, state=state, zstd=_zstd.register(), **counters)

    def memory(self) -> Memory:
        """Return what the engine keeps in memory at this moment; cheap."""
        return Memory(**self._memory())

    @property
    def options(self) -> Options:
        """The options in force, every field resolved."""
        return Options.from_engine(self._options())

    def mapping(self) -> MutableMapping[bytes, bytes]:
        """Return all of it as a MutableMapping, for code that expects one.

        Each of its methods does what `collections.abc` says, one key at a time: `len()`
        and comparisons read every key, and `pop`, `popitem`, `setdefault` and `update`
        are several calls, between which other threads may write.
        """
        return KeyspaceMapping(self)


class Snapshot(_core.Snapshot):
    """A fixed state of a database, made by `DB.snapshot`.

    While it is open, the space of what has since been overwritten or deleted is not
    given back. Use it as a context manager, or call `close()`.
    """

    __slots__ = ()

    def __enter__(self) -> Self:
        """Return the snapshot itself."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let go of the state."""
        self.close()

    def __iter__(self) -> _scan.KeyScan:
        """Iterate over all keys in order."""
        return self.keys()

    def items(
        self,
        *,
        start: Buffer | None = None,
        stop: Buffer | None = None,
        prefix: Buffer | None = None,
        reverse: bool = False,
    ) -> _scan.ItemScan:
        """Iterate lazily over (key, value) pairs; arguments as for `DB.items`."""
        if prefix is not None:
            start, stop = _bounds(start, stop, prefix)
        return _scan.ItemScan(self.db, start, stop, reverse, self)

    def keys(
        self,
        *,
        start: Buffer | None = None,
        stop: Buffer | None = None,
        prefix: Buffer | None = None,
        reverse: bool = False,
    ) -> _scan.KeyScan:
        """Iterate lazily over keys in order; arguments as for `DB.items`."""
        if prefix is not None:
            start, stop = _bounds(start, stop, prefix)
        return _scan.KeyScan(self.db, start, stop, reverse, self)

    def values(
        self,
        *,
        start: Buffer | None = None,
        stop: Buffer | None = None,
        prefix: Buffer | None = None,
        reverse: bool = False,
    ) -> _scan.ValueScan:
        """Iterate lazily over values in key order; arguments as for `DB.items`."""
        if prefix is not None:
            start, stop = _bounds(start, stop, prefix)
        return _scan.ValueScan(self.db, start, stop, reverse, self)


class WriteBatch(_batch.Batch):
    """Writes that are applied together or not at all; later ones win.

    `DB.write_batch` makes one that is written at the end of its `with` block. One made
    directly belongs to no database and is written by `DB.write`, as often as you like.
    Keys and values are copied as they are added.
    """

    __slots__ = ("_db", "_sync")

    def __init__(self, db: DB | None = None, *, sync: bool | None = None) -> None:
        """Make an empty batch, for the `with` block of `db` if that is given."""
        self._db = db
        self._sync = sync

    def __enter__(self) -> Self:
        """Return the batch itself."""
        if self._db is None:
            raise InvalidArgumentError(
                "this batch belongs to no database: use db.write_batch(), or db.write"
            )
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Write the batch, or discard it if the block raised; empty it."""
        if exc_type is None and self._db is not None:
            self._db.write(self, sync=self._sync)
        self.clear()


def open(
    path: str | bytes | os.PathLike[str] | os.PathLike[bytes],
    *,
    mode: Mode = "rw",
    create: bool = True,
    error_if_exists: bool = False,
    options: Options | None = None,
    **overrides: Unpack[Overrides],
) -> DB:
    """Open the database in directory `path`, for reading and writing.

    Args:
        path: The directory. One process at a time may have it open for writing.
        mode: "rw", or "r" to read the state of this moment, which stays as it is: that
            changes nothing in the directory, takes no lock and needs no permission to
            write, so it may be done by any number of processes beside the one that
            writes. Writes raise ReadOnlyError. A read raises ChangedError if the writer
            has deleted a table that was not open; see `max_open_files`.
        create: Make the directory and the database if there is none; otherwise
            NotADatabaseError.
        error_if_exists: Raise InvalidArgumentError if there is a database.
        options: See `Options`; every field that is None is as the database remembers
            it, else the default.
        **overrides: Fields of `Options` by name, which win over `options`.

    Raises:
        LockedError: It is open already; `.pid` tells where.
        CorruptionError: Its files are damaged.
        StorageError: The operating system refused.

    A failing open changes nothing in the directory.
    """
    return DB(
        path,
        mode=mode,
        create=create,
        error_if_exists=error_if_exists,
        options=options,
        **overrides,
    )


def _reopen(path: str) -> DB:
    """Make of a pickled database one to read."""
    return DB(path, mode="r")


def _bounds(
    start: Buffer | None, stop: Buffer | None, prefix: Buffer
) -> tuple[bytes, bytes | None]:
    """Narrow start and stop to the keys that begin with the prefix."""
    first = _base.to_bytes(prefix)
    stem = first.rstrip(b"\xff")
    end = stem[:-1] + bytes([stem[-1] + 1]) if stem else None
    if start is not None:
        first = max(first, _base.to_bytes(start))
    if stop is not None:
        limit = _base.to_bytes(stop)
        end = limit if end is None else min(end, limit)
    return first, end

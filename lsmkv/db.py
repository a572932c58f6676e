# SPDX-License-Identifier: Apache-2.0
"""The database: opening it, and what is done with it as a whole."""

from __future__ import annotations

import dataclasses
import os
import warnings
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Self, Unpack, overload

from lsmkv import _core, _namespace, _publish, _zstd
from lsmkv import warm as warm_
from lsmkv.closing import Closing
from lsmkv.errors import InvalidArgumentError
from lsmkv.keyspace import Keyspace
from lsmkv.lists import Locks
from lsmkv.namespace import Namespace
from lsmkv.options import NamespaceOptions, NamespaceOverrides, Options, Overrides
from lsmkv.publish import Published, Publisher, VectorPublisher, Version, versions_of
from lsmkv.snapshot import Snapshot
from lsmkv.stats import (
    Memory,
    Problem,
    Report,
    Stats,
    TableInfo,
    stats_of,
    tables_of,
)
from lsmkv.vector_reader import VectorSchema
from lsmkv.vectors import Vectors

if TYPE_CHECKING:
    from lsmkv.arrays import DType
    from lsmkv.flights import Flights
    from lsmkv.vector_reader import Metric

_POLL_MAX = 86400

Mode = Literal["rw", "r", "follower"]
Path = str | bytes | os.PathLike[str] | os.PathLike[bytes]


class DB(_core.DB, Keyspace, Closing):
    """An ordered map of bytes to bytes in a directory, made by `lsmkv.open`.

    Keys are ordered as unsigned bytes. Every method may be called from any thread.
    Use it as a context manager, or call `close()`.
    """

    __slots__ = (
        "__weakref__",
        "_absolute",
        "_flights",
        "_list_locks",
        "_pid",
        "_poll",
        "_reopens",
        "_trusted",
    )

    _absolute: str  # the path, wherever the process goes
    _flights: Flights | None  # made when it is first asked to compute a value
    _list_locks: Locks
    _pid: int
    _poll: float | None
    _reopens: Mode  # as what a pickle of it is opened
    _trusted: bool

    def __new__(
        cls,
        path: Path,
        *,
        mode: Mode = "rw",
        poll: float | None = None,
        create: bool = True,
        error_if_exists: bool = False,
        warm: bool | int = False,
        trusted: bool = True,
        options: Options | None = None,
        **overrides: Unpack[Overrides],
    ) -> Self:
        """Open the database in `path`; see `lsmkv.open`."""
        if mode not in ("rw", "r", "follower"):
            raise InvalidArgumentError(
                f'mode is {mode!r}: must be "rw", "r" or "follower"'
            )
        chosen = dataclasses.replace(options or Options(), **overrides)
        name = name_of(path)
        absolute = os.path.abspath(os.fsdecode(path))  # noqa: PTH100
        pid, locks = os.getpid(), Locks()
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
                "follower": mode == "follower",
                "untrusted": not trusted,
                "follow_interval_ms": _interval_ms(mode, poll),
                "warm_bytes": warm_.to_engine(warm),
            },
        )
        # Nothing from here on fails: a handle that is dropped looks at these.
        self._absolute = absolute
        self._pid = pid
        self._flights = None
        self._list_locks = locks
        self._poll = poll
        self._reopens = "follower" if mode == "follower" else "r"
        self._trusted = trusted
        return self

    def __del__(self, _warn: Any = warnings.warn, _getpid: Any = os.getpid) -> None:
        """Warn if the database was not closed; dropping the handle then closes it."""
        if not self.closed and self._pid == _getpid():
            _warn(f"unclosed database {self!r}", ResourceWarning, source=self)

    def __repr__(self) -> str:
        """Tell the directory and whether it is open."""
        return f"<lsmkv.DB {self.path!r}{' closed' if self.closed else ''}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as a read-only opening of the directory, or a follower as a follower.

        So a database can be handed to worker processes: each opens, when it unpickles
        it, the state of that moment. To see later writes it has to open it again, or,
        a follower, to `refresh()`.
        """
        how = (self._absolute, self._reopens, self._poll, self._trusted)
        return _reopen, how

    def __copy__(self) -> NoReturn:
        """Refuse: one handle writes to a directory, and it may be shared instead."""
        raise TypeError("a database cannot be copied; share it, or open it again")

    def __deepcopy__(self, memo: object) -> NoReturn:
        """Refuse, as `copy.copy` is."""
        self.__copy__()

    def namespace(
        self,
        name: str,
        *,
        create: bool = True,
        alter: bool = False,
        **options: Unpack[NamespaceOverrides],
    ) -> Namespace:
        """Return the namespace of that name: a keyspace of its own in this database.

        Namespaces cost next to nothing; ten thousand are fine. One batch may write to
        several: see `WriteBatch.put`.

        Args:
            name: 1 to 255 bytes of UTF-8.
            create: Make it if there is none; otherwise KeyError.
            alter: Give one that exists the options below. They hold for what is written
                from then on.
            **options: Fields of `NamespaceOptions` by name, which are remembered; they
                need not be repeated.

        Raises:
            InvalidArgumentError: It exists and has other options than those given.
        """
        return Namespace(self, name, create=create, alter=alter, **options)

    def vectors(
        self,
        name: str,
        *,
        dim: int | None = None,
        dtype: DType | None = None,
        metric: Metric | None = None,
        create: bool = True,
        alter: bool = False,
        **options: Unpack[NamespaceOverrides],
    ) -> Vectors:
        """Return a namespace of rows of numbers, which are written and read as arrays.

        What the rows are is fixed when it is made; opening it again needs the name
        alone.

        Args:
            name: As for `namespace`, with which it shares its names.
            dim: Numbers in a row; needed to make it.
            dtype: "float32", "float16", "bfloat16" or "int8". Default "float32".
            metric: "cosine", "dot" or "l2", for who searches. Default "cosine".
            create: As for `namespace`.
            alter: As for `namespace`; it does not alter what the rows are.
            **options: As for `namespace`.

        Raises:
            InvalidArgumentError: It exists and is another, or holds no vectors.
        """
        schema = {"dim": dim, "dtype": dtype, "metric": metric}
        how = {"create": int(create), "alter": int(alter)}
        return Vectors._open(self, name, schema, how, options)

    def namespaces(self) -> dict[str, NamespaceOptions]:
        """Return the names of all namespaces, in their order, and their options."""
        found = _namespace.names(self, None)
        return {
            name: NamespaceOptions.from_engine(values) for name, values in found.items()
        }

    def drop_namespace(self, name: str) -> bool:
        """Delete a namespace with all it holds; False if there is none of that name.

        That is one small write. Snapshots taken before still show it; its handles raise
        InvalidArgumentError. A new one of the same name starts out empty.
        """
        return _namespace.drop(self, name)

    @overload
    def publish(
        self,
        name: str,
        *,
        version: str,
        dim: None = None,
        **options: Unpack[NamespaceOverrides],
    ) -> Publisher: ...
    @overload
    def publish(
        self,
        name: str,
        *,
        version: str,
        dim: int,
        dtype: DType | None = None,
        metric: Metric | None = None,
        **options: Unpack[NamespaceOverrides],
    ) -> VectorPublisher: ...
    def publish(
        self,
        name: str,
        *,
        version: str,
        dim: int | None = None,
        dtype: DType | None = None,
        metric: Metric | None = None,
        **options: Unpack[NamespaceOverrides],
    ) -> Publisher | VectorPublisher:
        """Begin a version of a named, read-only set of rows, for a `with` block.

        The block adds rows with `put` and `put_many`, which are written straight into
        tables, without the log; when it ends, the version is durable and readers switch
        to it at once. If it raises, or the process ends, nothing of it stays.

        With `dim` the rows are vectors: they are put as arrays, as those of `vectors`,
        and read as arrays through `published(name).vectors()`.

        Gathers up to `memtable_bytes` of rows in memory (64 MiB at most), on top of
        `memory_bytes`. Rows in the order of their keys are written once.

        Args:
            name: 1 to 255 bytes of UTF-8; it has nothing to do with namespaces.
            version: The same, without a slash.
            dim: Numbers in a row of vectors; None: rows are bytes.
            dtype: Of vectors: "float32", "float16", "bfloat16" or "int8". Default
                "float32".
            metric: Of vectors: "cosine", "dot" or "l2", for who searches. Default
                "cosine".
            **options: Fields of `NamespaceOptions` by name, for this version.

        Raises:
            InvalidArgumentError: There is this version already, or another one of the
                name is being written.
        """
        if dim is None:
            if dtype is not None or metric is not None:
                raise TypeError("dtype and metric are of vectors: dim is needed, too")
            return Publisher(self, name, version=version, **options)
        schema = VectorSchema._made(dim, dtype, metric)
        return VectorPublisher(self, name, version=version, schema=schema, **options)

    def published(self, name: str, *, version: str | None = None) -> Published:
        """Return what was published under a name, for reading.

        Without `version` it shows the current one, and from a switch on the next one.
        KeyError if there is no such name or version.
        """
        return Published(self, name, version=version)

    def versions(self, name: str | None = None) -> list[Version]:
        """Return the versions of a published name in their order; None: of all names.

        They stay until they are released.
        """
        return versions_of(self, name)

    def rollback(self, name: str, version: str) -> None:
        """Make readers see this version of a name, durably; KeyError if there is none.

        It may as well be a later one than that which they see now.
        """
        if not _publish.rollback(self, name, version):
            raise KeyError((name, version))

    def release(self, name: str, version: str | None = None) -> bool:
        """Let go of a version, or without one of a name; False if there is none.

        That is one small write a version; compactions give the space back. Snapshots
        taken before still show it; handles raise InvalidArgumentError.

        Raises:
            InvalidArgumentError: Readers see this version.
        """
        if version == "":
            raise InvalidArgumentError("a version has a name; None releases all")
        return _publish.release(self, name, version)

    def snapshot(self) -> Snapshot:
        """Return a view of the state of this moment; close it when done."""
        return Snapshot(self)

    def checkpoint(self, path: Path) -> None:
        """Make `path`, absent or empty, a database with the state of this moment.

        It is a database of its own: neither sees what is done to the other from then
        on. Where the file system has hard links the files are shared, so this costs no
        more than `flush()`, and no space until the files here are compacted away.

        A `path` that a failure has left half done is no database.
        """
        self._checkpoint(name_of(path))

    def verify(self) -> Report:
        """Read and check every byte of every live file.

        Damage does not raise: it is in the report. Takes as long as reading it all.
        """
        return report_of(*self._verify())

    def stats(self) -> Stats:
        """Return what the engine has counted up to this moment.

        Takes less than a millisecond, and some microseconds for each namespace, reading
        nothing from the disk. What it tells is explained in `Stats`;
        `stats().prometheus()` is the text for a scrape.
        """
        return stats_of(self)

    def tables(self) -> list[TableInfo]:
        """Return the live tables, from the newest of level 0 to the last level.

        From memory, without reading anything; in the order in which a lookup asks them.
        """
        return tables_of(self)

    def memory(self) -> Memory:
        """Return what the engine keeps in memory at this moment; cheap."""
        return Memory(**self._memory())

    @property
    def options(self) -> Options:
        """The options in force, every field resolved."""
        return Options.from_engine(self._options())


def open(
    path: Path,
    *,
    mode: Mode = "rw",
    poll: float | None = None,
    create: bool = True,
    error_if_exists: bool = False,
    warm: bool | int = False,
    trusted: bool = True,
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
            has deleted a table that was not open; see `max_open_files`. "follower" is
            the same, until `refresh()` moves it on to the state of that moment.
        poll: Seconds after which a follower refreshes by itself, again and again; None:
            it does not. What fails is tried again, after ever longer pauses of up to a
            minute; `stats().follower` tells what it was, `refresh()` raises it.
        create: Make the directory and the database if there is none; otherwise
            NotADatabaseError.
        error_if_exists: Raise InvalidArgumentError if there is a database.
        warm: Bring back into memory what was there when the database was last open, as
            `DB.warm` does, in the background: True within its default budget, a number
            within so many bytes. `stats()` tells how far it is; close() ends it.
        trusted: False for a directory that comes from somebody else, with mode="r":
            whatever it holds, opening and reading it does not crash, takes no more than
            `memory_bytes` of memory (256 MiB by default, at least 1 MiB) and touches
            nothing else. What asks for more of anything raises LimitError. See
            docs/SECURITY.md for what is promised, and docs/tuning.md for the limits.
        options: See `Options`; every field that is None is as the database remembers
            it, else the default.
        **overrides: Fields of `Options` by name, which win over `options`.

    Raises:
        LockedError: It is open already; `.pid` tells where.
        CorruptionError: Its files are damaged.
        LimitError: With trusted=False, it goes beyond a limit, which is named.
        StorageError: The operating system refused.

    A failing open changes nothing in the directory.
    """
    return DB(
        path,
        mode=mode,
        poll=poll,
        create=create,
        error_if_exists=error_if_exists,
        warm=warm,
        trusted=trusted,
        options=options,
        **overrides,
    )


def report_of(counts: dict[str, int], problems: list[tuple[str, int, str]]) -> Report:
    """Make a report of what the engine counted and found."""
    return Report(
        problems=tuple(
            Problem(file, offset if offset >= 0 else None, message)
            for file, offset, message in problems
        ),
        **counts,
    )


def name_of(path: Path) -> bytes:
    """Return the path as the operating system takes it."""
    name = os.fsencode(path)
    if not name or b"\0" in name:
        raise InvalidArgumentError(f"{path!r} cannot be the name of a directory")
    return name


def _interval_ms(mode: Mode, poll: float | None) -> int:
    """Check `poll` and return it as the engine takes it."""
    if poll is None:
        return 0
    if mode != "follower":
        raise InvalidArgumentError('only mode="follower" polls')
    if not 0.001 <= poll <= _POLL_MAX:
        raise InvalidArgumentError(
            f"poll is {poll!r}: must be between 0.001 and {_POLL_MAX} seconds"
        )
    return round(poll * 1000)


def _reopen(
    path: str, mode: Mode = "r", poll: float | None = None, trusted: bool = True
) -> DB:
    """Make of a pickled database one to read."""
    return DB(path, mode=mode, poll=poll, trusted=trusted)

# SPDX-License-Identifier: Apache-2.0
"""The exceptions of lsmkv.

Every error of the engine is an `Error`. A missing key is no error: `get` answers its
default, and only `db[key]`, `del db[key]` and `ttl` raise KeyError. Running out of
memory is the built-in MemoryError, an argument of the wrong type TypeError.
"""

from __future__ import annotations

import os


class Error(Exception):
    """The base of every lsmkv exception."""


class CorruptionError(Error):
    """Stored bytes are not what was written: a checksum, length or order is wrong.

    Attributes:
        path: The damaged file; the database's directory where no one file is to blame.
        offset: Where in that file, in bytes, or None where no position applies.
    """

    def __init__(
        self, message: str = "", path: str | None = None, offset: int | None = None
    ) -> None:
        """Keep path and offset beside the message."""
        super().__init__(message)
        self.path = path
        self.offset = offset


class StorageError(Error, OSError):
    """The operating system refused to read or write; see `errno` and `filename`."""


class DiskFullError(StorageError):
    """There is no space left on the device, or a quota is used up.

    Reads go on. Writing works again, without reopening, once there is space.
    """


class ClosedError(Error):
    """The database, snapshot or iterator was closed before this call."""


class LockedError(Error):
    """The directory is open already, in this process or another.

    Attributes:
        pid: The process that holds it, or None where that is not known.
    """

    def __init__(self, message: str = "", pid: int | None = None) -> None:
        """Keep the holder's pid beside the message."""
        super().__init__(message)
        self.pid = pid


class ForkedError(Error):
    """The database was opened before fork(): only the parent may go on using it.

    Open it in the child once the parent has closed it, or use one process for all
    access to it.
    """


class ReadOnlyError(Error):
    """The database accepts no writes."""


class ChangedError(Error):
    """A read-only database outlived the files that it shows.

    The process that writes to it has replaced a file before it could be opened here.
    Nothing is damaged: open the database again, or refresh() a follower, to see its
    present state.
    """


class InvalidArgumentError(Error, ValueError):
    """An argument or option is out of its range."""


class LimitError(Error):
    """A limit was exceeded: the size of a key, a value or a batch."""


class UnsupportedVersionError(Error):
    """The files need a newer lsmkv, or a codec that is not installed."""


class NotADatabaseError(Error):
    """The directory holds no lsmkv database."""


class DeadlockError(Error, RuntimeError):
    """A value is computed from itself: waiting for it would never end.

    The function that computes the value of a key asked for the same key, or for one
    whose computation waits for it.
    """


BY_STATUS: dict[str, type[Exception]] = {
    "CORRUPTION": CorruptionError,
    "IO_ERROR": StorageError,
    "DISK_FULL": DiskFullError,
    "CLOSED": ClosedError,
    "LOCKED": LockedError,
    "FORKED": ForkedError,
    "READ_ONLY": ReadOnlyError,
    "INVALID_ARGUMENT": InvalidArgumentError,
    "LIMIT_EXCEEDED": LimitError,
    "UNSUPPORTED_VERSION": UnsupportedVersionError,
    "NOT_A_DATABASE": NotADatabaseError,
    "NO_MEMORY": MemoryError,
    "CHANGED": ChangedError,
}


# What is wrong is on the disk, so the message says where.
_NAMING_FILES = (
    CorruptionError,
    LockedError,
    ChangedError,
    UnsupportedVersionError,
    NotADatabaseError,
)


def from_status(
    status: str,
    message: str,
    *,
    directory: str,
    file: str = "",
    offset: int = -1,
    os_errno: int = 0,
    pid: int = 0,
) -> Exception:
    """Build the exception for a status of the C interface, given by its name."""
    path = os.path.join(directory, file) if file else directory  # noqa: PTH118
    kind = BY_STATUS.get(status, Error)
    if issubclass(kind, _NAMING_FILES) and directory not in message:
        names_file = file and message.startswith(file)
        message = path + message[len(file) :] if names_file else f"{path}: {message}"
    if issubclass(kind, CorruptionError):
        return kind(message, path, offset if offset >= 0 else None)
    if issubclass(kind, LockedError):
        return kind(message, pid or None)
    if issubclass(kind, StorageError):
        return kind(os_errno, message, path) if os_errno else kind(message)
    return kind(message)

# SPDX-License-Identifier: Apache-2.0
"""Exit statuses, and what every error means for them and for the user."""

from __future__ import annotations

import enum
import shlex

import lsmkv


class Status(enum.IntEnum):
    """With what a command ends."""

    OK = 0
    NO = 1  # not found, damaged, or a check that failed
    USAGE = 2  # wrong arguments
    LOCKED = 3  # somebody else has the database open
    UNUSABLE = 4  # no database, or of a later version, or it does not allow that
    SYSTEM = 5  # the operating system refused: disk full, permissions, I/O
    INTERRUPTED = 130  # Ctrl-C
    PIPE = 141  # whoever read the output has gone


_BY_ERROR: tuple[tuple[type[Exception], Status], ...] = (
    (lsmkv.CorruptionError, Status.NO),
    (lsmkv.InvalidArgumentError, Status.USAGE),
    (lsmkv.LimitError, Status.USAGE),
    (lsmkv.LockedError, Status.LOCKED),
    (lsmkv.NotADatabaseError, Status.UNUSABLE),
    (lsmkv.UnsupportedVersionError, Status.UNUSABLE),
    (lsmkv.ReadOnlyError, Status.UNUSABLE),
    (OSError, Status.SYSTEM),
    (MemoryError, Status.SYSTEM),
)


def status_of(error: BaseException) -> Status:
    """Return the exit status for an error."""
    if isinstance(error, KeyboardInterrupt):
        return Status.INTERRUPTED
    found = getattr(error, "status", None)
    if isinstance(found, Status):
        return found
    for kind, status in _BY_ERROR:
        if isinstance(error, kind):
            return status
    return Status.NO


def explain(error: BaseException, directory: object = None) -> str:
    """Write what is wrong, where, and what to do next."""
    text = str(error) or type(error).__name__
    where = shlex.quote(str(directory)) if directory is not None else "DIR"
    if isinstance(error, lsmkv.CorruptionError):
        return (
            f"{text}\nSee what is damaged: lsmkv doctor {where}\n"
            f"Save what can be read: lsmkv repair {where} INTO"
        )
    if isinstance(error, lsmkv.NotADatabaseError):
        return f"{text}\nSee what is there: lsmkv doctor {where}"
    if isinstance(error, lsmkv.LockedError):
        return f"{text}\nReading works beside it; to write, close it there first."
    if isinstance(error, lsmkv.ChangedError):
        return f"{text}\nThe process that writes has moved on: try again."
    if isinstance(error, MemoryError):
        return "there is not enough memory"
    if isinstance(error, OSError) and directory is not None:
        return f"{text}\nSee what else is wrong: lsmkv doctor {where}"
    return text

# SPDX-License-Identifier: Apache-2.0
"""Who has a database open for writing, as its file LOCK tells without taking it."""

from __future__ import annotations

import dataclasses
import fcntl
import os
import re
import struct
from pathlib import Path

_HOLDER = re.compile(rb"pid=(\d{1,19}) start=(\d{1,19})\n")
_HOLDER_SIZE_MAX = 64


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """What there is to know.

    Attributes:
        pid: The process that had it open last; 0 if it does not say.
        start: When that started, in ticks of the system's clock; 0: unknown.
        held: Whether it has it still; None where the system does not tell.
    """

    pid: int
    start: int
    held: bool | None


def look(directory: str | os.PathLike[str]) -> Lock | None:
    """Look at the lock; None if nobody ever opened it. OSError: it cannot be read."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(Path(directory) / "LOCK", flags)
    except FileNotFoundError:
        return None
    try:
        match = _HOLDER.fullmatch(os.read(descriptor, _HOLDER_SIZE_MAX))
        held = _is_locked(descriptor)
    finally:
        os.close(descriptor)
    pid, start = (int(match[1]), int(match[2])) if match else (0, 0)
    return Lock(pid=pid, start=start, held=held)


def _is_locked(descriptor: int) -> bool | None:
    """Ask for the lock of somebody else on a file; None where that cannot be told."""
    command = getattr(fcntl, "F_OFD_GETLK", None)
    if command is None or struct.calcsize("P") != 8:
        return None
    layout = struct.Struct("hhqqi4x")  # of struct flock
    wanted = layout.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    try:
        answer = fcntl.fcntl(descriptor, command, wanted)
    except OSError:
        return None
    return bool(layout.unpack(answer)[0] != fcntl.F_UNLCK)

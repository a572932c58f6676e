# SPDX-License-Identifier: Apache-2.0
"""A process that writes until it is killed, and the proof that nothing got lost.

Writes are numbered from 1 and each is a function of its number: it sets or deletes the
row `number % SLOTS` and, in the same batch, sets the head to the number. So the rows
that must be there follow from the head alone, whatever happened before, and whatever
run of the demo wrote them; they have a namespace of their own. When a write has
returned, the child sends its number down a pipe: it is acknowledged. Its death closes
the pipe; and when the demo itself is killed, the pipe breaks, which ends the child.
"""

from __future__ import annotations

import dataclasses
import os
import random
import select
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import lsmkv
from lsmkv.cli.command import CommandError
from lsmkv.keyspace import Keyspace

NAMESPACE = "writes"
HEAD = b"head"
SLOTS = 1000
VALUE_BYTES_MAX = 8192
DELETE_EVERY = 7

# Small, so that the child is also killed in the middle of flushes and compactions.
MEMTABLE_BYTES = 2 << 20

RUN_SECONDS_MAX = 0.6
START_SECONDS_MAX = 20.0

_NUMBER = struct.Struct("<Q")


@dataclasses.dataclass(frozen=True, slots=True)
class Kill:
    """One child that was killed.

    Attributes:
        seconds: How long it had been writing.
        acknowledged: Writes that had returned in it.
        found: Writes that were there afterwards.
        recovered: Records that the next opening found in its log.
        right: Whether the rows are exactly those of the writes found.
    """

    seconds: float
    acknowledged: int
    found: int
    recovered: int
    right: bool

    @property
    def ok(self) -> bool:
        """Whether nothing got lost and nothing came up that was not written.

        One more write than acknowledged may be there: the kill came in between.
        """
        return self.right and 0 <= self.found - self.acknowledged <= 1


def row_key(number: int) -> bytes:
    """Return the key that a write is about."""
    return b"%04d" % (number % SLOTS)


def row_value(number: int) -> bytes | None:
    """Return what a write stores there; None, it deletes."""
    if number % DELETE_EVERY == 0:
        return None
    rng = random.Random(number)
    return rng.randbytes(rng.randrange(VALUE_BYTES_MAX))


def rows_after(head: int) -> dict[bytes, bytes]:
    """Return the rows that the writes 1 to `head` leave."""
    rows = {HEAD: b"%d" % head} if head else {}
    for number in range(max(1, head - SLOTS + 1), head + 1):
        value = row_value(number)
        if value is not None:
            rows[row_key(number)] = value
    return rows


def head_of(space: Keyspace) -> int:
    """Return the number of the last write."""
    return int(space.get(HEAD, b"0"))


def rows_are_right(space: Keyspace) -> bool:
    """Compare all rows with what the head says."""
    return dict(space.items()) == rows_after(head_of(space))


def write(space: Keyspace, number: int) -> None:
    """Do a write."""
    value = row_value(number)
    with space.write_batch() as batch:
        if value is None:
            batch.delete(row_key(number))
        else:
            batch.put(row_key(number), value)
        batch.put(HEAD, b"%d" % number)


def kill_writer(directory: Path, head: int, rng: random.Random) -> Kill:
    """Let a child write to the database, which is closed, and kill it.

    `head` is the number of the last write before that.
    """
    # -P: whatever lies in the current directory must not pass for this package.
    command = [sys.executable, "-P", "-m", __name__, str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        acks = child.stdout.fileno()
        started = time.monotonic()
        try:
            data = _read_until(acks, started + START_SECONDS_MAX, first=True)
            started = time.monotonic()
            data += _read_until(acks, started + rng.random() * RUN_SECONDS_MAX)
        finally:
            child.kill()
        seconds = time.monotonic() - started
        data += _read_until(acks, started + START_SECONDS_MAX)
        child.wait()
    if child.returncode != -signal.SIGKILL or not data:
        raise CommandError(
            f"the writing process ended with {child.returncode} after {len(data)} bytes"
        )
    [last] = _NUMBER.unpack_from(data, len(data) // _NUMBER.size * _NUMBER.size - 8)
    with lsmkv.open(directory, create=False) as db:
        space = db.namespace(NAMESPACE)
        kill = Kill(
            seconds=seconds,
            acknowledged=last - head,
            found=head_of(space) - head,
            recovered=db.stats().recovered_records,
            right=rows_are_right(space),
        )
        # What children leave undone would add up, and slow the last ones down.
        db.settle()
    return kill


def _read_until(fd: int, deadline: float, *, first: bool = False) -> bytes:
    """Read until the deadline or the end; with `first`, until there is something."""
    data = bytearray()
    while (left := deadline - time.monotonic()) > 0 and not (first and data):
        if select.select([fd], [], [], left)[0]:
            piece = os.read(fd, 1 << 16)
            if not piece:
                break
            data += piece
    return bytes(data)


def _main(directory: str) -> None:
    out = sys.stdout.fileno()
    with lsmkv.open(directory, create=False, memtable_bytes=MEMTABLE_BYTES) as db:
        space = db.namespace(NAMESPACE)
        number = head_of(space)
        while True:
            number += 1
            write(space, number)
            os.write(out, _NUMBER.pack(number))


if __name__ == "__main__":
    try:
        _main(sys.argv[1])
    except (BrokenPipeError, KeyboardInterrupt):  # the demo is gone
        os._exit(1)  # as if killed

# SPDX-License-Identifier: Apache-2.0
"""What a killed writer has written: keys and values that follow from (thread, commit).

Commit i of thread t is one batch: a put or a delete of one key, and "head of t" = i. So
the head found after a kill tells what else must be there.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field

THREADS = 3
KEYS = 200
ACK = struct.Struct("<BQ")


def _draw(thread: int, commit: int) -> bytes:
    return hashlib.blake2b(struct.pack("<QQ", thread, commit), digest_size=16).digest()


def head_key(thread: int) -> bytes:
    """Return the key that holds the number of the thread's newest commit."""
    return b"head/%d" % thread


def commit_key(thread: int, commit: int) -> bytes:
    """Return the key that a commit puts or deletes."""
    return b"t%d/%05d" % (thread, int.from_bytes(_draw(thread, commit)[:4]) % KEYS)


def commit_value(thread: int, commit: int) -> bytes | None:
    """Return the value that a commit puts, or None for a deletion."""
    draw = _draw(thread, commit)
    if draw[4] < 32:
        return None
    size = 1 + draw[5] + (16384 if draw[6] == 0 else 0)
    return struct.pack("<Q", commit) + draw * (1 + size // 16)


@dataclass(slots=True)
class Ledger:
    """What must be in the directory, as far as is known."""

    heads: list[int] = field(default_factory=lambda: [0] * THREADS)
    rows: dict[bytes, bytes] = field(default_factory=dict)

    def advance(self, thread: int, head: int) -> None:
        """Apply the thread's commits up to `head`."""
        for commit in range(self.heads[thread] + 1, head + 1):
            key = commit_key(thread, commit)
            value = commit_value(thread, commit)
            if value is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = value
        self.heads[thread] = head
        if head:
            self.rows[head_key(thread)] = struct.pack("<Q", head)

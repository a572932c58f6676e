# SPDX-License-Identifier: Apache-2.0
"""Sessions that expire while one looks on, and the proof that each does so in time.

Every session gets its own time, so that they go one after another. Some are touched
before their time and stay, some never had one.
"""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import lsmkv
    from lsmkv.cli.command import Progress
    from lsmkv.keyspace import Keyspace

NAMESPACE = "sessions"
COUNT = 120
FIRST_SECONDS = 0.5
LAST_SECONDS = 2.5
TOUCH_EVERY = 10
POLL_SECONDS = 0.02
# Engine time counts milliseconds and follows the wall clock, which may be adjusted.
TOLERANCE_SECONDS = 0.05


@dataclasses.dataclass(frozen=True, slots=True)
class Expiry:
    """What became of the sessions.

    Attributes:
        count: Sessions that were put.
        expired: Those that went at their time.
        kept: Those that were touched or had no time, and stayed.
        early: Those that were gone before their time.
        late: Those that were still to be seen after it.
        seconds: How long looking on took.
    """

    count: int
    expired: int
    kept: int
    early: int
    late: int
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether each one went when it should, or stayed."""
        return self.early == self.late == 0 and self.expired + self.kept == self.count


def key_of(number: int) -> bytes:
    """Return the key of a session."""
    return b"session/%04d" % number


def kept_rows() -> dict[bytes, bytes]:
    """Return the sessions that stay."""
    return {key_of(i): b"state %d" % i for i in range(0, COUNT, TOUCH_EVERY // 2)}


def put_sessions(sessions: lsmkv.Namespace) -> dict[bytes, float]:
    """Store all of them; return when each must be gone, by the monotonic clock."""
    due: dict[bytes, float] = {}
    step = (LAST_SECONDS - FIRST_SECONDS) / COUNT
    for i in range(COUNT):
        key, value, ttl = key_of(i), b"state %d" % i, FIRST_SECONDS + i * step
        if i % TOUCH_EVERY == 0:
            sessions.put(key, value)
            sessions.touch(key, None)
        elif i % (TOUCH_EVERY // 2) == 0:
            sessions.put(key, value, ttl=None)
        else:
            sessions.put(key, value, ttl=ttl)
            due[key] = time.monotonic() + ttl
    return due


def look_on(sessions: Keyspace, due: dict[bytes, float], progress: Progress) -> Expiry:
    """Watch them go."""
    waiting = dict(due)
    early: set[bytes] = set()
    late: set[bytes] = set()
    started = time.monotonic()
    with progress.step("sessions expire", len(due)) as advance:
        while waiting and time.monotonic() < started + LAST_SECONDS + 5:
            before = time.monotonic()
            seen = set(sessions.keys())
            after = time.monotonic()
            gone = [key for key in waiting if key not in seen]
            early |= {key for key in gone if after < due[key] - TOLERANCE_SECONDS}
            late |= {
                key
                for key in waiting.keys() & seen
                if before > due[key] + TOLERANCE_SECONDS
            }
            for key in gone:
                del waiting[key]
            advance(len(gone))
            time.sleep(POLL_SECONDS)
    return Expiry(
        count=COUNT,
        expired=len(due) - len(waiting),
        kept=len(kept_rows().items() & dict(sessions.items()).items()),
        early=len(early),
        late=len(late),
        seconds=time.monotonic() - started,
    )

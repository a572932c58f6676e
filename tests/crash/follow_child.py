# SPDX-License-Identifier: Apache-2.0
"""The writer that followers follow, and one of them.

    follow_child.py write DIR ACKS
    follow_child.py follow DIR ACKS SECONDS

Batch n has the number n, and versions n of some slots: of each in the database and in a
namespace, some of them large. Now and then it deletes a range of slots. So what belongs
to batch n follows from n, and a follower needs nobody to tell it what it should see.
ACKS is a file with the number of the last batch that has returned. The writer goes on
until it is killed or its standard input ends; a follower prints its figures as JSON.
"""

from __future__ import annotations

import json
import os
import random
import select
import struct
import sys
import time

import lsmkv

SLOTS = 300
LARGE_EVERY = 7
LOOK_BACK = 12
NUMBER = struct.Struct("<Q")
SMALL = lsmkv.Options(
    memory_bytes=8 << 20,
    memtable_bytes=64 << 10,
    table_bytes=16 << 10,
    level_base_bytes=64 << 10,
    level_multiplier=4,
    log_bytes=256 << 10,
    blob_threshold_bytes=2048,
)


def slot_key(slot: int) -> bytes:
    """Name a slot."""
    return b"slot%04d" % slot


def slot_value(number: int, slot: int) -> bytes:
    """Return what batch `number` stores in a slot."""
    size = 3000 + number % 5000 if (number + slot) % LARGE_EVERY == 0 else number % 90
    return NUMBER.pack(number) + bytes([number % 251]) * size


def plan(number: int) -> tuple[list[int], range]:
    """Return which slots a batch stores, and which it deletes before that."""
    rng = random.Random(number)
    start = rng.randrange(SLOTS)
    gone = range(start, start + rng.randrange(9)) if number % 10 == 0 else range(0)
    return [rng.randrange(SLOTS) for _ in range(rng.randrange(1, 6))], gone


def write(path: str, acks: int) -> None:
    """Write batch after batch."""
    with lsmkv.open(path, options=SMALL) as db:
        mirror = db.namespace("mirror")
        number = NUMBER.unpack(db.get(b"number", NUMBER.pack(0)))[0]
        while not select.select([sys.stdin], [], [], 0)[0]:
            number += 1
            stored, gone = plan(number)
            batch = lsmkv.WriteBatch()
            if gone:
                for space in (None, mirror):
                    bounds = slot_key(gone.start), slot_key(gone.stop)
                    batch.delete_range(*bounds, namespace=space)
            for slot in stored:
                value = slot_value(number, slot)
                batch.put(slot_key(slot), value)
                batch.put(slot_key(slot), value, namespace=mirror)
            batch.put(b"number", NUMBER.pack(number))
            db.write(batch, sync=number % 500 == 0)
            os.pwrite(acks, NUMBER.pack(number), 0)
            if number % 2000 == 0:
                db.namespace(f"n{number}").put(b"number", NUMBER.pack(number))
                db.drop_namespace(f"n{number - 4000}")


class Follower:
    """Refreshes, and checks all that can be known of what it sees."""

    def __init__(self, path: str, acks: int) -> None:
        self.acks = acks
        self.db = lsmkv.open(path, mode="follower", options=SMALL)
        self.mirror = self.db.namespace("mirror", create=False)
        self.seen = 0
        self.counts = {"refreshes": 0, "news": 0, "changed": 0, "rows": 0, "states": 0}

    def acknowledged(self) -> int:
        """Return the number of the last batch whose write has returned."""
        return int(NUMBER.unpack(os.pread(self.acks, NUMBER.size, 0))[0])

    def refresh(self) -> None:
        """Move on, and hold the batch against what was acknowledged before."""
        least = self.acknowledged()
        self.counts["refreshes"] += 1
        try:
            self.counts["news"] += self.db.refresh()
        except lsmkv.ChangedError:
            self.counts["changed"] += 1
            least = 0
        number = NUMBER.unpack(self.db[b"number"])[0]
        assert number >= max(least, self.seen), (number, least, self.seen)
        self.seen = number

    def check_latest(self) -> None:
        """Check the slots of the last batches, one by one."""
        for number in range(max(1, self.seen - LOOK_BACK), self.seen + 1):
            for slot in plan(number)[0]:
                value = self.db.get(slot_key(slot))
                assert value == self.mirror.get(slot_key(slot))
                if value is not None:
                    self.check_value(value, slot)
                if number == self.seen:
                    assert value == slot_value(number, slot)

    def check_value(self, value: bytes, slot: int) -> None:
        """Check that a value is one that its batch stored."""
        number = NUMBER.unpack_from(value)[0]
        assert number <= self.seen, (number, self.seen)
        assert slot in plan(number)[0]
        assert value == slot_value(number, slot)

    def check_all(self, last: int) -> None:
        """Check all rows, of what may be an older state."""
        rows = dict(self.db.items(prefix=b"slot"))
        assert rows == dict(self.mirror.items())
        for key, value in rows.items():
            self.check_value(value, int(key[4:]))
        self.counts["rows"] += len(rows)
        self.counts["states"] += 1
        assert last <= self.seen

    def run(self, seconds: float) -> None:
        """Go on until the time is up."""
        end = time.monotonic() + seconds
        last = 0
        with self.db.snapshot() as snapshot:
            first = dict(snapshot.items())
            while time.monotonic() < end:
                self.refresh()
                self.check_latest()
                if self.counts["refreshes"] % 20 == 0:
                    self.check_all(last)
                    last = self.seen
            assert dict(snapshot.items()) == first
        self.check_all(last)
        self.db.close()
        self.counts["last"] = self.seen


def main() -> None:
    """Do what the arguments say."""
    role, path = sys.argv[1:3]
    acks = os.open(sys.argv[3], os.O_RDWR | os.O_CREAT)
    if role == "write":
        write(path, acks)
        return
    follower = Follower(path, acks)
    follower.run(float(sys.argv[4]))
    print(json.dumps(follower.counts))


main()

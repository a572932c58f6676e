# SPDX-License-Identifier: Apache-2.0
"""The process that gets killed: threads that write for ever and report each commit.

Arguments: directory, file descriptor for reports, seed, first commit of each thread.
"""

from __future__ import annotations

import os
import random
import struct
import sys
import threading

import lsmkv
from harness.ledger import ACK, commit_key, commit_value, head_key


def write_on(db: lsmkv.DB, thread: int, commit: int, seed: int, report: int) -> None:
    """Write commit after commit; a report follows each that returned."""
    rng = random.Random(seed * 10 + thread)
    while True:
        value = commit_value(thread, commit)
        with db.write_batch(sync=rng.random() < 0.02) as batch:
            if value is None:
                batch.delete(commit_key(thread, commit))
            else:
                batch.put(commit_key(thread, commit), value)
            batch.put(head_key(thread), struct.pack("<Q", commit))
        os.write(report, ACK.pack(thread, commit))
        if rng.random() < 0.001:
            db.flush()
        commit += 1


def main() -> None:
    """Open the directory and write until killed."""
    directory, report, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    rng = random.Random(seed)
    db = lsmkv.open(
        directory,
        memory_bytes=1 << 22,
        memtable_bytes=1 << rng.randrange(13, 19),
        table_bytes=1 << rng.randrange(13, 18),
        level_base_bytes=1 << 16,
        level_multiplier=4,
    )
    threads = [
        threading.Thread(target=write_on, args=(db, thread, int(first), seed, report))
        for thread, first in enumerate(sys.argv[4:])
    ]
    for worker in threads:
        worker.start()
    for worker in threads:
        worker.join()


main()

# SPDX-License-Identifier: Apache-2.0
"""What is done to a database as a directory of files, while nobody has it open."""

from __future__ import annotations

import os

from lsmkv import _core, _zstd
from lsmkv.db import Path, name_of, open, report_of
from lsmkv.errors import ChangedError, CorruptionError
from lsmkv.stats import Report

_ATTEMPTS = 5


def verify(path: Path) -> Report:
    """Read and check every byte of the database in `path`, without changing any.

    Damage does not raise, even where it keeps the database from being opened: it is in
    the report, which is then that of `repair` without `into`. May be done beside the
    process that writes.
    """
    for attempt in range(_ATTEMPTS):
        try:
            with open(path, mode="r") as db:
                return db.verify()
        except CorruptionError:
            return repair(path)
        except ChangedError:
            if attempt + 1 == _ATTEMPTS:
                raise
    raise AssertionError


def repair(path: Path, into: Path | None = None) -> Report:
    """Make a new database in `into` of everything in `path` that can still be read.

    Without `into` nothing is written: the report tells what would be kept and lost.

    `path` is not changed, whatever is missing or damaged in it; nobody may be writing
    to it. `into` must be absent or empty. Values keep their expiry and namespaces; of a
    whole database nothing is lost. Where a damaged block held a newer value or a
    deletion, an older value may show.

    Returns:
        The losses as problems; `record_count` is the number of values kept.

    Raises:
        NotADatabaseError: There is nothing of a database in `path`.
        UnsupportedVersionError: A newer lsmkv wrote it.
    """
    _zstd.register()
    return report_of(
        *_core.repair_files(
            name_of(path), None if into is None else name_of(into), os.fsdecode(path)
        )
    )


def destroy(path: Path) -> None:
    """Remove the database in `path`, and the directory unless it holds anything else.

    Raises:
        LockedError: Somebody has it open for writing.
        NotADatabaseError: There is nothing of a database in `path`.
    """
    _core.destroy_files(name_of(path), os.fsdecode(path))

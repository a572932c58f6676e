# SPDX-License-Identifier: Apache-2.0
"""Copies of databases that are open: what a process leaves behind that is killed."""

import shutil
from pathlib import Path

import lsmkv


def copy_running(db: lsmkv.DB, to: Path) -> None:
    """Copy the files of a database as they are."""
    db.settle()  # else the files of one moment lie beside the MANIFEST of another
    shutil.copytree(db.path, to, copy_function=_copy_if_there)


def _copy_if_there(source: str, target: str) -> None:
    """Copy a file, unless it was obsolete and has been removed meanwhile."""
    try:
        shutil.copy2(source, target)
    except FileNotFoundError:
        Path(target).unlink(missing_ok=True)

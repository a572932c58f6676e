# SPDX-License-Identifier: Apache-2.0
"""The files of a database, as they lie in its directory."""

from __future__ import annotations

import os
import re
from pathlib import Path

_OURS = re.compile(
    r"LOCK|STATS|(CURRENT|HOTLIST)(\.tmp)?|MANIFEST-\d{6,}|\d{6,}\.(log|tbl|seg|cache)"
)


def is_ours(name: str) -> bool:
    """Whether files of that name belong to a database."""
    return _OURS.fullmatch(name) is not None


def sizes_of(directory: str | Path) -> dict[str, int]:
    """Return the files of a database and their sizes."""
    found = {}
    with os.scandir(directory) as entries:
        for entry in entries:
            try:
                if is_ours(entry.name) and entry.is_file(follow_symlinks=False):
                    found[entry.name] = entry.stat(follow_symlinks=False).st_size
            except FileNotFoundError:
                continue  # whoever writes has removed it meanwhile
    return found

# SPDX-License-Identifier: Apache-2.0
"""What one file of a database holds, piece by piece, whole or damaged."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from typing import Literal

from lsmkv import _inspect, _zstd
from lsmkv.db import Path

FileType = Literal[
    "log", "manifest", "values", "cache", "table", "current", "hotlist", ""
]
PartKind = Literal[
    "file", "block", "record", "frame", "field", "entry", "rest", "damage"
]


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """A piece of a file, or what is known of it as a whole.

    Attributes:
        kind: `file`, the first part: its `name` is the type of the file. `block` (of a
            table), `record` (of a log, a MANIFEST, a value file) and `frame` (of a
            cache segment) follow each other in the file. `field` and `entry` are inside
            the one before. `rest` are bytes that hold nothing, and need not: a crash
            explains them. `damage` are bytes that are not what was written there.
        name: What it is, in words: "data block", "batch", "put"; of damage, what should
            be there.
        offset: Where it begins in the file. Of an entry in a block: where that begins.
        size: How many bytes it takes there.
        facts: All that is known of it, by name. Keys and values are bytes; ids and
            checksums are hexadecimal digits; times are milliseconds since 1970. Damage
            and rest have a "problem".
    """

    kind: PartKind
    name: str
    offset: int
    size: int
    facts: Mapping[str, int | str | bytes]


def inspect(
    path: Path,
    *,
    entries: bool = False,
    type: FileType = "",
    file_id: int = 0,
    sealed: bool = False,
) -> Iterator[Part]:
    """Go through one file of a database, part by part, from its beginning to its end.

    Nothing but this file is read, so it may have been taken out of its database, and
    the database may be in use. Damage does not raise: it is among the parts, and what
    follows it is shown, too.

    Args:
        path: The file: a table, log, MANIFEST, value file, cache segment, CURRENT or
            HOTLIST.
        entries: Show each version of a key, too, not only how many there are.
        type: What the file is if neither its content nor its name tells.
        file_id: The file's id, where its own header or footer is lost. The MANIFEST
            knows it.
        sealed: The file is a log that became a segment: nothing of it may be missing.

    Raises:
        NotADatabaseError: Nothing tells what the file is.
        UnsupportedVersionError: A newer lsmkv wrote it.
        OSError: It cannot be read.
    """
    file = FilePath(os.fsdecode(path)).resolve(strict=True)
    _zstd.register()
    found = _inspect.Inspection(
        os.fsencode(file.parent),
        os.fsencode(file.name),
        type=type,
        file_id=file_id,
        sealed=sealed,
        entries=entries,
        shown=str(file.parent),
    )
    return (Part(*part) for part in found)  # type: ignore[arg-type]

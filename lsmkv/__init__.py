# SPDX-License-Identifier: Apache-2.0
"""An embedded, persistent, ordered key-value store.

import lsmkv

with lsmkv.open("cache") as db:
    db[b"key"] = b"value"
    print(db.get(b"key"))
"""

from lsmkv import _native as _native  # first: it loads the compiled modules
from lsmkv import codecs
from lsmkv._base import version as _version
from lsmkv._scan import Scan
from lsmkv.db import DB, open
from lsmkv.errors import (
    ChangedError,
    ClosedError,
    CorruptionError,
    DeadlockError,
    DiskFullError,
    Error,
    ForkedError,
    InvalidArgumentError,
    LimitError,
    LockedError,
    NotADatabaseError,
    ReadOnlyError,
    StorageError,
    UnsupportedVersionError,
)
from lsmkv.files import destroy, repair, verify
from lsmkv.inspection import Part, inspect
from lsmkv.keyspace import WriteBatch
from lsmkv.metrics import Histogram
from lsmkv.namespace import Namespace
from lsmkv.options import NamespaceOptions, Options
from lsmkv.publish import (
    Published,
    PublishedVectors,
    Publisher,
    VectorPublisher,
    Version,
)
from lsmkv.snapshot import NamespaceSnapshot, Snapshot
from lsmkv.stats import (
    CacheStats,
    FollowerStats,
    LevelStats,
    Memory,
    NamespaceStats,
    Problem,
    Report,
    Stats,
    TableInfo,
    TableKey,
)
from lsmkv.ttl import DEFAULT
from lsmkv.vector_reader import VectorSchema
from lsmkv.vectors import Vectors
from lsmkv.warm import WarmReport

__all__ = [
    "DB",
    "DEFAULT",
    "CacheStats",
    "ChangedError",
    "ClosedError",
    "CorruptionError",
    "DeadlockError",
    "DiskFullError",
    "Error",
    "FollowerStats",
    "ForkedError",
    "Histogram",
    "InvalidArgumentError",
    "LevelStats",
    "LimitError",
    "LockedError",
    "Memory",
    "Namespace",
    "NamespaceOptions",
    "NamespaceSnapshot",
    "NamespaceStats",
    "NotADatabaseError",
    "Options",
    "Part",
    "Problem",
    "Published",
    "PublishedVectors",
    "Publisher",
    "ReadOnlyError",
    "Report",
    "Scan",
    "Snapshot",
    "Stats",
    "StorageError",
    "TableInfo",
    "TableKey",
    "UnsupportedVersionError",
    "VectorPublisher",
    "VectorSchema",
    "Vectors",
    "Version",
    "WarmReport",
    "WriteBatch",
    "codecs",
    "destroy",
    "inspect",
    "open",
    "repair",
    "verify",
]

__version__ = _version()

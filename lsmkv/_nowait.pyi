# SPDX-License-Identifier: Apache-2.0

from typing import Any

from typing_extensions import Buffer

from lsmkv._batch import Batch
from lsmkv._core import Keyspace, Snapshot
from lsmkv.ttl import Stale, Ttl

WAIT: Any

def get(
    space: Keyspace, snapshot: Snapshot | None, key: Buffer, default: Any
) -> Any: ...
def contains(space: Keyspace, snapshot: Snapshot | None, key: Buffer) -> Any: ...
def put(
    space: Keyspace,
    key: Buffer,
    value: Buffer,
    ttl: Ttl,
    stale: Stale,
    sync: bool | None,
) -> Any: ...
def delete(space: Keyspace, key: Buffer, sync: bool | None) -> Any: ...
def write(space: Keyspace, batch: Batch, sync: bool | None) -> Any: ...

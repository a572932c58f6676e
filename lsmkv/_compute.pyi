# SPDX-License-Identifier: Apache-2.0

from collections.abc import Iterable
from typing import Any

from typing_extensions import Buffer

from lsmkv._core import Keyspace, Snapshot
from lsmkv.ttl import Stale, Ttl

_Entry = bytes | tuple[bytes, float] | None

BLOCKED: Any
STALE_HITS: int
COMPUTED: int
COALESCED: int

def count(space: Keyspace, kind: int, n: int) -> None: ...
def is_fresh(space: Keyspace, key: Buffer, waits: bool = True) -> bool: ...
def number(space: Keyspace) -> int: ...
def milliseconds(ttl: Ttl) -> int: ...
def stale_milliseconds(space: Keyspace, stale: Stale) -> int: ...
def entry(space: Keyspace, key: Buffer, waits: bool = True) -> _Entry: ...
def entries(space: Keyspace, keys: Iterable[Buffer]) -> list[_Entry]: ...
def store_since(
    space: Keyspace,
    key: Buffer,
    value: Buffer,
    times: tuple[int, int],
    snapshot: Snapshot,
    waits: bool = True,
) -> bool: ...
def timed(space: Keyspace, key: Buffer) -> tuple[bytes, int, int] | None: ...

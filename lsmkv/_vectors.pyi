# SPDX-License-Identifier: Apache-2.0

from collections.abc import Iterable
from typing import Final, Self, final

from typing_extensions import Buffer

from lsmkv._batch import Batch
from lsmkv._core import Keyspace, Snapshot
from lsmkv._publish import Publisher
from lsmkv.ttl import Ttl

DIM_MAX: Final[int]

@final
class Keys:
    def __new__(cls, keys: Iterable[Buffer | int] | Buffer, numbers: bool) -> Self: ...
    def __len__(self) -> int: ...

def put_rows(
    space: Keyspace, keys: Keys, array: Buffer, *, ttl: Ttl, sync: bool | None
) -> None: ...
def add_rows(
    batch: Batch, space: Keyspace, keys: Keys, array: Buffer, *, ttl: Ttl
) -> None: ...
def publish_rows(
    publisher: Publisher, keys: Keys, array: Buffer, *, ttl: Ttl
) -> None: ...
def get_rows(
    space: Keyspace,
    snapshot: Snapshot | None,
    keys: Keys,
    array: Buffer,
    found: Buffer,
    *,
    budget: float | None,
    expected: tuple[int, ...] | None,
) -> int: ...

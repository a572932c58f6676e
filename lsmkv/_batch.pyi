# SPDX-License-Identifier: Apache-2.0

from typing import Any, Self

from typing_extensions import Buffer, disjoint_base

from lsmkv._base import Handle
from lsmkv.ttl import Stale, Ttl

@disjoint_base
class Batch:
    @property
    def nbytes(self) -> int: ...
    def __new__(cls, space: Handle | None = None, **unused: Any) -> Self: ...
    def put(
        self,
        key: Buffer,
        value: Buffer,
        *,
        ttl: Ttl = ...,
        stale: Stale = ...,
        namespace: Handle | None = None,
    ) -> None: ...
    def _put_until(
        self,
        key: Buffer,
        value: Buffer,
        end: int,
        fresh_until: int = 0,
        namespace: Handle | None = None,
    ) -> None: ...
    def delete(self, key: Buffer, *, namespace: Handle | None = None) -> None: ...
    def delete_range(
        self,
        start: Buffer | None,
        stop: Buffer | None,
        *,
        namespace: Handle | None = None,
    ) -> None: ...
    def clear(self) -> None: ...
    def __len__(self) -> int: ...

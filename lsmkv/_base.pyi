# SPDX-License-Identifier: Apache-2.0

from typing import Final

from typing_extensions import Buffer, disjoint_base

KEY_SIZE_MAX: Final[int]
VALUE_SIZE_MAX: Final[int]
BATCH_SIZE_MAX: Final[int]
TTL_SECONDS_MAX: Final[float]

@disjoint_base
class Handle:
    @property
    def path(self) -> str: ...

def stale_to_ms(stale: float | None) -> int: ...
def ttl_to_ms(ttl: float | None) -> int: ...
def to_bytes(source: Buffer) -> bytes: ...
def version() -> str: ...
def xxh3_64(data: Buffer, seed: int = 0) -> int: ...

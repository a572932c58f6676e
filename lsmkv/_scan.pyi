# SPDX-License-Identifier: Apache-2.0

from types import TracebackType
from typing import Self, final

from typing_extensions import Buffer, disjoint_base

from lsmkv._base import Handle
from lsmkv._core import Snapshot

def narrow(
    start: Buffer | None, stop: Buffer | None, prefix: bytes
) -> tuple[bytes, bytes | None]: ...

@disjoint_base
class Scan:
    def __new__(
        cls,
        space: Handle,
        where: tuple[Buffer | None, Buffer | None, Buffer | None],
        reverse: bool,
        snapshot: Snapshot | None,
    ) -> Self: ...
    def close(self) -> None: ...
    def __iter__(self) -> Self: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...

@final
class ItemScan(Scan):
    def __next__(self) -> tuple[bytes, bytes]: ...

@final
class KeyScan(Scan):
    def __next__(self) -> bytes: ...

@final
class ValueScan(Scan):
    def __next__(self) -> bytes: ...

@final
class EntryScan(Scan):
    def __next__(self) -> tuple[bytes, bytes, int, int]: ...

# SPDX-License-Identifier: Apache-2.0

from typing import Any, Self, final

TYPES: dict[str, int]

@final
class Inspection:
    def __new__(
        cls,
        directory: bytes,
        name: bytes,
        *,
        type: str,
        file_id: int,
        sealed: bool,
        entries: bool,
        shown: str,
    ) -> Self: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> tuple[str, str, int, int, dict[str, Any]]: ...

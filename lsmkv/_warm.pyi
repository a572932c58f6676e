# SPDX-License-Identifier: Apache-2.0

from collections.abc import Callable

from lsmkv._base import Handle

def warm(
    space: Handle,
    prefix: bytes | None,
    budget: int,
    progress: Callable[[int, int], object] | None,
) -> dict[str, int]: ...

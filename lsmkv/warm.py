# SPDX-License-Identifier: Apache-2.0
"""Reading ahead what will be wanted soon, after a restart above all."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from lsmkv import _base, _warm
from lsmkv.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

_BYTES_MAX = 2**63 - 1


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class WarmReport:
    """What `warm()` has brought into memory.

    Attributes:
        byte_count: Bytes of files, blocks and values together.
        block_count: Blocks read into the block cache.
        value_count: Large values read and checked.
    """

    byte_count: int
    block_count: int
    value_count: int


def warm(
    space: _base.Handle,
    prefix: Buffer | None,
    budget_bytes: int | None,
    progress: Callable[[int, int], object] | None,
) -> WarmReport:
    """Do what `DB.warm` says, for any keyspace."""
    found = _warm.warm(
        space,
        None if prefix is None else _base.to_bytes(prefix),
        0 if budget_bytes is None else _checked("budget_bytes", budget_bytes),
        progress,
    )
    found.pop("total_bytes")
    return WarmReport(**found)


def to_engine(wanted: bool | int) -> int:
    """Return the option of the engine for the argument `warm` of `lsmkv.open`."""
    if isinstance(wanted, bool):
        return -1 if wanted else 0
    return _checked("warm", wanted)


def _checked(name: str, count: int) -> int:
    """Return a number of bytes, above 0."""
    if isinstance(count, bool) or not isinstance(count, int):
        raise TypeError(f"{name} must be a number of bytes, not {count!r}")
    if not 0 < count <= _BYTES_MAX:
        raise InvalidArgumentError(f"{name} is {count}: must be above 0")
    return count

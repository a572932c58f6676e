# SPDX-License-Identifier: Apache-2.0
"""Makes a failing list shorter, as long as it fails.

Delta debugging (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing
Input", 2002): leave out ever smaller runs of the list; begin again with what is left.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

REDUCE_SECONDS_MAX = 30.0


def reduce(
    items: Sequence[T], fails: Callable[[list[T]], bool], *, seconds: float
) -> list[T]:
    """Return a part of a list that still fails, in its order.

    Args:
        items: What fails as a whole.
        fails: Whether a part fails, too.
        seconds: After so long it ends with the best part found by then.
    """
    end = time.monotonic() + seconds
    kept = list(items)
    size = max(len(kept) // 2, 1)
    while kept:
        at, shorter = 0, False
        while at < len(kept):
            if time.monotonic() > end:
                return kept
            candidate = kept[:at] + kept[at + size :]
            if fails(candidate):
                kept, shorter = candidate, True
            else:
                at += size
        if size == 1 and not shorter:
            break
        size = max(size // 2, 1)
    return kept

# SPDX-License-Identifier: Apache-2.0
"""How the times of a value are said."""

from __future__ import annotations

import enum
from typing import Final, Literal


class Default(enum.Enum):
    """The type of `lsmkv.DEFAULT`."""

    DEFAULT = "what the keyspace says"

    def __repr__(self) -> str:
        """Return the name it is imported by."""
        return self.name


DEFAULT: Final = Default.DEFAULT

Ttl = float | Literal[Default.DEFAULT] | None
Stale = float | Literal[Default.DEFAULT]

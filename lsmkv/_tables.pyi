# SPDX-License-Identifier: Apache-2.0

from typing import Any

from lsmkv import _core

def tables(db: _core.DB) -> list[dict[str, Any]]: ...

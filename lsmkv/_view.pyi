# SPDX-License-Identifier: Apache-2.0

import sys

from typing_extensions import disjoint_base

@disjoint_base
class View:
    if sys.version_info >= (3, 12):
        def __buffer__(self, flags: int, /) -> memoryview: ...

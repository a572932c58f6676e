# SPDX-License-Identifier: Apache-2.0
"""Loads the compiled modules.

All of them and the engine are linked into one file, which bears the name of `_core`:
so the engine's state exists once, and each module calls it as directly as if it were
the only one. Python finds a module by the name of its file, so they are loaded here,
each after those that it builds on.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import ExtensionFileLoader

MODULES = (
    "_base",
    "_batch",
    "_view",
    "_core",
    "_namespace",
    "_publish",
    "_scan",
    "_codec",
    "_vectors",
    "_compute",
    "_nowait",
    "_warm",
    "_tables",
    "_inspect",
)


def load() -> None:
    """Load the modules; ImportError if the package was not built."""
    found = importlib.util.find_spec("lsmkv._core")
    if found is None or found.origin is None:
        raise ImportError("the compiled part of lsmkv is missing: install the package")
    for module in MODULES:
        name = f"lsmkv.{module}"
        loader = ExtensionFileLoader(name, found.origin)
        spec = importlib.util.spec_from_file_location(name, loader=loader)
        if spec is None or name in sys.modules:
            continue
        sys.modules[name] = importlib.util.module_from_spec(spec)
        loader.exec_module(sys.modules[name])


load()

# SPDX-License-Identifier: Apache-2.0
"""Binds the testing library with cffi, from the very headers it was compiled with.

csrc/api/testing.h is run through the preprocessor with empty system headers; what is
left are the declarations, which cffi parses. So a test that is out of step with a
header fails when it loads, and nothing is transcribed by hand.
"""

from __future__ import annotations

import importlib
import re
from functools import cache
from typing import Any

from harness.build import BUILD, CSRC, RELEASE, Variant, build_library, compiler, run

SYSTEM_HEADERS = ("stdarg", "stdatomic", "stdbool", "stddef", "stdint", "string")


def _remove_inline_functions(text: str) -> str:
    """Drop `static inline` definitions; cffi takes declarations only."""
    kept: list[str] = []
    at = 0
    for match in re.finditer(r"static inline", text):
        if match.start() < at:
            continue
        kept.append(text[at : match.start()])
        at = text.index("{", match.start())
        depth = 0
        while True:
            depth += {"{": 1, "}": -1}.get(text[at], 0)
            at += 1
            if depth == 0:
                break
    kept.append(text[at:])
    return "".join(kept)


def declarations() -> str:
    """Return the C declarations of the public and the testing interface."""
    stubs = BUILD / "tests-headers"
    stubs.mkdir(parents=True, exist_ok=True)
    for name in SYSTEM_HEADERS:
        (stubs / f"{name}.h").touch()
    text = run(
        [
            *(compiler(), "-E", "-P", "-nostdinc", "-std=c11", "-DLSMKV_TESTING"),
            *("-D__attribute__(x)=", "-I", str(stubs), "-I", str(CSRC)),
            str(CSRC / "api" / "testing.h"),
        ]
    )
    return _remove_inline_functions(text)


@cache
def load(variant: Variant = RELEASE) -> tuple[Any, Any]:
    """Build and load the library; returns (ffi, lib)."""
    ffi: Any = importlib.import_module("cffi").FFI()
    ffi.cdef(declarations())
    return ffi, ffi.dlopen(str(build_library(variant)))

# SPDX-License-Identifier: Apache-2.0
"""What setup.py builds beside `lsmkv._core`: `lsmkv.fuzz._native`, the testing build.

The engine with -DLSMKV_TESTING (failing allocations, the simulated disk), the crash
program and the stress program, bound by cffi. The declarations are the very headers it
is compiled with: csrc/api/testing.h run through the preprocessor with empty system
headers. So nothing is transcribed by hand. The C programs, each with its own main, are
built from the same files by build.py.
"""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
MODULE = "lsmkv.fuzz._native"
SYSTEM_HEADERS = ("stdarg", "stdatomic", "stdbool", "stddef", "stdint", "string")
CALLBACKS = """
extern "Python" void lsmkv_fuzz_on_space(void *context, lsmkv_bytes name,
                                         const lsmkv_space_options *options);
extern "Python" void lsmkv_fuzz_on_version(void *context,
                                           const lsmkv_version_info *info);
extern "Python" void lsmkv_fuzz_on_problem(void *context, const lsmkv_error *problem);
extern "Python" void lsmkv_fuzz_on_step(void *context, uint64_t step);
"""
PROGRAMS = """
int crash_main(int argument_count, char **arguments);
int stress_main(int argument_count, char **arguments);
"""


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
    candidates = (os.environ.get("CC"), "gcc", "cc")
    compiler = next(name for name in candidates if name and shutil.which(name))
    with tempfile.TemporaryDirectory() as stubs:
        for name in SYSTEM_HEADERS:
            (Path(stubs) / f"{name}.h").touch()
        command = [
            *(compiler, "-E", "-P", "-nostdinc", "-std=c11", "-DLSMKV_TESTING"),
            *("-D__attribute__(x)=", "-I", stubs, "-I", "csrc"),
            "csrc/api/testing.h",
        ]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    return _remove_inline_functions(done.stdout.decode())


def sources() -> list[str]:
    """Return the C files, relative to the root."""
    mains = {"tests/crash/main.c", "tests/c/stress_main.c"}
    found = [
        *ROOT.glob("csrc/*/*.c"),
        *ROOT.glob("tests/crash/*.c"),
        *ROOT.glob("tests/c/stress*.c"),
    ]
    return sorted({str(path.relative_to(ROOT)) for path in found} - mains)


def builder() -> Any:
    """Return what cffi builds the extension from."""
    ffi: Any = importlib.import_module("cffi").FFI()
    ffi.cdef(declarations() + PROGRAMS + CALLBACKS)
    ffi.set_source(
        MODULE,
        f'#include "api/testing.h"\n{PROGRAMS}',
        sources=sources(),
        include_dirs=["csrc"],
        depends=sorted(
            str(path.relative_to(ROOT))
            for folder in ("csrc", "tests")
            for path in (ROOT / folder).rglob("*.h")
        ),
        define_macros=[("_GNU_SOURCE", "1"), ("LSMKV_TESTING", None)],
        extra_compile_args=["-std=c11", "-O2", "-g0", "-fvisibility=hidden"],
        extra_link_args=["-pthread"],
        libraries=["m"],
    )
    return ffi

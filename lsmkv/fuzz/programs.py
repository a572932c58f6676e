# SPDX-License-Identifier: Apache-2.0
"""Runs a program of the testing build in this process, and ends it.

    python -m lsmkv.fuzz.programs crash|stress ARGUMENT...

The C programs know no codec but none; here they have zstd, too, whose library is inside
of a Python package. A check that fails ends the process with status 1.
"""

from __future__ import annotations

import sys

from lsmkv import _zstd
from lsmkv.fuzz._native import ffi, lib


def register_zstd() -> None:
    """Have the testing build use the functions of the zstandard package."""
    known = _zstd.native_addresses()
    # In the order of lsmkv_zstd_functions.
    addresses = [ffi.cast("void *", known[name]) for name in _zstd.FUNCTIONS]
    functions = ffi.new("lsmkv_zstd_functions *", addresses)
    if lib.lsmkv_register_zstd(functions, ffi.NULL) != lib.LSMKV_OK:
        raise RuntimeError("the testing build refuses the codec zstd")


def main(arguments: list[str]) -> int:
    """Run one; returns its exit status."""
    programs = {"crash": lib.crash_main, "stress": lib.stress_main}
    if not arguments or arguments[0] not in programs:
        print(f"expected one of {' '.join(programs)} and its arguments")
        return 2
    register_zstd()
    words = [ffi.new("char[]", word.encode()) for word in arguments]
    return int(programs[arguments[0]](len(words), ffi.new("char *[]", words)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

# SPDX-License-Identifier: Apache-2.0
"""Runs the crash program in this process, where the codec zstd can be had.

    python crash_zstd.py LIBRARY ARGUMENT...

LIBRARY is what harness.build.build_crash_library returns. The C program alone knows no
codec but none; libzstd is inside of a Python package.
"""

from __future__ import annotations

import ctypes
import sys

from lsmkv import _zstd


def main() -> int:
    """Register the codec and run."""
    lib = ctypes.CDLL(sys.argv[1])
    known = _zstd.native_addresses()
    # In the order of lsmkv_zstd_functions.
    addresses = (ctypes.c_void_p * len(known))(*(known[x] for x in _zstd.FUNCTIONS))
    if lib.lsmkv_register_zstd(addresses, None) != 0:
        return 2
    arguments = [b"crash", *(argument.encode() for argument in sys.argv[2:])]
    values = (ctypes.c_char_p * len(arguments))(*arguments)
    return int(lib.main(len(arguments), values))


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: Apache-2.0
"""Gives the engine its zstd codec, out of the `zstandard` package.

That package compiles libzstd into an extension module made with cffi, which tells the
addresses of its functions: the engine calls them directly. Where the module is missing
(free-threaded builds of Python, so far) a slower codec calls the package's public
classes, so that every database stays readable.
"""

from __future__ import annotations

import atexit
import functools
import importlib
from typing import Literal

import zstandard

from lsmkv import _codec
from lsmkv.errors import Error

Backend = Literal["native", "python"]

FUNCTIONS = (
    "ZSTD_createCCtx",
    "ZSTD_freeCCtx",
    "ZSTD_createDCtx",
    "ZSTD_freeDCtx",
    "ZSTD_CCtx_setParameter",
    "ZSTD_compress2",
    "ZSTD_decompressDCtx",
    "ZSTD_compressBound",
    "ZSTD_isError",
    "ZSTD_versionNumber",
)

DEFAULT_LEVEL = 3


class PythonCodec:
    """Compresses and decompresses blocks; used by one thread at a time."""

    def __init__(self, level: int) -> None:
        """Take a zstd level; 0 is the default."""
        self._compressor = zstandard.ZstdCompressor(level=level or DEFAULT_LEVEL)
        self._decompressor = zstandard.ZstdDecompressor()

    def compress(self, source: memoryview) -> bytes:
        """Return one frame that holds `source` and says its size."""
        return self._compressor.compress(source)

    def decompress(self, source: memoryview, capacity: int) -> bytes:
        """Return the content of a frame; ValueError if it says more than `capacity`.

        The frame's own claim is checked first, for the decompressor would allocate it.
        """
        size = zstandard.frame_content_size(source)
        if not 0 <= size <= capacity:
            raise ValueError(f"a frame of {size} bytes: at most {capacity} expected")
        return self._decompressor.decompress(source)


def native_addresses() -> dict[str, int]:
    """Return the address of each function; ImportError where they cannot be had."""
    module = importlib.import_module("zstandard._cffi")
    try:
        return {
            name: int(
                module.ffi.cast("uintptr_t", module.ffi.addressof(module.lib, name))
            )
            for name in FUNCTIONS
        }
    except AttributeError as error:
        raise ImportError("zstandard._cffi lacks a function of libzstd") from error


@functools.cache
def register() -> Backend:
    """Register the codec, once in a process; "native" or "python"."""
    try:
        _codec.register_native(native_addresses())
    except (ImportError, Error):
        _codec.register_python(PythonCodec)
        atexit.register(_codec.stop)
        return "python"
    return "native"

# SPDX-License-Identifier: Apache-2.0
"""How `memoize` turns what functions return into values, and back.

A codec is any object with the two methods of `Codec`; `json`, `raw` and `numpy` are
here. None of them can be made to run code by what is stored.
"""

from __future__ import annotations

import json as _json
import math
import struct
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from lsmkv import _base
from lsmkv.errors import CorruptionError

if TYPE_CHECKING:
    from typing_extensions import Buffer

_T = TypeVar("_T")

_MAGIC = b"LNP1"
_ALIGN = 16
_NOT_AN_ARRAY = (
    ValueError,
    TypeError,
    IndexError,
    OverflowError,
    SyntaxError,
    struct.error,
)


class Codec(Protocol[_T]):
    """Encodes objects as values.

    What a caller gets has always been encoded and decoded, also when it was computed
    for that call, so it does not depend on whether it was stored.
    """

    def encode(self, value: _T) -> Buffer:
        """Return the bytes to store."""

    def decode(self, data: bytes) -> _T:
        """Return what `encode` was given, or raise for what it cannot have made."""


class Json:
    """Whatever JSON can say: None, bool, int, float, str, and lists and dicts of these.

    As JSON has it, tuples come back as lists. Dicts need keys that are str, and NaN and
    infinities are refused.
    """

    def encode(self, value: Any) -> bytes:
        """Return UTF-8 text; TypeError or ValueError for what JSON cannot say."""
        refuse_keys(value)
        text = _json.dumps(
            value, ensure_ascii=False, allow_nan=False, separators=(",", ":")
        )
        return text.encode("utf-8", "surrogatepass")

    def decode(self, data: bytes) -> Any:
        """Return the object; CorruptionError if this is no JSON."""
        try:
            return _json.loads(data)
        except (ValueError, RecursionError) as error:
            raise CorruptionError(f"the value is no JSON: {error}") from error


class Raw:
    """Bytes as they are."""

    def encode(self, value: Buffer) -> bytes:
        """Return the bytes; TypeError for what has none, such as str."""
        return _base.to_bytes(value)

    def decode(self, data: bytes) -> bytes:
        """Return the same."""
        return data


class Numpy:
    """Arrays of numbers, booleans, times or fixed-size strings, of any shape.

    Stored as a small header and the elements in C order; decoded without a copy, so the
    array is read-only: `.copy()` makes one to write to. Arrays of objects, and
    structured ones, are refused. Needs NumPy.

        magic "LNP1" | size of dtype u8 | dimensions u8 | sizes u64 little-endian each |
        dtype as in array.dtype.str | zeros to a multiple of 16 | elements
    """

    def encode(self, value: Any) -> bytes:
        """Return header and elements; TypeError for what is no such array."""
        import numpy

        if not isinstance(value, numpy.ndarray):
            raise TypeError(f"an array is wanted, not {type(value).__name__}")
        if value.dtype.kind in "OV":
            raise TypeError(f"arrays of {value.dtype} cannot be stored")
        name = value.dtype.str.encode()
        head = _MAGIC + bytes([len(name), value.ndim])
        head += struct.pack(f"<{value.ndim}Q", *value.shape) + name
        head += bytes(-len(head) % _ALIGN)
        return b"".join((head, value.tobytes()))

    def decode(self, data: bytes) -> Any:
        """Return the array, read-only; CorruptionError if these are not its bytes."""
        import numpy

        try:
            if data[: len(_MAGIC)] != _MAGIC:
                raise ValueError("it does not begin like one")
            name_size, dimensions = data[len(_MAGIC)], data[len(_MAGIC) + 1]
            at = len(_MAGIC) + 2
            shape = struct.unpack_from(f"<{dimensions}Q", data, at)
            at += 8 * dimensions
            dtype = numpy.dtype(data[at : at + name_size].decode("ascii"))
            if dtype.kind in "OV" or dtype.itemsize == 0:
                raise ValueError(f"its elements are {dtype}")
            at += name_size
            at += -at % _ALIGN
            if len(data) - at != math.prod(shape) * dtype.itemsize:
                raise ValueError(f"{len(data)} bytes for a shape of {shape}")
            return numpy.ndarray(shape, dtype, buffer=data, offset=at)
        except _NOT_AN_ARRAY as error:
            raise CorruptionError(f"the value is no array: {error}") from error


def refuse_keys(value: object) -> None:
    """Raise TypeError for dicts with other keys than str: JSON would change them."""
    ahead = [value]
    seen = set()
    while ahead:
        each = ahead.pop()
        if not isinstance(each, dict | list | tuple) or id(each) in seen:
            continue
        seen.add(id(each))  # what contains itself is json's to refuse
        if isinstance(each, dict):
            wrong = [key for key in each if not isinstance(key, str)]
            if wrong:
                raise TypeError(f"a dict with the key {wrong[0]!r}: JSON has str alone")
            ahead.extend(each.values())
        else:
            ahead.extend(each)


json = Json()
raw = Raw()
numpy = Numpy()

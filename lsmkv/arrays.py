# SPDX-License-Identifier: Apache-2.0
"""Arrays of many kinds, as ndarrays over the same memory; for `vectors.py`.

NumPy is imported when the first array is. A tensor of torch is known by what it can do,
and asked for its address, so torch is never imported here.
"""

from __future__ import annotations

import array as array_
import ctypes
import operator
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from lsmkv import _vectors
from lsmkv.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    import numpy.typing as npt
    from typing_extensions import Buffer

DType = Literal["float32", "float16", "bfloat16", "int8"]

# Their places are the numbers of the files, which never change.
DTYPES: tuple[DType, ...] = ("float32", "float16", "bfloat16", "int8")
_ITEM_BYTES = (4, 2, 2, 1)
_BFLOAT16_NAN = 0x7FC0


class Bounds(TypedDict, total=False):
    """The bounds of a scan; see `DB.items`."""

    start: Buffer | None
    stop: Buffer | None
    prefix: Buffer | None
    reverse: bool


def item_bytes(dtype: DType) -> int:
    """Return the bytes of a number."""
    return _ITEM_BYTES[DTYPES.index(dtype)]


def numpy_dtype(dtype: DType) -> np.dtype[Any]:
    """Return what NumPy has for it; for bfloat16 that is uint16."""
    import numpy as np

    return np.dtype("uint16" if dtype == "bfloat16" else dtype)


def _of_tensor(tensor: Any) -> npt.NDArray[Any]:
    """Show the memory of a tensor in C order; bfloat16 as uint16."""
    import numpy as np

    name = str(tensor.dtype).rpartition(".")[2]
    shape = tuple(tensor.shape)
    if tensor.device.type != "cpu":
        raise InvalidArgumentError(
            f"the tensor is on {tensor.device}: must be in the memory of the CPU"
        )
    if not tensor.is_contiguous():
        raise InvalidArgumentError(
            f"the tensor of shape {shape} is not contiguous: copy it first, with "
            f"contiguous()"
        )
    if hasattr(tensor, "is_neg") and tensor.is_neg():
        raise InvalidArgumentError(
            "the memory of the tensor has the opposite of its numbers: copy it first, "
            "with resolve_neg()"
        )
    dtype = np.dtype("uint16" if name == "bfloat16" else name)
    size = int(np.prod(shape)) * dtype.itemsize
    if size == 0:
        return np.empty(shape, dtype)
    memory: Any = (ctypes.c_char * size).from_address(tensor.data_ptr())
    memory.tensor = tensor  # which owns it: callers may give us their only reference
    found: npt.NDArray[Any] = np.frombuffer(memory, dtype)
    return found.reshape(shape)


def _is_tensor(source: Any) -> bool:
    return all(
        hasattr(source, name) for name in ("data_ptr", "is_contiguous", "device")
    )


def _view(source: Any) -> npt.NDArray[Any] | None:
    """Show the memory of whatever has some as an ndarray; None: it has none."""
    import numpy as np

    if isinstance(source, np.ndarray):
        return source
    if _is_tensor(source):
        return _of_tensor(source)
    if hasattr(source, "__array_interface__"):
        return np.asarray(source)
    try:
        return np.asarray(memoryview(source))
    except TypeError:
        pass
    if hasattr(source, "__dlpack__"):
        return np.from_dlpack(source)
    return None


def _numbers(source: Any, dim: int, dtype: DType, what: str) -> npt.NDArray[Any]:
    """Show an array in the dtype of the space; plain bytes may be any numbers."""
    import numpy as np

    found = _view(source)
    if found is None:
        raise TypeError(
            f"{what} must be an array, a tensor or a buffer, not "
            f"{type(source).__name__}"
        )
    wanted = numpy_dtype(dtype)
    if dtype == "bfloat16" and found.dtype.name == "bfloat16":
        return found.view(wanted)
    if found.dtype == wanted:
        return found
    plain = not isinstance(source, np.ndarray) and found.dtype.name == "uint8"
    if plain and found.ndim == 1 and found.size % (dim * wanted.itemsize) == 0:
        return found.view(wanted)
    raise InvalidArgumentError(
        f"{what} has dtype {found.dtype}: expected {dtype}"
        f"{', or uint16 for its bits' if dtype == 'bfloat16' else ''}"
    )


def _check_shape(found: npt.NDArray[Any], shape: tuple[int, ...], what: str) -> None:
    if found.shape != shape:
        raise InvalidArgumentError(
            f"{what} has shape {found.shape}: expected {shape}, a row for each key"
            if len(shape) == 2
            else f"{what} has shape {found.shape}: expected {shape}"
        )


def _rows_in_order(found: npt.NDArray[Any]) -> bool:
    """Whether each row is in one piece, and behind the one before."""
    count, dim = found.shape
    row = dim * found.itemsize
    return (dim == 1 or found.strides[1] == found.itemsize) and (
        count <= 1 or found.strides[0] >= row
    )


def take_rows(source: Any, count: int, dim: int, dtype: DType) -> npt.NDArray[Any]:
    """Show an array of rows to be stored."""
    found = _numbers(source, dim, dtype, "the array")
    if found.ndim == 1 and found.size == count * dim and not _has_shape(source):
        found = found.reshape(count, dim)
    _check_shape(found, (count, dim), "the array")
    if not found.flags.c_contiguous:
        raise InvalidArgumentError(
            f"the array has strides of {found.strides} bytes: must be in C order "
            f"without gaps; numpy.ascontiguousarray copies it"
        )
    return found


def _has_shape(source: Any) -> bool:
    """Whether the source knows of rows: a flat buffer does not."""
    return hasattr(source, "shape") and not isinstance(source, memoryview)


def take_row(source: Any, dim: int, dtype: DType, what: str) -> npt.NDArray[Any]:
    """Show an array that is one row."""
    found = _numbers(source, dim, dtype, what)
    _check_shape(found, (dim,), what)
    if dim > 1 and found.strides[0] != found.itemsize:
        raise InvalidArgumentError(
            f"{what} has a stride of {found.strides[0]} bytes: must be without gaps; "
            f"numpy.ascontiguousarray copies it"
        )
    return found


def take_out(source: Any, count: int, dim: int, dtype: DType) -> npt.NDArray[Any]:
    """Show an array to be filled; None makes one."""
    import numpy as np

    if source is None:
        return np.empty((count, dim), numpy_dtype(dtype))
    found = _numbers(source, dim, dtype, "out")
    if not found.flags.writeable:
        raise InvalidArgumentError("out is read-only: must be writable")
    if found.ndim == 1 and found.size == count * dim and not _has_shape(source):
        found = found.reshape(count, dim)
    _check_shape(found, (count, dim), "out")
    if not _rows_in_order(found):
        raise InvalidArgumentError(
            f"out has strides of {found.strides} bytes: each row must be in one piece, "
            f"and behind the one before"
        )
    return found


def as_bytes(rows: npt.NDArray[Any], count: int, row_bytes: int) -> Any:
    """Show rows as rows of bytes."""
    import numpy as np

    if count == 0:
        return np.empty((0, row_bytes), np.uint8)
    if rows.shape[1] == 1 and rows.strides[1] != rows.itemsize:
        rows = np.lib.stride_tricks.as_strided(
            rows, strides=(rows.strides[0], rows.itemsize)
        )
    return rows.view(np.uint8)


def take_table(
    keys: Any, source: Any, dim: int, dtype: DType
) -> tuple[_vectors.Keys, Any]:
    """Bring keys, and a row for each to be stored, into the form of the engine."""
    place = take_keys(keys)
    rows = take_rows(source, len(place), dim, dtype)
    return place, as_bytes(rows, len(place), dim * item_bytes(dtype))


def new_flags(count: int) -> tuple[npt.NDArray[np.bool_], Any]:
    """Return room for a bool for each key, and the buffer that it is."""
    import numpy as np

    flags = np.empty(count, np.bool_)
    return flags, flags


def take_missing(missing: Any, dim: int, dtype: DType) -> Any:
    """Return what to fill absent rows with; None to raise instead."""
    if not isinstance(missing, str):
        return take_row(missing, dim, dtype, "missing")
    if missing == "raise":
        return None
    if missing == "zero":
        return 0
    if missing == "nan":
        if dtype == "int8":
            raise InvalidArgumentError('int8 has no NaN: missing may not be "nan"')
        return _BFLOAT16_NAN if dtype == "bfloat16" else float("nan")
    raise InvalidArgumentError(
        f'missing is {missing!r}: must be "raise", "zero", "nan" or a row'
    )


def take_key(key: Any) -> bytes | Buffer:
    """Return a key as bytes, or as the buffer that it is."""
    if not hasattr(key, "__index__"):
        return key  # type: ignore[no-any-return]
    number = operator.index(key)
    if not 0 <= number < 2**64:
        raise _out_of_range(number)
    return number.to_bytes(8, "big")


def _out_of_range(number: int) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"{number} cannot be a key: numbers are from 0 to 2**64 - 1"
    )


def hold_keys(keys: Any) -> Any:
    """Return keys that can be gone through more than once."""
    if isinstance(keys, str | bytes | bytearray):
        raise TypeError(f"keys must be several, not one {type(keys).__name__}")
    if isinstance(keys, list | tuple | range):
        return keys
    found = _view(keys)
    return list(keys) if found is None else found


def each_key(keys: Any) -> list[Any]:
    """Return keys as Python objects."""
    held = hold_keys(keys)
    return held.tolist() if hasattr(held, "tolist") else list(held)


def nth_key(keys: Any, n: int) -> Any:
    """Return one of the keys as a Python object."""
    key = keys[n]
    return key.item() if hasattr(key, "item") else key


def take_keys(keys: Iterable[Any]) -> _vectors.Keys:
    """Bring keys into the form that the engine takes."""
    import numpy as np

    held = found = hold_keys(keys)
    if isinstance(held, list | tuple | range):
        if not (held and hasattr(held[0], "__index__")):
            return _vectors.Keys(held, False)
        try:
            return _vectors.Keys(array_.array("Q", held), True)
        except OverflowError:
            wrong = next(key for key in held if not 0 <= operator.index(key) < 2**64)
            raise _out_of_range(operator.index(wrong)) from None
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise InvalidArgumentError(
            f"keys have dtype {found.dtype} and shape {found.shape}: an array of keys "
            f"has integers, and one dimension"
        )
    if found.dtype.kind == "i" and found.size > 0 and found.min() < 0:
        raise _out_of_range(int(found.min()))
    return _vectors.Keys(np.ascontiguousarray(found, dtype=np.uint64), True)

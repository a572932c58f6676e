# SPDX-License-Identifier: Apache-2.0
"""How values look in the terminal, and how typed ones are read.

hello, "two words"     text, in the notation of `text.py`
\\x00\\xff               bytes that are no text, likewise
{"name": "Ada"}        JSON objects and lists as they are; alone, in several lines
float32 (4,)  norm 1   arrays: type, shape, norm and the first numbers
"""

from __future__ import annotations

import json
import math
import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len, set_cell_size

from lsmkv.cli import render, text
from lsmkv.cli.command import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lsmkv.vector_reader import VectorSchema

HEAD = 6  # numbers that are shown of an array
_JSON_MAX = 1 << 20  # bytes of what is looked at as JSON
_LINE_JSON_MAX = 1 << 16  # the same where there are many lines
_SHORT = 72  # characters of what JSON shows in one line
_ARRAY_MAX = 1 << 20  # numbers of an array that is shown as one
_ARRAY_MAGIC = b"LNP1"  # of lsmkv.codecs.numpy
# bfloat16 is the upper half of a float32.
_CODES = {"float32": "f", "float16": "e", "bfloat16": "H", "int8": "b"}


@dataclass(frozen=True, slots=True)
class Array:
    """A value that is numbers.

    Attributes:
        dtype: What they are.
        shape: How many, in each dimension.
        numbers: All of them, in C order.
    """

    dtype: str
    shape: tuple[int, ...]
    numbers: tuple[float, ...]

    def __post_init__(self) -> None:
        """Check that the numbers are those of the shape."""
        assert len(self.numbers) == math.prod(self.shape)

    @property
    def norm(self) -> float:
        """The length of it as a vector."""
        return math.sqrt(math.fsum(x * x for x in self.numbers))


Value = bytes | Array


def read(data: bytes, schema: VectorSchema | None) -> Value:
    """Take a value of a namespace for the numbers that it is, if it is."""
    if schema is not None and len(data) == schema.row_bytes:
        numbers = _unpack(data, schema.dtype, schema.dim)
        return Array(schema.dtype, (schema.dim,), numbers)
    if data.startswith(_ARRAY_MAGIC):
        return _decode_array(data) or data
    return data


def _unpack(data: bytes, dtype: str, dim: int) -> tuple[float, ...]:
    found = struct.unpack(f"<{dim}{_CODES[dtype]}", data)
    if dtype == "bfloat16":
        words = struct.pack(f"<{dim}I", *(bits << 16 for bits in found))
        found = struct.unpack(f"<{dim}f", words)
    return found


def _decode_array(data: bytes) -> Array | None:
    """Read what `lsmkv.codecs.numpy` wrote; None if it is no such, or none of numbers.

    Without NumPy none is.
    """
    from lsmkv import CorruptionError, codecs

    try:
        found: Any = codecs.numpy.decode(data)
    except (CorruptionError, ImportError):
        return None
    if found.dtype.kind not in "biuf" or found.size > _ARRAY_MAX:
        return None
    return Array(found.dtype.name, found.shape, tuple(found.ravel().tolist()))


def type_numbers(typed: str, schema: VectorSchema) -> bytes:
    """Read a row of numbers as it is typed: [1, 0.5, -2]."""
    try:
        numbers = json.loads(typed)
        if not isinstance(numbers, list) or len(numbers) != schema.dim:
            raise CommandError(f"a row here has {schema.dim} numbers: [1, 0.5, ...]")
        if schema.dtype == "bfloat16":
            words = struct.unpack(
                f"<{schema.dim}I", struct.pack(f"<{schema.dim}f", *numbers)
            )
            # To the nearest, and of two as near to the even one.
            numbers = [(word + 0x7FFF + (word >> 16 & 1)) >> 16 for word in words]
        return struct.pack(f"<{schema.dim}{_CODES[schema.dtype]}", *numbers)
    except (ValueError, OverflowError, struct.error) as error:
        raise CommandError(f"this is no row of {schema.dtype}: {error}") from error


def line(value: Value, width: int | None = None) -> str:
    """Write a value in one line, of at most `width` columns; None: all of it."""
    if isinstance(value, Array):
        return cut(_array_line(value), width)
    if len(value) <= _LINE_JSON_MAX and _as_json(value) is not None:
        # Line ends are between its parts: in its strings they are escaped.
        joined = re.sub(r"\s*[\n\r\t]\s*", " ", value.decode().strip())
        return cut(_printable(joined), width, len(value))
    if width is not None and len(value) > 4 * width:
        return _cut_bytes(value, width)
    return cut(text.show(value), width, len(value))


def lines(value: Value, width: int | None = None, height: int | None = None) -> str:
    """Write a value in as many lines as it needs, of at most `height`; None: all."""
    if isinstance(value, Array):
        return cut(_array_line(value), width)
    found = _as_json(value)
    if found is not None:
        try:
            return _cut_lines(_pretty(found), len(value), width, height)
        except RecursionError:
            pass  # too deep for a picture
    room = None if width is None or height is None else width * height
    if room is not None and len(value) > 4 * room:
        return _cut_bytes(value, room)
    return cut(text.show(value), room, len(value))


def cut(shown: str, width: int | None, size: int | None = None) -> str:
    """Cut a line to a width; with what is left out marked, and the size told."""
    if width is None or cell_len(shown) <= width:
        return shown
    mark = "…" if size is None else f"… ({render.size(size)})"
    return set_cell_size(shown, max(width - cell_len(mark), 1)).rstrip() + mark


def _cut_bytes(data: bytes, width: int) -> str:
    """Show the beginning of what has more bytes than there is room for.

    A character has at most four bytes. Of the last one some may be missing, and
    others may take no room: so the end is cut off in any case.
    """
    shown = text.show(data[: 4 * width])
    mark = f"… ({render.size(len(data))})"
    room = min(width - cell_len(mark), cell_len(shown) - 4)
    return set_cell_size(shown, max(room, 1)).rstrip() + mark


def _cut_lines(shown: str, size: int, width: int | None, height: int | None) -> str:
    if width is None or height is None:
        return shown
    found = [cut(each, width) for each in shown.split("\n")]
    if len(found) > height:
        found = [*found[: height - 1], f"… ({render.size(size)})"]
    return "\n".join(found)


def _array_line(array: Array) -> str:
    head = ", ".join(number(x) for x in array.numbers[:HEAD])
    more = ", …" if len(array.numbers) > HEAD else ""
    return f"{array.dtype} {array.shape}  norm {number(array.norm)}  [{head}{more}]"


def number(x: float) -> str:
    """Write a number of an array: 6 digits, and no more than it has."""
    return f"{x:.6g}"


def all_numbers(array: Array, width: int) -> str:
    """Write all numbers of an array in columns, each line with the place of its first.

    At most ten to a line, so that places are easy to find.
    """
    cells = [number(x) for x in array.numbers]
    longest = max(map(len, cells), default=1)
    margin = len(str(len(cells)))
    count = min(max((width - margin) // (longest + 2), 1), 10)
    return "\n".join(
        f"{at:>{margin}}"
        + "".join(f"  {cell:>{longest}}" for cell in cells[at : at + count])
        for at in range(0, len(cells), count)
    )


def _as_json(data: bytes) -> Any | None:
    """Return the object or list that a value is as JSON, or None."""
    if len(data) > _JSON_MAX or data.lstrip()[:1] not in (b"{", b"["):
        return None
    try:
        found = json.loads(
            data.decode(),
            parse_float=_Written,
            parse_int=_Written,
            parse_constant=_refuse,
            object_pairs_hook=_refuse_twice,
        )
    except (ValueError, RecursionError):
        return None
    return found


class _Written(str):
    """A number as it is written, which no other number is."""

    __slots__ = ()


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def _refuse_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice: as text it can be seen")
    return found


def _pretty(found: Any, margin: str = "") -> str:
    """Write JSON, what is long in several lines; numbers as they were."""
    if isinstance(found, _Written):
        return str(found)
    if not isinstance(found, dict | list):
        return _printable(json.dumps(found, ensure_ascii=False))
    deeper = margin + "  "
    parts = [_pretty(each, deeper) for each in _each(found)]
    if isinstance(found, dict):
        names = (_printable(json.dumps(name, ensure_ascii=False)) for name in found)
        parts = [f"{name}: {part}" for name, part in zip(names, parts, strict=True)]
    opening, closing = "{}" if isinstance(found, dict) else "[]"
    whole = f"{opening}{', '.join(parts)}{closing}"
    if len(whole) <= _SHORT and "\n" not in whole:
        return whole
    inside = f",\n{deeper}".join(_fill(parts) if opening == "[" else parts)
    return f"{opening}\n{deeper}{inside}\n{margin}{closing}"


def _fill(parts: list[str]) -> list[str]:
    """Join what is short to lines."""
    found = parts[:1]
    for part in parts[1:]:
        joined = f"{found[-1]}, {part}"
        if len(joined) <= _SHORT and "\n" not in joined:
            found[-1] = joined
        else:
            found.append(part)
    return found


def _each(found: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return found.values() if isinstance(found, dict) else found


def _printable(shown: str) -> str:
    """Escape, as JSON does, what a terminal must not be sent."""
    return "".join(
        each if each.isprintable() or each in " \n\t\r" else _escaped(each)
        for each in shown
    )


def _escaped(character: str) -> str:
    return json.dumps(character)[1:-1]

# SPDX-License-Identifier: Apache-2.0
"""Goal: values are shown so that one sees what they are, and rows of numbers are typed.

Method: examples of each kind; any bytes with hypothesis, for width and for what can be
typed again; numpy says what rows of numbers are.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from lsmkv import VectorSchema, codecs
from lsmkv.cli import text, values
from lsmkv.cli.command import CommandError


def schema(dtype: str, dim: int = 4) -> VectorSchema:
    return VectorSchema(dim=dim, dtype=dtype, metric="dot")  # type: ignore[arg-type]


@given(st.binary(max_size=200), st.integers(20, 90))
def test_a_line_has_its_width_and_all_of_it_can_be_typed(
    data: bytes, width: int
) -> None:
    shown = values.line(data, width)
    assert cell_len(shown) <= width
    assert shown.isprintable()
    assert values.line(data).isprintable()
    if values.line(data) == text.show(data):  # else it is JSON
        assert text.parse(values.line(data)) == data


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"hello", "hello"),
        (b"", '""'),
        (b"\x00\xff\n", "\\x00\\xff\\n"),
        (b'{"a":\n  [1, 2]}\n', '{"a": [1, 2]}'),
        (b'{"a": "\x7f\xe2\x80\xae"}', '{"a": "\\u007f\\u202e"}'),
        (b"{no json}", '"{no json}"'),
        (b"[NaN]", "[NaN]"),
        (b'{"a": 1, "a": 2}', '"{\\"a\\": 1, \\"a\\": 2}"'),
        (b"x" * 100, "x" * 22 + "… (100 B)"),
        (b"x" * 1_000_000, "x" * 20 + "… (1.0 MB)"),
    ],
)
def test_examples_of_lines(data: bytes, shown: str) -> None:
    assert values.line(data, 31 if len(data) < 1000 else 30) == shown


def test_what_is_too_long_is_cut_in_any_alphabet() -> None:
    combining = "a\u0300" * 500  # no columns for every second character
    for data in (combining.encode(), "\U0001f600".encode() * 500, b"\xff" * 500):
        shown = values.line(data, 40)
        assert cell_len(shown) <= 40
        assert "… (" in shown


def test_json_is_written_in_lines_with_its_numbers_as_they_were() -> None:
    source = {"name": "Ada", "list": list(range(60)), "deep": {"a": ["x" * 70, None]}}
    data = json.dumps(source).replace("59", "1.50e3").encode()
    shown = values.lines(data)
    assert shown.splitlines()[:3] == [
        "{",
        '  "name": "Ada",',
        '  "list": [',
    ]
    assert "1.50e3" in shown
    assert json.loads(shown) == json.loads(data)
    assert max(map(len, shown.splitlines())) < 80
    assert values.lines(b'{"a": [1, 2], "b": {}}') == '{"a": [1, 2], "b": {}}'


def test_json_is_cut_to_the_terminal() -> None:
    data = json.dumps(["x" * 100] * 50).encode()
    shown = values.lines(data, 40, 10).splitlines()
    assert len(shown) == 10
    assert shown[-1] == f"… ({len(data) / 1000:.1f} kB)"
    assert all(cell_len(each) <= 40 for each in shown)


def test_json_that_is_too_deep_is_text() -> None:
    data = b"[" * 480 + b"]" * 480
    assert json.loads(values.lines(data)) == json.loads(data)
    assert values.lines(b"[" * 5000 + b"]" * 5000).startswith("[[")


def test_long_text_is_cut_to_the_terminal_with_its_size() -> None:
    assert values.lines(b"x" * 5000, 50, 4) == "x" * (200 - 10) + "… (5.0 kB)"
    assert values.lines(b"x" * 700, 50, 4) == "x" * (200 - 9) + "… (700 B)"
    assert values.lines(b"x" * 5000) == "x" * 5000


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_rows_are_the_numbers_that_numpy_sees(dtype: str) -> None:
    row = np.array([1, -2, 3, 100], dtype)
    found = values.read(row.tobytes(), schema(dtype))
    assert isinstance(found, values.Array)
    assert found.numbers == tuple(row.tolist())
    assert found.norm == pytest.approx(float(np.linalg.norm(row.astype("float64"))))
    assert values.line(found) == f"{dtype} (4,)  norm 100.07  [1, -2, 3, 100]"
    assert values.type_numbers("[1, -2, 3, 100]", schema(dtype)) == row.tobytes()


def test_rows_of_bfloat16_are_rounded_to_the_nearest() -> None:
    typed = values.type_numbers("[1, -2.5, 1.00390625, 1e-40]", schema("bfloat16"))
    found = values.read(typed, schema("bfloat16"))
    assert isinstance(found, values.Array)
    assert found.numbers[:3] == (1.0, -2.5, 1.0)  # a half goes to the even one
    assert found.numbers[3] == pytest.approx(1e-40, rel=0.01)


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("[1, 2]", "4 numbers"),
        ("{}", "4 numbers"),
        ("[1, 2, 3", "no row of int8"),
        ("[1, 2, 3, 300]", "no row of int8"),
        ("[1, 2, 3, 1.5]", "no row of int8"),
    ],
)
def test_rows_that_are_none_are_refused(typed: str, why: str) -> None:
    with pytest.raises(CommandError, match=why):
        values.type_numbers(typed, schema("int8"))
    with pytest.raises(CommandError, match="no row of float16"):
        values.type_numbers("[1, 2, 3, 1e300]", schema("float16"))


def test_a_value_that_is_no_row_is_bytes() -> None:
    assert values.read(b"12345", schema("float32")) == b"12345"


def test_stored_arrays_show_their_shape() -> None:
    data = bytes(codecs.numpy.encode(np.arange(12, dtype="int32").reshape(3, 4)))
    shown = "int32 (3, 4)  norm 22.4944  [0, 1, 2, 3, 4, 5, …]"
    assert values.line(values.read(data, None)) == shown
    assert values.lines(values.read(data, None), 30, 5) == shown[:29].rstrip() + "…"
    times = bytes(codecs.numpy.encode(np.array(["2026-01-01"], "M8[D]")))
    assert values.read(times, None) == times
    assert values.read(data[:-1], None) == data[:-1]


def test_all_numbers_stand_in_columns() -> None:
    found = values.Array("int8", (12,), tuple(map(float, range(12))))
    assert values.all_numbers(found, 100).splitlines() == [
        " 0   0   1   2   3   4   5   6   7   8   9",
        "10  10  11",
    ]
    assert len(values.all_numbers(found, 10).splitlines()) == 6

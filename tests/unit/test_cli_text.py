# SPDX-License-Identifier: Apache-2.0
"""Goal: what the terminal shows of a key can be typed, and means the same key.

Method: any bytes and any text with hypothesis, and the examples of the module.
"""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lsmkv.cli import text


@given(st.binary(max_size=40) | st.text(max_size=20).map(str.encode))
@example(b'"a"')
@example(b"-n")
@example(b"\\n\n")
@example("é\u00a0\u202e".encode())
@example(b"\xed\xa0\x80")
def test_what_is_shown_is_read_as_the_same_bytes(data: bytes) -> None:
    assert text.parse(text.show(data)) == data
    assert text.unescape(text.escape(data)) == data
    assert text.words(f"{text.show(data)} {text.show(data)}") == [text.show(data)] * 2
    assert text.show(data).isprintable()


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"user/1", "user/1"),
        ("grüße".encode(), "grüße"),
        (b"", '""'),
        (b"two words", '"two words"'),
        (b"\x00\xff\n", "\\x00\\xff\\n"),
        (b'say "a\\b"', '"say \\"a\\\\b\\""'),
        (b"-x", '"-x"'),
    ],
)
def test_examples(data: bytes, shown: str) -> None:
    assert text.show(data) == shown


@pytest.mark.parametrize("wrong", ["\\", "\\q", "a\\x1", "\\xzz"])
def test_an_escape_that_is_none_is_refused_with_its_place(wrong: str) -> None:
    with pytest.raises(text.TextError, match="column"):
        text.parse(wrong)


def test_an_open_quote_is_an_error() -> None:
    assert text.words('put "a b"  c\\x20d ""') == ["put", '"a b"', "c\\x20d", '""']
    with pytest.raises(text.TextError, match="column 5: this quote is not closed"):
        text.words('put "a b')


def test_single_quotes_are_those_of_other_shells() -> None:
    line = """put '{"a": 1}' '' 'x\\\\n' a'b"""
    assert text.words(line) == ["put", '{"a": 1}', "", "x\\\\n", "a'b"]
    with pytest.raises(text.OpenQuoteError, match="column 3"):
        text.words("a 'b")


@pytest.mark.parametrize("line", ["a 'b'c", 'a "b"c "d"'])
def test_behind_a_quote_is_a_space(line: str) -> None:
    with pytest.raises(text.TextError, match="column 3: a space goes behind") as found:
        text.words(line)
    assert not isinstance(found.value, text.OpenQuoteError)

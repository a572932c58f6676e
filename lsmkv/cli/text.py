# SPDX-License-Identifier: Apache-2.0
r"""Keys and values as text, for a terminal: what is shown can be typed.

    user/1          printable text stands for itself
    "two words"     in quotes where there are spaces, quotes, nothing, or a `-` in front
    \x00 \xff       bytes that are no UTF-8, or not printable
    \n \t \r \\ \"  line end, tab, return, backslash, quote
    '{"a": 1}'      in single quotes, in the shell as in others: as if there were none

Every byte string is shown in one way; reading takes any mixture of these.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_NAMED = str.maketrans({"\n": "\\n", "\t": "\\t", "\r": "\\r", "\\": "\\\\"})
_READ = {"n": b"\n", "t": b"\t", "r": b"\r", "\\": b"\\", '"': b'"', "'": b"'"}
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|.|$)", re.DOTALL)
_WORD = re.compile(
    r"""\s*(?:(?P<word>"(?:[^"\\]|\\.)*"|'[^']*'|[^\s"']\S*)(?=\s|$)|(?P<rest>\S.*))""",
    re.DOTALL,
)
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SINGLE = re.compile(r"'[^']*'")
_BARE = re.compile(r'[^\s"\'-][^\s"\']*')


class TextError(ValueError):
    """A text is no key or value; the message says where."""


def escape(data: bytes) -> str:
    """Write bytes as text, without quotes: what JSON output holds."""
    return data.decode("utf-8", "surrogateescape").translate(_ESCAPES)


def plain(data: bytes) -> str | None:
    r"""Return what `escape` does, but None where that has a \x: quick in any case."""
    try:
        text = data.decode().translate(_NAMED)
    except UnicodeDecodeError:
        return None
    return text if text.isprintable() else None


class _Escapes(dict[int, str]):
    """What is written for a character; those of most texts and all bytes are kept."""

    def __missing__(self, code: int) -> str:
        """Write a character that was not met before."""
        character = chr(code)
        shown = _NAMED.get(code) or character
        if not shown.isprintable():
            raw = character.encode("utf-8", "surrogateescape")
            shown = "".join(f"\\x{byte:02x}" for byte in raw)
        if code < _KEPT or code in _BYTES:
            self[code] = shown
        return shown


_KEPT = 0x500
_BYTES = range(0xDC80, 0xDD00)  # what surrogateescape makes of bytes that are no UTF-8
_ESCAPES = _Escapes()


def show(data: bytes) -> str:
    """Write bytes as they are typed: in quotes if they need them."""
    text = escape(data)
    if _BARE.fullmatch(text):
        return text
    return '"' + text.replace('"', '\\"') + '"'


def parse(text: str) -> bytes:
    """Read what `show` wrote; TextError says what cannot be read."""
    return unescape(text[1:-1] if _QUOTED.fullmatch(text) else text)


def unescape(text: str) -> bytes:
    """Read what `escape` wrote; TextError says what cannot be read."""
    parts, at = [], 0
    for match in _ESCAPE.finditer(text):
        parts.append(text[at : match.start()].encode("utf-8", "surrogateescape"))
        parts.append(_byte_of(match))
        at = match.end()
    parts.append(text[at:].encode("utf-8", "surrogateescape"))
    return b"".join(parts)


def _byte_of(match: re.Match[str]) -> bytes:
    found = match[1]
    if len(found) == 3:
        return bytes([int(found[1:], 16)])
    if found in _READ:
        return _READ[found]
    raise TextError(
        f"column {match.start() + 1}: \\{found} is none of \\xNN, \\n, \\t, \\r, "
        '\\\\ and \\"'
    )


class OpenQuoteError(TextError):
    """A quote is open at the end: there is more to come."""


def pieces(line: str) -> Iterator[tuple[int, str]]:
    """Yield where each word of a line starts, and the word with its quotes.

    Words end at spaces outside quotes. The last one may be unfinished: a quote that is
    not closed, or has no space behind it, and the rest of the line.
    """
    for match in _WORD.finditer(line):
        name = "word" if match["rest"] is None else "rest"
        yield match.start(name), match[name]


def words(line: str) -> list[str]:
    """Take a line apart where there are spaces outside quotes.

    Double quotes stay on, for `parse`; what is in single quotes is taken as it is.

    Raises:
        OpenQuoteError: A quote is open at the end.
        TextError: There is no space behind a quote.
    """
    found = []
    for start, word in pieces(line):
        if word[0] not in "\"'" or _QUOTED.fullmatch(word):
            found.append(word)
        elif _SINGLE.fullmatch(word):
            found.append(word[1:-1])
        elif _QUOTED.match(word) or _SINGLE.match(word):
            raise TextError(f"column {start + 1}: a space goes behind this quote")
        else:
            raise OpenQuoteError(f"column {start + 1}: this quote is not closed")
    return found

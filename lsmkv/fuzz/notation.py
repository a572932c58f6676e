# SPDX-License-Identifier: Apache-2.0
r"""How scripts write keys and values: every byte string has a text, and one only.

    key/001        letters, digits and _ / . : - stand for themselves
    "a b\x00\xff"  anything else in quotes, with \xNN, \" and \\
    "long 1"*80    the same, so many times over: from 32 bytes on
    @1500/7        1500 bytes of a pattern that begins with 7: from 16 bytes on
"""

from __future__ import annotations

import re

PATTERN_SIZE_MIN = 16
REPEATED_SIZE_MIN = 32
PERIOD_MAX = 16

_BARE = re.compile(rb"[A-Za-z0-9_/.:\-]+")
_TOKEN = re.compile(
    r"\s*(?:(?P<option>[a-z_0-9]+)=)?"
    r"(?:@(?P<size>\d+)/(?P<start>\d+)"
    r'|(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[A-Za-z0-9_/.:\-]+))'
    r"(?:\*(?P<times>\d+))?)(?=\s|$)"
)
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|.)")


class NotationError(ValueError):
    """A line is not in this notation; the text says where."""


def pattern(size: int, start: int) -> bytes:
    """Return `size` bytes that begin with `start` and differ from their neighbours."""
    period = bytes((start + i * 7) % 256 for i in range(256))
    return (period * (size // 256 + 1))[:size]


def show(data: bytes) -> str:
    """Write a key or a value."""
    if len(data) >= PATTERN_SIZE_MIN and data == pattern(len(data), data[0]):
        return f"@{len(data)}/{data[0]}"
    if len(data) >= REPEATED_SIZE_MIN:
        for period in range(1, PERIOD_MAX + 1):
            if len(data) % period == 0 and data == data[:period] * (
                len(data) // period
            ):
                return f"{_literal(data[:period])}*{len(data) // period}"
    return _literal(data)


def _literal(data: bytes) -> str:
    if _BARE.fullmatch(data):
        return data.decode()
    shown = "".join(
        chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else _escape(byte)
        for byte in data
    )
    return f'"{shown}"'


def _escape(byte: int) -> str:
    return f"\\{chr(byte)}" if byte in b'"\\' else f"\\x{byte:02x}"


def _unescape(match: re.Match[str]) -> str:
    if len(match[1]) == 3:
        return chr(int(match[1][1:], 16))
    if match[1] in '"\\':
        return match[1]
    raise NotationError(f'\\{match[1]}: expected \\xNN, \\" or \\\\')


def split(line: str) -> tuple[list[bytes], dict[str, bytes]]:
    """Take a line apart: byte strings, and those that an option names (name=...).

    NotationError says what cannot be read, and at which column.
    """
    words: list[bytes] = []
    options: dict[str, bytes] = {}
    at, line = 0, line.rstrip()
    while at < len(line):
        match = _TOKEN.match(line, at)
        if match is None:
            rest = line[at:].lstrip()
            column = len(line) - len(rest) + 1
            raise NotationError(f"column {column}: cannot read {rest!r}")
        data = _data_of(match)
        if match["option"] is None:
            words.append(data)
        else:
            options[match["option"]] = data
        at = match.end()
    return words, options


def _data_of(match: re.Match[str]) -> bytes:
    if match["size"] is not None:
        return pattern(int(match["size"]), int(match["start"]))
    if match["bare"] is not None:
        data = match["bare"].encode()
    else:
        data = _ESCAPE.sub(_unescape, match["quoted"]).encode("latin-1")
    return data * int(match["times"] or 1)

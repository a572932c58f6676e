# SPDX-License-Identifier: Apache-2.0
"""The smallest pieces of the second reader: integers, checksums and complaints."""

from __future__ import annotations

import struct

import xxhash


class WrongBytesError(Exception):
    """The directory is not what the page says."""


def need(truth: object, what: str) -> None:
    """Raise unless it holds."""
    if not truth:
        raise WrongBytesError(what)


class Cursor:
    """Takes integers and pieces from the front of bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    @property
    def left(self) -> int:
        return len(self.data) - self.at

    def take(self, size: int) -> bytes:
        need(size <= self.left, f"{size} bytes expected, {self.left} left")
        self.at += size
        return self.data[self.at - size : self.at]

    def uint(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def varint(self) -> int:
        value = 0
        for place in range(10):
            byte = self.uint(1)
            value |= (byte & 0x7F) << 7 * place
            if byte < 0x80:
                need(byte or place == 0, "a varint that is too long")
                need(value < 1 << 64, "a varint that is too large")
                return value
        raise WrongBytesError("a varint of more than 10 bytes")

    def slice(self) -> bytes:
        return self.take(self.varint())

    def handle(self) -> tuple[int, int]:
        return self.varint(), self.varint()


def unzigzag(value: int) -> int:
    """Return the signed number."""
    return value >> 1 ^ -(value & 1)


def checksum(file_id: int, offset: int, data: bytes) -> int:
    """Return the checksum of a piece of a file."""
    place = xxhash.xxh3_64_intdigest(struct.pack("<Q", offset), file_id)
    return xxhash.xxh3_64_intdigest(data) ^ place

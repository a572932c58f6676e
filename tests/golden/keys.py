# SPDX-License-Identifier: Apache-2.0
"""Keys and value fields: what tables and batches hold alike.

Made from docs/file-format.md alone, as the reader of which it is a part.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from golden.cursor import Cursor, need

PUT, DELETE, RANGE_DELETE, POINTER, CACHED = 1, 2, 3, 4, 6
EXPIRES, FRESH = 0x10, 0x20
SEQUENCE_MAX = (1 << 56) - 1
EXCLUSIVE = (1 << 64) - 1  # the trailer of an end that is outside
POINTER_SIZE = 28
ALIGN = 64


def need_value(place: Place, field: bytes) -> None:
    """Check that a value field has what its tag names."""
    need(place.tag != DELETE or not field, "a value of a DELETE")
    need(len(field) >= times_size(place.tag), "times cut short")
    if place.kind in (POINTER, CACHED):
        need(len(field) == times_size(place.tag) + POINTER_SIZE, "size of a pointer")


def need_range(start: bytes, stop: bytes) -> None:
    """Check the ends of a range delete, which are stored keys of one namespace."""
    need(min(len(start), len(stop)) >= 4 and start < stop, "an empty range")
    following = int.from_bytes(start[:4], "big") + 1
    need(stop[:4] == start[:4] or stop == following.to_bytes(4, "big"), "its end")


def times_size(tag: int) -> int:
    """Return the size of the times in front of a value."""
    return (8 if tag & EXPIRES else 0) + (8 if tag & FRESH else 0)


def expire_at(place: Place, field: bytes) -> int | None:
    """Return when a version is dead; None is never."""
    return int.from_bytes(field[:8], "little") if place.tag & EXPIRES else None


@dataclasses.dataclass(frozen=True, order=True)
class Place:
    """An internal key; its order is that of the format."""

    stored_key: bytes
    minus_trailer: int

    @classmethod
    def bound(cls, internal_key: bytes, is_bound: Callable[[Place], bool]) -> Place:
        """Read a bound of a table: a key, or what `is_bound` accepts besides."""
        need(len(internal_key) >= 12, "an internal key of less than 12 bytes")
        place = cls(internal_key[:-8], -int.from_bytes(internal_key[-8:], "little"))
        return place if is_bound(place) else cls.of(internal_key)

    @classmethod
    def of(cls, internal_key: bytes) -> Place:
        place = cls.bound(internal_key, lambda _: True)
        kind, known = place.tag & 0xF, place.tag & 0x3F == place.tag
        has_value = kind in (PUT, POINTER, CACHED) and known
        need(place.tag == DELETE or has_value, f"tag {place.tag}")
        return place

    @property
    def is_exclusive(self) -> bool:
        return self.minus_trailer == -EXCLUSIVE

    @property
    def sequence(self) -> int:
        return -self.minus_trailer >> 8

    @property
    def tag(self) -> int:
        return -self.minus_trailer & 0xFF

    @property
    def kind(self) -> int:
        return self.tag & 0xF

    @property
    def size(self) -> int:
        return len(self.stored_key) + 8


Version = tuple[Place, bytes]  # and its value field


def split_pointer(place: Place, field: bytes) -> tuple[bytes, int, int, int, int]:
    """Return times, segment, offset, size and checksum."""
    cursor = Cursor(field)
    times = cursor.take(times_size(place.tag))
    return times, cursor.uint(8), cursor.uint(8), cursor.uint(4), cursor.uint(8)

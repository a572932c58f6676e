# SPDX-License-Identifier: Apache-2.0
"""Reads cache segments for golden.reader, from docs/file-format.md alone."""

from __future__ import annotations

import xxhash

from golden.cursor import Cursor, checksum, need

CACHE = 4
ALIGN = 64


def read_caches(
    files: dict[int, bytes], uuid: bytes, known: dict[int, tuple[int, int]]
) -> None:
    """Check all cache segments."""
    for number, data in files.items():
        read_frames(data, uuid, number, known[number])


def read_cached(pointer: bytes, caches: dict[int, bytes]) -> bytes | None:
    """Return the value of a cache, or None: it may be gone."""
    cursor = Cursor(pointer)
    number, offset, size = cursor.uint(8), cursor.uint(8), cursor.uint(4)
    need(offset % 8 == 0, "place of a cached value")
    value = caches.get(number, b"")[offset : offset + size]
    right = xxhash.xxh3_64_intdigest(value) == cursor.uint(8)
    return value if number in caches and len(value) == size and right else None


def read_frames(data: bytes, uuid: bytes, number: int, known: tuple[int, int]) -> None:
    """Check the frames of a cache segment, as of a database closed in peace."""
    head = Cursor(data[:64])
    need(head.take(8) == b"LSMKVREC" and head.uint(4) == 1, "a cache segment")
    need(head.uint(4) == CACHE and head.take(16) == uuid, "type or UUID")
    need(head.uint(8) == number, "number")
    file_id = head.uint(8)
    need(file_id == known[0] and head.uint(8) == 0, "file id")
    need(head.uint(8) == xxhash.xxh3_64_intdigest(data[:56]), "header")
    offset = ALIGN
    while offset < len(data):
        frame = Cursor(data[offset:])
        digest, value_digest = frame.uint(8), frame.uint(8)
        size, key_size = frame.uint(4), frame.uint(4)
        key = data[offset + 24 : offset + 24 + key_size]
        found = checksum(file_id, offset, data[offset + 8 : offset + 24 + key_size])
        need(found == digest, "checksum of a frame")
        space = known[1]
        need(int.from_bytes(key[:4], "big") == space, "namespace of a frame")
        unit = ALIGN if size >= 1024 else 8
        start = offset + -(-(24 + key_size) // unit) * unit
        need(not any(data[offset + 24 + key_size : start]), "zeros of a frame")
        value = data[start : start + size]
        need(xxhash.xxh3_64_intdigest(value) == value_digest, "value of a frame")
        offset = -(-(start + size) // ALIGN) * ALIGN

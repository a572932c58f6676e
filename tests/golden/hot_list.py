# SPDX-License-Identifier: Apache-2.0
"""Reads a hot list as docs/file-format.md says."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import xxhash

from golden.cursor import Cursor, need

HEAT_MAX = 8
SIZE_MAX = 64 << 20


@dataclasses.dataclass(frozen=True)
class Group:
    """A part of one file: blocks of a table, or for heat 0 values of a segment."""

    heat: int
    number: int
    places: tuple[int, ...]
    byte_count: int


NAME = "HOTLIST"


def read_hot_list(directory: Path, uuid: bytes) -> list[Group] | None:
    """Read the list of a database to its last byte, if there is one."""
    path = directory / NAME
    if not path.exists():
        return None
    data = path.read_bytes()
    need(len(data) <= SIZE_MAX, "size of a hot list")
    head = Cursor(data[:64])
    need(head.take(8) == b"LSMKVHOT", "magic of a hot list")
    need(head.uint(4) == 1 and head.uint(4) == 0, "version of a hot list")
    need(head.take(16) == uuid, "UUID of a hot list")
    need(head.uint(8) == len(data) - 64, "size of a hot list")
    need(head.uint(8) == xxhash.xxh3_64_intdigest(data[64:]), "checksum of groups")
    need(head.uint(8) == 0, "zeros of a hot list")
    need(head.uint(8) == xxhash.xxh3_64_intdigest(data[:56]), "checksum of the header")
    body = Cursor(data[64:])
    groups = []
    while body.left:
        heat, number = body.uint(1), body.varint()
        places: list[int] = []
        while gap := body.varint():
            places.append((places[-1] if places else -1) + gap)
        need(places and places[-1] < 1 << 32, "places of a group")
        groups.append(Group(heat, number, tuple(places), body.varint()))
    order = [(-group.heat, group.number) for group in groups]
    need(order == sorted(set(order)), "order of the groups")
    need(all(x.heat <= HEAT_MAX and x.number for x in groups), "heat and number")
    return groups

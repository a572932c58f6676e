# SPDX-License-Identifier: Apache-2.0
"""Reads the system namespace: options, namespaces, pins, published versions.

Made from docs/file-format.md alone, as the reader of which it is a part.
"""

from __future__ import annotations

import dataclasses

from golden.cursor import Cursor, need, unzigzag

Version = tuple[str, str]  # what was published: its name and its version


@dataclasses.dataclass(frozen=True)
class System:
    """What the engine's own rows say."""

    options: dict[int, int]
    spaces: dict[str, int]  # ids by name
    published: dict[Version, int]  # likewise
    begun: set[Version]  # of them, those that nobody has finished
    currents: dict[str, str]  # what readers see
    pins: set[tuple[int, bytes]]  # ids and keys


def read_system(rows: dict[bytes, bytes]) -> System:
    """Take the engine's own rows apart."""
    options = read_options(rows.pop(b"options"))
    published, begun, currents = read_published(rows)
    spaces = read_spaces(rows, published)
    pins = read_pins(rows)
    need(not rows, "unknown keys of the engine's")
    need({number for number, _ in pins} <= {*spaces.values()}, "a pin of nothing")
    return System(options, spaces, published, begun, currents, pins)


def read_options(value: bytes) -> dict[int, int]:
    """Read the remembered options."""
    cursor = Cursor(value)
    need(cursor.uint(1) == 1, "version of the options")
    options: dict[int, int] = {}
    while cursor.left:
        tag = cursor.varint()
        need(max(options, default=0) < tag <= 9, "tag of an option")
        options[tag] = cursor.varint()
    options[4] = unzigzag(options[4])
    return options


def read_definition(value: Cursor) -> int:
    """Read what defines a namespace; return its id."""
    need(value.uint(1) == 1, "version of a namespace")
    number = value.uint(4)
    found: dict[int, int] = {}
    while value.left:
        tag = value.varint()
        need(max(found, default=0) < tag <= len(LIMITS), "tag of a namespace")
        found[tag] = value.varint()
        low, high = LIMITS[tag]
        need(low <= found[tag] <= high, f"tag {tag} of a namespace")
    vectors, caches = {7, 8, 9} & {*found}, {5, 6} & {*found}
    need(len(vectors) in (0, 3) and len(caches) in (0, 2), "half of what it is")
    return number


# By tag: the smallest and the largest number.
LIMITS = {
    1: (1, (1 << 63) - 1),
    2: (1, (1 << 63) - 1),
    3: (1, 8),
    4: (1, (1 << 32) - 1),
    5: (65536, (1 << 63) - 1),
    6: (1, 1),
    7: (1, 1 << 20),
    8: (1, 4),
    9: (1, 3),
}


def read_published(
    rows: dict[bytes, bytes],
) -> tuple[dict[Version, int], set[Version], dict[str, str]]:
    """Take what is known of published versions out of the engine's own rows."""
    found: dict[Version, int] = {}
    begun: set[Version] = set()
    for key in [key for key in rows if key.startswith(b"publish/")]:
        name, _, version = key.decode().removeprefix("publish/").rpartition("/")
        value = Cursor(rows.pop(key))
        need(bool(name and version), "key of a published version")
        need(value.uint(1) == 1, "format of a published version")
        state = value.uint(1)
        need(state in (1, 2), "state of a published version")
        if state == 1:
            begun.add((name, version))
        value.take(32)  # when, rows, bytes, edit mark
        found[name, version] = read_definition(value)
    currents = {
        key.decode().removeprefix("published/"): rows.pop(key).decode()
        for key in [key for key in rows if key.startswith(b"published/")]
    }
    need(found.keys() - begun >= {*currents.items()}, "a current version")
    return found, begun, currents


def read_spaces(
    rows: dict[bytes, bytes], published: dict[Version, int]
) -> dict[str, int]:
    """Take the definitions of namespaces out of the engine's own rows."""
    found: dict[str, int] = {}
    for key in [key for key in rows if key.startswith(b"namespace/")]:
        name = key.removeprefix(b"namespace/").decode()
        found[name] = read_definition(Cursor(rows.pop(key)))
    following = int.from_bytes(
        rows.pop(b"next_namespace", bytes([2, 0, 0, 0])), "little"
    )
    ids = [*found.values(), *published.values()]
    need(all(2 <= number < following for number in ids), "ids")
    need(len(set(ids)) == len(ids), "an id twice")
    return found


def read_pins(rows: dict[bytes, bytes]) -> set[tuple[int, bytes]]:
    """Take the pins out of the engine's own rows."""
    found: set[tuple[int, bytes]] = set()
    for key in [key for key in rows if key.startswith(b"pin/")]:
        need(len(key) >= 8 and len(rows.pop(key)) == 8, "a pin")
        found.add((int.from_bytes(key[4:8], "big"), key[8:]))
    return found

# SPDX-License-Identifier: Apache-2.0
"""Reads what the system namespace says of namespaces and published versions.

Made from docs/file-format.md alone, as the reader of which it is a part.
"""

from __future__ import annotations

from golden.cursor import Cursor, need


def read_definition(value: Cursor) -> int:
    """Read what defines a namespace; return its id."""
    need(value.uint(1) == 1, "version of a namespace")
    number = value.uint(4)
    tags = [0]
    while value.left:
        tag = value.varint()
        need(tag <= 9, "options of a namespace")
        need(tags[-1] < tag and value.varint() > 0, "options of a namespace")
        tags.append(tag)
    vectors, caches = {7, 8, 9} & {*tags}, {5, 6} & {*tags}
    need(len(vectors) in (0, 3) and len(caches) in (0, 2), "half of what it is")
    return number


def read_published(
    rows: dict[bytes, bytes],
) -> tuple[dict[tuple[str, str], int], dict[str, str]]:
    """Take what is known of published versions out of the engine's own rows."""
    found: dict[tuple[str, str], int] = {}
    for key in [key for key in rows if key.startswith(b"publish/")]:
        name, _, version = key.decode().removeprefix("publish/").rpartition("/")
        value = Cursor(rows.pop(key))
        need(bool(name and version), "key of a published version")
        need(value.uint(1) == 1, "format of a published version")
        need(value.uint(1) in (1, 2), "state of a published version")
        value.take(24)  # when, rows, bytes
        found[name, version] = read_definition(value)
    currents = {
        key.decode().removeprefix("published/"): rows.pop(key).decode()
        for key in [key for key in rows if key.startswith(b"published/")]
    }
    need(found.keys() >= set(currents.items()), "a current version")
    return found, currents


def read_spaces(
    rows: dict[bytes, bytes], published: dict[tuple[str, str], int]
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
    pins = [key for key in rows if key.startswith(b"pin/")]
    need(all(len(rows.pop(key)) == 8 for key in pins), "a pin")
    return found

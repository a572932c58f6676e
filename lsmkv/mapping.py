# SPDX-License-Identifier: Apache-2.0
"""A keyspace as a `collections.abc.MutableMapping`, for code that expects one.

The views iterate in key order over the state of the moment when the iteration began,
so that writing meanwhile is allowed.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, MutableMapping, ValuesView
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lsmkv.keyspace import Keyspace


class KeyspaceMapping(MutableMapping[bytes, bytes]):
    """All keys and values of a keyspace; `DB.mapping` makes it."""

    __slots__ = ("_space",)

    def __init__(self, space: Keyspace) -> None:
        """Show `space`."""
        self._space = space

    def __repr__(self) -> str:
        """Name the keyspace; the content may be large."""
        return f"<mapping of {self._space!r}>"

    def __getitem__(self, key: bytes) -> bytes:
        """Return the value of a key; KeyError if there is none."""
        return self._space[key]

    def __setitem__(self, key: bytes, value: bytes) -> None:
        """Store a value."""
        self._space.put(key, value)

    def __delitem__(self, key: bytes) -> None:
        """Remove a key; KeyError if it is not there."""
        del self._space[key]

    def __contains__(self, key: object) -> bool:
        """Tell whether the key is there; TypeError if it could not be."""
        return key in self._space  # type: ignore[operator]

    def __iter__(self) -> Iterator[bytes]:
        """Iterate over the keys."""
        return self._space.keys()

    def __reversed__(self) -> Iterator[bytes]:
        """Iterate over the keys, the last one first."""
        return self._space.keys(reverse=True)

    def __len__(self) -> int:
        """Count the keys, by reading all of them."""
        return sum(1 for _ in self)

    def __bool__(self) -> bool:
        """Tell whether there is any key."""
        with self._space.keys() as keys:
            return next(keys, None) is not None

    def keys(self) -> KeysView[bytes]:
        """Return a view of the keys."""
        return _Keys(self)

    def values(self) -> ValuesView[bytes]:
        """Return a view of the values, in the order of their keys."""
        return _Values(self)

    def items(self) -> ItemsView[bytes, bytes]:
        """Return a view of the pairs of key and value."""
        return _Items(self)

    def clear(self) -> None:
        """Remove all keys at once, with one write."""
        self._space.delete_range(None, None)


class _Keys(KeysView[bytes]):
    _mapping: KeyspaceMapping

    def __reversed__(self) -> Iterator[bytes]:
        return reversed(self._mapping)


class _Values(ValuesView[bytes]):
    _mapping: KeyspaceMapping

    def __iter__(self) -> Iterator[bytes]:
        return self._mapping._space.values()

    def __reversed__(self) -> Iterator[bytes]:
        return self._mapping._space.values(reverse=True)

    def __contains__(self, value: object) -> bool:
        return any(value == each for each in self)


class _Items(ItemsView[bytes, bytes]):
    _mapping: KeyspaceMapping

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        return self._mapping._space.items()

    def __reversed__(self) -> Iterator[tuple[bytes, bytes]]:
        return self._mapping._space.items(reverse=True)

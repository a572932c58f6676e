# SPDX-License-Identifier: Apache-2.0
"""Lists under one key: `Keyspace.append` and `tail`, for sessions and conversations.

Item number n of the list `key` is the value of the key

    key | 0x00 | n as u64 big-endian

from 0 on, so the newest item is the last key of a range. All items of a list expire at
the same moment, to the millisecond: the first one's time makes it, later ones are put
with that moment, and a change of it rewrites them all in one batch. Appends to one list
take turns under a lock, since each reads the number of the one before it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from lsmkv import _base, _compute
from lsmkv.errors import InvalidArgumentError
from lsmkv.ttl import DEFAULT

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from lsmkv import _core
    from lsmkv.keyspace import Keyspace
    from lsmkv.ttl import Ttl

_NUMBER_SIZE = 8
_NUMBERS_END = b"\xff" * _NUMBER_SIZE + b"\0"
_LOCKS = 16


class Locks:
    """The locks that appends to the lists of a database take."""

    def __init__(self) -> None:
        """Make them; several lists share one."""
        self._locks = [threading.Lock() for _ in range(_LOCKS)]

    def of(self, number: int, key: bytes) -> threading.Lock:
        """Return the one of a list, by namespace and key."""
        return self._locks[hash((number, key)) % _LOCKS]


class List:
    """A list of a keyspace."""

    __slots__ = ("key", "lock", "space", "start", "stop")

    def __init__(self, space: Keyspace, key: Buffer) -> None:
        """Name it."""
        place: Any = space
        self.space = space
        self.key = _base.to_bytes(key)
        self.start = self.item_key(0)
        self.stop = self.key + b"\0" + _NUMBERS_END
        locks: Locks = (place.db if hasattr(place, "db") else place)._list_locks
        self.lock = locks.of(_compute.number(space), self.key)

    def item_key(self, number: int) -> bytes:
        """Return the key of an item."""
        return self.key + b"\0" + number.to_bytes(_NUMBER_SIZE, "big")

    def number_of(self, key: bytes) -> int | None:
        """Return the number of an item; None: the key is another's."""
        if len(key) != len(self.start):
            return None
        return int.from_bytes(key[-_NUMBER_SIZE:], "big")

    def newest(self) -> int | None:
        """Return the number of the newest item."""
        with self.space.keys(start=self.start, stop=self.stop, reverse=True) as keys:
            for key in keys:
                number = self.number_of(key)
                if number is not None:
                    return number
        return None

    def append(self, item: bytes, ttl: Ttl, sync: bool | None) -> int:
        """Add an item and return its number; under the lock."""
        last = self.newest()
        if last is not None and ttl is DEFAULT:
            end = _compute.end_of(self.space, self.item_key(last))
            if end is not None:
                key = self.item_key(last + 1)
                _compute.store_until(self.space, key, item, end, sync)
                return last + 1
        elif last is not None and self._date_again(last, item, ttl, sync):
            return last + 1
        # There is none, or it has expired just now.
        self.space.put(self.start, item, ttl=ttl, sync=sync)
        return 0

    def _date_again(self, last: int, item: bytes, ttl: Ttl, sync: bool | None) -> bool:
        """Write all items anew with one more; False: they have just expired."""
        seen = None
        batch = self.space.write_batch()
        for key, value in self.space.items(start=self.start, stop=self.stop):
            number = self.number_of(key)
            if number is not None:
                batch.put(key, value, ttl=ttl)
                seen = number
        if seen != last:
            return False
        batch.put(self.item_key(last + 1), item, ttl=ttl)
        self.space.write(batch, sync=sync)
        return True


def append(space: Keyspace, key: Buffer, item: Buffer, ttl: Ttl, sync: Any) -> int:
    """Do what Keyspace.append does."""
    which, held = List(space, key), _base.to_bytes(item)
    _compute.milliseconds(ttl)
    with which.lock:
        return which.append(held, ttl, sync)


def tail(
    space: Keyspace, key: Buffer, n: int | None, snapshot: _core.Snapshot | None
) -> list[bytes]:
    """Do what Keyspace.tail does."""
    if n is not None and n < 0:
        raise InvalidArgumentError(f"n is {n}: must be 0 or more, or None")
    which = List(space, key)
    items: list[bytes] = []
    first: int | None = None
    last: bytes | None = None
    if n == 0:
        return items
    rows: Any = space.items(
        start=which.start,
        stop=which.stop,
        reverse=True,
        snapshot=snapshot,  # type: ignore[arg-type]
    )
    with rows:
        for row, value in rows:
            number = which.number_of(row)
            if number is None:
                continue
            last = row if last is None else last
            first = number
            items.append(value)
            if len(items) == n:
                break
    if last is not None and first != 0 and len(items) != n:
        # The rest may have expired while the newest were read: then all of it has.
        items = items if space._has(last, snapshot) else []
    items.reverse()
    return items


def length(space: Keyspace, key: Buffer) -> int:
    """Do what Keyspace.list_length does."""
    last = List(space, key).newest()
    return 0 if last is None else last + 1


def delete(space: Keyspace, key: Buffer, sync: bool | None) -> bool:
    """Do what Keyspace.delete_list does."""
    which = List(space, key)
    with which.lock:
        keys = [
            each
            for each in space.keys(start=which.start, stop=which.stop)
            if which.number_of(each) is not None
        ]
        if keys:
            space.delete_many(keys, sync=sync)
    return bool(keys)

# SPDX-License-Identifier: Apache-2.0
"""Lists under one key: `Keyspace.append` and `tail`, for sessions and conversations.

Item number n of the list `key`, and behind all items its head, are values of the keys

    key | 0x00 | n as u64          key | 0x00 | 0xff x 8     (all numbers big-endian)

and the head is: count of items u64 | when the items expire u64 | slack u64, in
milliseconds of engine time. Each append writes the new item and the head, in one batch.

A list is there for as long as its head is. Its items expire at the same moment or
later: so an append that changes the moment writes the head alone, and not the items,
unless they would be gone too early. Then they are all written anew, to stay for some
slack beyond what is asked for, and each time for twice as much as the time before. So
a list whose time is renewed by each of its n items is written anew about log(n) times
and not n times, and when it has expired its items take space for about as long again.

Appends to one list take turns under a lock, since each reads the head.
"""

from __future__ import annotations

import struct
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from lsmkv import _base, _compute
from lsmkv.errors import InvalidArgumentError
from lsmkv.keyspace import WriteBatch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Buffer

    from lsmkv import _core
    from lsmkv.keyspace import Keyspace
    from lsmkv.ttl import Ttl

_NUMBER_SIZE = 8
_NUMBER_MAX = 2**64 - 1
_HEAD = struct.Struct(">QQQ")
_WITH_HEAD = _NUMBER_MAX  # when the items expire: when the head did that came with them
_SLACK_MS_MAX = 10**15
_LOCKS = 16


class Locks:
    """The locks that appends to the lists of a database take."""

    def __init__(self) -> None:
        """Make them; several lists share one."""
        self._locks = [threading.Lock() for _ in range(_LOCKS)]

    def of(self, number: int, key: bytes) -> threading.Lock:
        """Return the one of a list, by namespace and key."""
        return self._locks[hash((number, key)) % _LOCKS]


class Head(NamedTuple):
    """What the head of a list says, and how long it stays."""

    items: int
    items_end: int  # milliseconds of engine time, 0: never
    slack_ms: int
    end: int = 0  # likewise
    now: int = 0  # 0: unknown, because it stays for ever

    def packed(self) -> bytes:
        """Return the value of its key."""
        return _HEAD.pack(self.items, self.items_end, self.slack_ms)

    def covers(self, end: int) -> bool:
        """Tell whether the items stay until then, and not for ever if it does not."""
        return self.items_end >= end > 0 if self.items_end else end == 0


class List:
    """A list of a keyspace."""

    __slots__ = ("head_key", "key", "lock", "space", "start", "stop")

    def __init__(self, space: Keyspace, key: Buffer) -> None:
        """Name it."""
        place: Any = space
        self.space = space
        self.key = _base.to_bytes(key)
        self.start = self.item_key(0)
        self.head_key = self.item_key(_NUMBER_MAX)
        self.stop = self.head_key + b"\0"
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

    def parse(self, value: bytes) -> tuple[int, int, int]:
        """Return the numbers in the value of a head."""
        if len(value) != _HEAD.size:
            raise InvalidArgumentError(
                f"{self.head_key!r} holds {value[:32]!r}, which append has not written"
            )
        count, items_end, slack_ms = _HEAD.unpack(value)
        return count, items_end, slack_ms

    def head(self) -> Head | None:
        """Return the head; None: there is no list."""
        found = _compute.timed(self.space, self.head_key)
        if found is None:
            return None
        value, end, now = found
        count, items_end, slack_ms = self.parse(value)
        items_end = end if items_end == _WITH_HEAD else items_end
        return Head(count, items_end, slack_ms, end, now)

    def append(self, item: bytes, ttl: Ttl, sync: bool | None) -> int:
        """Add an item and return its number; under the lock."""
        batch = WriteBatch(self.space)
        head = self.head()
        if head is None:
            for key in self.keys():  # what one that has expired has left
                batch.delete(key)
            self.put_all(batch, [(self.start, item)], ttl)
        else:
            self.add(batch, head, item, ttl)
        self.space.write(batch, sync=sync)
        return 0 if head is None else head.items

    def add(self, batch: WriteBatch, head: Head, item: bytes, ttl: Ttl) -> None:
        """Add an item to a list that has a head."""
        ttl_ms = _compute.milliseconds(ttl)
        end: int | None = head.end
        if ttl_ms:
            end = 0 if ttl_ms < 0 else head.now + ttl_ms if head.now else None
        key = self.item_key(head.items)
        if end is not None and head.covers(end):
            batch._put_until(key, item, head.items_end)
            renewed = Head(head.items + 1, head.items_end, head.slack_ms)
            batch._put_until(self.head_key, renewed.packed(), end)
            return
        rows = [*self.items(head.items), (key, item)]
        if not end:
            self.put_all(batch, rows, ttl, head.items + 1)
            return
        slack_ms = min(max(ttl_ms, 2 * head.slack_ms), _SLACK_MS_MAX)
        for each, value in rows:
            batch._put_until(each, value, end + slack_ms)
        renewed = Head(head.items + 1, end + slack_ms, slack_ms)
        batch._put_until(self.head_key, renewed.packed(), end)

    def put_all(
        self,
        batch: WriteBatch,
        rows: list[tuple[bytes, bytes]],
        ttl: Ttl,
        count: int = 1,
    ) -> None:
        """Put items and head, all to expire at once."""
        for key, value in rows:
            batch.put(key, value, ttl=ttl, stale=0)
        value = Head(count, _WITH_HEAD, 0).packed()
        batch.put(self.head_key, value, ttl=ttl, stale=0)

    def keys(self) -> Iterator[bytes]:
        """Iterate over the keys of all items and the head."""
        with self.space.keys(start=self.start, stop=self.stop) as keys:
            for key in keys:
                if self.number_of(key) is not None:
                    yield key

    def items(self, count: int) -> Iterator[tuple[bytes, bytes]]:
        """Iterate over (key, value) of the items of a list of `count`."""
        stop = self.item_key(count)
        with self.space.items(start=self.start, stop=stop) as rows:
            for key, value in rows:
                if self.number_of(key) is not None:
                    yield key, value


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
    count = wanted = 0
    rows: Any = space.items(
        start=which.start,
        stop=which.stop,
        reverse=True,
        snapshot=snapshot,  # type: ignore[arg-type]
    )
    with rows:
        for row, value in rows:
            number = which.number_of(row)
            if number == _NUMBER_MAX:
                count = which.parse(value)[0]
                wanted = count if n is None else min(n, count)
            elif number is not None and number < count:
                items.append(value)
            if len(items) == wanted and number is not None:
                break
    if len(items) < wanted and not space._has(which.head_key, snapshot):
        return []  # it has expired while it was read
    items.reverse()
    return items


def length(space: Keyspace, key: Buffer) -> int:
    """Do what Keyspace.list_length does."""
    head = List(space, key).head()
    return 0 if head is None else head.items


def delete(space: Keyspace, key: Buffer, sync: bool | None) -> bool:
    """Do what Keyspace.delete_list does."""
    which = List(space, key)
    with which.lock:
        there = space._has(which.head_key, None)
        space.delete_many(which.keys(), sync=sync)
    return there

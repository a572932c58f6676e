# SPDX-License-Identifier: Apache-2.0
"""Typical use with the types it must have; mypy reads this, nobody runs it."""

from collections.abc import MutableMapping
from typing import assert_type

import lsmkv

with lsmkv.open("somewhere", compression="zstd", memory_bytes=1 << 20) as db:
    assert_type(db, lsmkv.DB)
    assert_type(db.get(b"key"), bytes | None)
    assert_type(db.get(b"key", b""), bytes)
    assert_type(db.get(b"key", 0), bytes | int)
    assert_type(db[b"key"], bytes)
    assert_type(b"key" in db, bool)
    assert_type(db.get_many([b"a", b"b"]), list[bytes | None])
    assert_type(db.get_many([b"a", b"b"], b""), list[bytes])
    assert_type(db.get(memoryview(b"key")), bytes | None)
    db.put_many({b"a": b"1"})
    db.put_many([(b"a", bytearray(b"1"))])
    db.put_many((b"%d" % i, b"") for i in range(3))
    for key, value in db.items(prefix=b"a", reverse=True):
        assert_type(key, bytes)
        assert_type(value, bytes)
    for key in db:
        assert_type(key, bytes)
    assert_type(list(db.keys()), list[bytes])
    assert_type(dict(db.items()), dict[bytes, bytes])
    assert_type(next(db.values(), None), bytes | None)
    with db.write_batch(sync=True) as batch:
        assert_type(batch, lsmkv.WriteBatch)
        batch.put(b"a", b"1")
        assert_type(len(batch), int)
    with db.snapshot() as snapshot:
        assert_type(snapshot, lsmkv.Snapshot)
        assert_type(snapshot.get(b"key"), bytes | None)
        assert_type(snapshot.get_many([b"key"], 0), list[bytes | int])
        assert_type(db.get(b"key", snapshot=snapshot), bytes | None)
        assert_type(list(snapshot.items()), list[tuple[bytes, bytes]])
    assert_type(db.stats().levels[0].byte_count, int)
    assert_type(db.verify().problems, tuple[lsmkv.Problem, ...])
    db.put(b"key", b"", ttl=0.5)
    db.put(b"key", b"", ttl=None)
    db.put(b"key", b"", ttl=lsmkv.DEFAULT)
    db.put_many({}, ttl=3)
    db.delete_range(b"a", None)
    assert_type(db.ttl(b"key"), float | None)
    assert_type(db.touch(b"key", lsmkv.DEFAULT), bool)
    assert_type(db.get_view(b"key"), memoryview | None)
    space = db.namespace("sessions", default_ttl=60, compression="zstd")
    assert_type(space, lsmkv.Namespace)
    assert_type(space.get(b"key"), bytes | None)
    assert_type(space.options.default_ttl, float | None)
    assert_type(db.namespaces(), dict[str, lsmkv.NamespaceOptions])
    assert_type(db.drop_namespace("sessions"), bool)
    with space.snapshot() as seen:
        assert_type(seen, lsmkv.NamespaceSnapshot)
        assert_type(seen.get(b"key", 0), bytes | int)
    assert_type(db.get_into(b"key", bytearray(8)), int | None)
    assert_type(db.approximate_count(b"a", stop=b"b"), int)
    assert_type(db.memory().pinned_bytes, int)
    assert_type(db.options, lsmkv.Options)
    assert_type(db.options.memory_bytes, int | None)
    assert_type(db.mapping(), MutableMapping[bytes, bytes])
    assert_type(db.get_or_compute(b"key", lambda: b"", ttl=1, stale=2.5), bytes)
    assert_type(db.get_or_compute_many([b"key"], lambda keys: keys), list[bytes])
    assert_type(db.append(b"list", b"item", ttl=60), int)
    assert_type(db.warm(), lsmkv.WarmReport)
    assert_type(space.warm(b"a", budget_bytes=1 << 20), lsmkv.WarmReport)
    assert_type(db.vectors("v", dim=3).warm(progress=print), lsmkv.WarmReport)
    assert_type(db.tail(b"list", 3), list[bytes])

    @db.memoize(ttl=60, codec=lsmkv.codecs.json)
    def double(x: int) -> int:
        return 2 * x

    assert_type(double(1), int)
    assert_type(double.key_of(1), bytes)
    assert_type(db.closed, bool)
    assert_type(db.path, str)

options = lsmkv.Options(durability="sync", sync_interval=0.5)
lsmkv.open("somewhere", options=options).close()
lsmkv.Options(durability="always")  # type: ignore[arg-type]
lsmkv.open("somewhere", memory_gigabytes=1)  # type: ignore[call-arg]
db.put("key", b"value")  # type: ignore[arg-type]
db.put(b"key", b"value", ttl="1")  # type: ignore[arg-type]
db.namespace("sessions", time=1)  # type: ignore[call-arg]
try:
    db.get(b"key")
except lsmkv.CorruptionError as error:
    assert_type(error.path, str | None)
    assert_type(error.offset, int | None)
except lsmkv.LockedError as error:
    assert_type(error.pid, int | None)
except lsmkv.StorageError as error:
    assert_type(error.errno, int | None)

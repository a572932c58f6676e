# SPDX-License-Identifier: Apache-2.0
"""Goal: a namespace with max_bytes gives the newest value or none, within its cap.

Method: real files, small caps, and the directory looked at while it is filled.
"""

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import lsmkv

CAP = 1 << 20


@pytest.fixture
def db(tmp_path: Path) -> Iterator[lsmkv.DB]:
    with lsmkv.open(tmp_path / "db") as opened:
        yield opened


def file_bytes(db: lsmkv.DB) -> int:
    total = 0
    for path in Path(db.path).glob("*.cache"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue  # given up meanwhile
    return total


def value_of(number: int, size: int) -> bytes:
    return number.to_bytes(8, "big") + bytes([number % 251]) * (size - 8)


def test_options_are_remembered_and_altered(tmp_path: Path) -> None:
    with lsmkv.open(tmp_path) as db:
        cache = db.namespace("cache", ttl=3600, max_bytes=CAP, policy="fifo-reinsert")
        wanted = lsmkv.NamespaceOptions(
            default_ttl=3600.0, max_bytes=CAP, policy="fifo-reinsert"
        )
        assert cache.options == wanted
    with lsmkv.open(tmp_path) as db:
        assert db.namespace("cache").options == wanted
        db.namespace("cache", alter=True, max_bytes=2 * CAP)
        assert db.namespaces()["cache"].max_bytes == 2 * CAP
        with pytest.raises(lsmkv.InvalidArgumentError, match="from its creation"):
            db.namespace("cache", alter=True, max_bytes=None, policy=None)
        db.namespace("plain")
        with pytest.raises(lsmkv.InvalidArgumentError, match="from its creation"):
            db.namespace("plain", alter=True, max_bytes=CAP)
        with pytest.raises(lsmkv.InvalidArgumentError, match="no cache"):
            db.namespace("plain").cache_stats()
        with pytest.raises(TypeError, match="one of them"):
            db.namespace("other", ttl=1, default_ttl=1)


def test_files_stay_within_the_cap_and_values_that_are_read_stay(db: lsmkv.DB) -> None:
    cache = db.namespace("cache", max_bytes=CAP)
    for number in range(2000):
        cache.put(b"%d" % number, value_of(number, 3000))
        assert cache.get(b"0") == value_of(0, 3000)
        assert file_bytes(db) <= 1.05 * CAP
    stats = cache.cache_stats()
    assert stats.file_bytes <= 1.05 * CAP
    assert stats.evicted_segments > 64
    assert stats.reinserted_bytes > 0
    kept = dict(cache.items())
    assert 200 < len(kept) < 400
    assert all(value == value_of(int(key), 3000) for key, value in kept.items())
    keys = list(cache.keys())  # evictions may still be going on
    assert keys == sorted(keys)
    assert len(keys) > 200
    assert set(keys) <= kept.keys()
    backward = list(cache.keys(reverse=True))
    assert backward == sorted(backward, reverse=True)
    assert set(backward) <= set(keys)
    assert cache.get_many([b"0", b"1"]) == [value_of(0, 3000), None]
    assert db.verify().ok


def test_a_value_over_a_64th_raises(db: lsmkv.DB) -> None:
    cache = db.namespace("cache", max_bytes=CAP)
    cache.put(b"fits", bytes(CAP // 64))
    with pytest.raises(lsmkv.LimitError):
        cache.put(b"large", bytes(CAP // 64 + 1))
    with pytest.raises(lsmkv.LimitError):
        cache.put_many([(b"large", bytes(CAP // 64 + 1))])
    assert cache.get(b"fits") == bytes(CAP // 64)
    assert b"large" not in cache


def test_pins_last(tmp_path: Path) -> None:
    with lsmkv.open(tmp_path) as db:
        cache = db.namespace("cache", max_bytes=CAP)
        cache.put_many((b"%d" % n, value_of(n, 2000)) for n in range(300))
        with pytest.raises(lsmkv.LimitError):
            cache.pin(b"%d" % n for n in range(300))
        cache.pin([b"7", bytearray(b"8")])
    with lsmkv.open(tmp_path) as db:
        cache = db.namespace("cache")
        assert cache.cache_stats().pinned_count == 2
        cache.put_many((b"new %d" % n, bytes(2000)) for n in range(1500))
        found = cache.get_many([b"7", b"8", b"9"])
        assert found == [value_of(7, 2000), value_of(8, 2000), None]
        cache.unpin([b"7", b"8", b"9"])
        assert cache.cache_stats().pinned_bytes == 0


def test_views_outlive_their_segment(db: lsmkv.DB) -> None:
    cache = db.namespace("cache", max_bytes=CAP)
    cache.put(b"shown", value_of(1, 5000))
    view = cache.get_view(b"shown")
    scan = iter(cache.items())
    cache.put_many((b"new %d" % n, bytes(2000)) for n in range(1500))
    assert view is not None
    assert view.tobytes() == value_of(1, 5000)
    assert next(scan) == (b"shown", value_of(1, 5000))
    assert file_bytes(db) <= 1.05 * CAP


def test_touch_changes_the_time_and_not_the_value(db: lsmkv.DB) -> None:
    cache = db.namespace("cache", max_bytes=CAP, ttl=50)
    cache.put(b"key", value_of(1, 5000))
    written = cache.cache_stats().written_bytes
    assert cache.touch(b"key", 5000)
    left = cache.ttl(b"key")
    assert left is not None
    assert 4000 < left <= 5000
    assert cache.get(b"key") == value_of(1, 5000)
    assert cache.cache_stats().written_bytes == written


def test_readers_beside_a_writer_and_checkpoints(tmp_path: Path) -> None:
    with lsmkv.open(tmp_path / "db") as db:
        cache = db.namespace("cache", max_bytes=CAP)
        cache.put(b"key", value_of(1, 5000))
        with lsmkv.open(tmp_path / "db", mode="r") as view:
            shown = view.namespace("cache", create=False)
            assert shown.get(b"key") == value_of(1, 5000)
            cache.put_many((b"new %d" % n, bytes(2000)) for n in range(1500))
            assert shown.get(b"key") in (None, value_of(1, 5000))
        db.checkpoint(tmp_path / "copy")
    with lsmkv.open(tmp_path / "copy") as copy:
        cache = copy.namespace("cache", create=False)
        assert dict(cache.items()) == {}
        cache.put(b"key", b"value")
        assert cache.get(b"key") == b"value"
        assert copy.verify().ok


def test_threads_see_right_values_and_the_cap_holds(db: lsmkv.DB) -> None:
    cache = db.namespace("cache", max_bytes=CAP)
    failures: list[str] = []
    peak = 0

    def work(seed: int) -> None:
        nonlocal peak
        rng = random.Random(seed)
        for _ in range(1500):
            number = rng.randrange(500)
            key = b"%d" % number
            draw = rng.random()
            if draw < 0.6:
                cache.put(key, value_of(number, rng.randrange(10, 8000)))
            elif draw < 0.7:
                cache.delete(key)
            else:
                found = cache.get(key)
                if found is not None and found != value_of(number, len(found)):
                    failures.append(f"wrong bytes of {number}")
            peak = max(peak, file_bytes(db))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert peak <= 1.05 * CAP
    assert cache.cache_stats().evicted_segments > 0

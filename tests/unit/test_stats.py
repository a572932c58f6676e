# SPDX-License-Identifier: Apache-2.0
"""Statistics.

Goal: lookups are counted exactly and where they were asked, durations add up, and the
text for Prometheus says the same as `stats()`. Method: small databases whose counts are
known, threads included; the text is read back with the parser of prometheus_client.
"""

from __future__ import annotations

import dataclasses
import random
import threading
import time
from typing import TYPE_CHECKING

import pytest
from prometheus_client import parser

import lsmkv
from lsmkv import _compute, metrics

if TYPE_CHECKING:
    from pathlib import Path


def counts(db: lsmkv.DB, name: str = "") -> dict[str, int]:
    """Return what was counted and is not 0."""
    found = dataclasses.asdict(db.stats().namespaces[name])
    return {key: value for key, value in found.items() if value and key != "bytes"}


def test_lookups_are_counted_once_each_however_they_are_made(db: lsmkv.DB) -> None:
    db.put_many({b"a": b"1", b"b": b"22"})
    assert counts(db) == {}
    db.get(b"a")
    db.get(b"none")
    assert b"b" in db
    assert db[b"a"] == b"1"
    db.get_into(b"b", bytearray(2))
    db.get_view(b"b")
    db.get_many([b"a", b"b", b"none", b"a"])
    list(db.items())
    assert counts(db) == {"hits": 8, "misses": 2, "read_bytes": 1 * 4 + 2 * 4}


def test_lookups_of_snapshots_and_of_what_lies_on_disk_count_too(db: lsmkv.DB) -> None:
    db[b"a"] = b"1"
    with db.snapshot() as snapshot:
        db.compact()
        snapshot.get(b"a")
        db.get(b"a")
        db.get(b"none")
    assert counts(db) == {"hits": 2, "misses": 1, "read_bytes": 2}


def test_each_namespace_counts_its_own(db: lsmkv.DB) -> None:
    one, two = db.namespace("one"), db.namespace("two")
    one[b"a"] = b"1"
    one.get(b"a")
    two.get(b"a")
    db.namespace("one").get_many([b"a", b"b"])
    assert list(db.stats().namespaces) == ["", "one", "two"]
    assert counts(db) == {}
    assert counts(db, "one") == {"hits": 2, "misses": 1, "read_bytes": 2}
    assert counts(db, "two") == {"misses": 1}
    assert db.stats().namespaces["one"].hit_ratio == pytest.approx(2 / 3)
    assert db.stats().namespaces[""].hit_ratio == 0.0
    db.drop_namespace("one")
    assert list(db.stats().namespaces) == ["", "two"]
    db.namespace("one")
    assert counts(db, "one") == {}


def test_expired_values_are_misses_of_their_own_kind(db: lsmkv.DB) -> None:
    db.put(b"a", b"1", ttl=0.001)
    db.put(b"b", b"1", ttl=0.001)
    db.delete(b"b")
    time.sleep(0.01)
    db.get(b"a")
    db.get(b"b")
    db.get_many([b"a", b"c"])
    assert counts(db) == {"misses": 4, "expired": 2}


@pytest.mark.parametrize("size", [100, 4000])
def test_a_namespace_knows_about_how_large_it_is(db: lsmkv.DB, size: int) -> None:
    draw = random.Random(7)
    one, two = db.namespace("one"), db.namespace("two")
    db.namespace("empty")
    one.put_many({f"{i}".encode(): draw.randbytes(size) for i in range(300)})
    two.put_many({f"{i}".encode(): draw.randbytes(size) for i in range(900)})
    assert db.stats().namespaces["one"].bytes == 0
    db.compact()
    assert one.get(b"0")  # now the table is open
    sizes = {name: each.bytes for name, each in db.stats().namespaces.items()}
    assert 0.7 < sizes["one"] / (300 * size) < 1.5
    assert 0.7 < sizes["two"] / (900 * size) < 1.5
    assert sizes[""] + sizes["empty"] < 10 * size


def test_callers_add_what_the_engine_does_not_see(db: lsmkv.DB) -> None:
    space = db.namespace("cache")
    _compute.count(space, _compute.STALE_HITS, 1)
    _compute.count(space, _compute.COMPUTED, 2)
    _compute.count(space, _compute.COALESCED, 3)
    assert counts(db, "cache") == {"stale_hits": 1, "computed": 2, "coalesced": 3}


def test_counts_begin_at_zero_with_each_opening(tmp_path: Path) -> None:
    with lsmkv.open(tmp_path / "db") as db:
        db.namespace("one").get(b"a")
    with lsmkv.open(tmp_path / "db") as db:
        assert counts(db, "one") == {}
        with pytest.raises(KeyError):
            db.stats().namespaces["two"]
    with pytest.raises(lsmkv.ClosedError):
        db.stats()


def test_no_count_is_lost_among_threads(db: lsmkv.DB) -> None:
    space = db.namespace("one")
    space[b"a"] = b"1234"
    threads, rounds = 40, 500

    def work(seed: int) -> None:
        draw = random.Random(seed)
        for _ in range(rounds):
            if draw.random() < 0.5:
                space.get(b"a")
                space.get(b"none")
            else:
                space.get_many([b"a", b"none"])

    started = [threading.Thread(target=work, args=(i,)) for i in range(threads)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    number = threads * rounds
    assert counts(db, "one") == {
        "hits": number,
        "misses": number,
        "read_bytes": 4 * number,
    }


def test_sampled_durations_count_for_all(db: lsmkv.DB) -> None:
    calls = 64 * 300
    db[b"a"] = b"1"
    for _ in range(calls):
        db.get(b"a")
    get = db.stats().latencies["get"]
    assert calls * 0.9 < get.count < calls * 1.1
    assert 0 < get.p50 <= get.p99 <= get.p999 <= get.max
    assert get.p50 * get.count / 10 < get.sum


def test_slow_work_is_timed_each_time(db: lsmkv.DB) -> None:
    before = db.stats()
    for _ in range(5):
        db.put(b"a", b"1", sync=True)
        db.get_many([b"a"] * 20)
        list(db.items())
    db.flush()
    db.compact()
    db.settle()  # work is timed after those who wait for its result were woken
    after = db.stats()

    def grown(name: str) -> int:
        return after.latencies[name].count - before.latencies[name].count

    assert grown("write") == grown("get_many") == 5
    assert grown("scan") >= 5
    assert grown("sync") == after.sync_count - before.sync_count >= 5
    assert grown("flush") == after.flush_count - before.flush_count
    assert grown("compaction") == after.compact_count - before.compact_count
    assert list(after.latencies) == list(metrics.LATENCIES)


def test_rows_are_timed_and_counted(db: lsmkv.DB) -> None:
    np = pytest.importorskip("numpy")
    space = db.vectors("items", dim=4)
    space.put_many(range(20), np.zeros((20, 4), np.float32))
    space.gather(range(25), missing="zero")
    assert db.stats().latencies["gather"].count == 1
    assert counts(db, "items") == {"hits": 20, "misses": 5, "read_bytes": 320}


def histogram(*seconds: float) -> lsmkv.Histogram:
    found = [0] * len(metrics.bounds())
    for value in seconds:
        place = next(i for i, end in enumerate(metrics.bounds()) if value < end)
        found[place] += 1
    return lsmkv.Histogram(
        len(seconds), sum(seconds), max(seconds, default=0.0), tuple(found)
    )


def test_quantiles_are_at_most_an_eighth_too_long() -> None:
    draw = random.Random(7)
    values = sorted(draw.lognormvariate(-12, 2) for _ in range(1001))
    found = histogram(*values)
    for q in (0.0, 0.01, 0.5, 0.9, 0.99, 0.999, 1.0):
        exact = values[max(0, -int(-q * len(values) // 1) - 1)]
        assert exact <= found.quantile(q) <= exact * 1.126
    assert found.quantile(1) == found.max == values[-1]
    assert found.mean == pytest.approx(sum(values) / len(values))
    with pytest.raises(ValueError, match="between 0 and 1"):
        found.quantile(1.5)
    empty = histogram()
    assert (empty.p50, empty.p99, empty.p999, empty.mean) == (0.0, 0.0, 0.0, 0.0)


def test_merged_histograms_are_as_one() -> None:
    first, second = [1e-6, 2e-5, 3.0], [5e-7, 2e-5]
    merged = histogram(*first) + histogram(*second)
    whole = histogram(*first, *second)
    assert merged == dataclasses.replace(whole, sum=merged.sum)
    assert merged.sum == pytest.approx(whole.sum)
    assert "count=5" in repr(merged)


def test_amplification_follows_from_the_counters(db: lsmkv.DB) -> None:
    stats = db.stats()
    assert stats.read_amplification == 0.0
    for i in range(2000):
        db.put(f"{i:05}".encode(), b"x" * 100)
    db.compact()
    db.get(b"00000")
    stats = db.stats()
    assert 1 < stats.write_amplification < 10
    assert 1 <= stats.space_amplification < 1.5
    assert stats.read_amplification == stats.cache_misses


Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parsed(text: str) -> tuple[Samples, dict[str, str]]:
    """Read the exposition: the samples, and the types by name."""
    samples: Samples = {}
    types = {}
    for family in parser.text_string_to_metric_families(text):
        assert family.documentation
        assert family.name not in types
        types[family.name] = family.type
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            assert key not in samples
            samples[key] = sample.value
    return samples, types


def test_prometheus_shows_every_figure_with_its_kind(db: lsmkv.DB) -> None:
    db[b"a"] = b"1"
    db.get(b"a")
    db.flush()
    stats = db.stats()
    samples, types = parsed(stats.prometheus())
    assert samples["lsmkv_flush_total", ()] == stats.flush_count == 1
    assert types["lsmkv_flush"] == "counter"
    assert samples["lsmkv_cache_capacity", ()] == stats.cache_capacity
    assert types["lsmkv_cache_capacity"] == "gauge"
    assert samples["lsmkv_stall_seconds_total", ()] == stats.stall_us / 1e6
    assert samples["lsmkv_level_table_count", (("level", "0"),)] == 1
    assert samples["lsmkv_namespace_hits_total", (("namespace", ""),)] == 1
    assert samples["lsmkv_state", (("state", "open"),)] == 1
    assert samples["lsmkv_state", (("state", "poisoned"),)] == 0
    assert "unknown" not in types.values()
    for cls, prefix in (
        (lsmkv.Stats, "lsmkv_"),
        (lsmkv.LevelStats, "lsmkv_level_"),
        (lsmkv.NamespaceStats, "lsmkv_namespace_"),
    ):
        numbers = [f for f in dataclasses.fields(cls) if f.metadata["kind"]]
        shown = [each for each in types if each.startswith(prefix)]
        assert len(shown) >= len(numbers)
        for field in dataclasses.fields(cls):
            assert f"    {field.name}: " in (cls.__doc__ or "")


def test_prometheus_histograms_are_cumulative(db: lsmkv.DB) -> None:
    for _ in range(100):
        db.put(b"a", b"1", sync=True)
    stats = db.stats()
    samples, types = parsed(stats.prometheus())
    assert types["lsmkv_latency_seconds"] == "histogram"
    ends = {}
    for (name, labels), value in samples.items():
        found = dict(labels)
        if name == "lsmkv_latency_seconds_bucket" and found["operation"] == "write":
            ends[float(found["le"])] = value
    assert list(ends) == sorted(ends)
    assert list(ends.values()) == sorted(ends.values())
    write = stats.latencies["write"]
    operation = (("operation", "write"),)
    assert ends[float("inf")] == write.count == 100
    assert samples["lsmkv_latency_seconds_count", operation] == 100
    assert samples["lsmkv_latency_seconds_sum", operation] == pytest.approx(write.sum)
    for end, value in ends.items():
        exact = sum(
            count
            for count, bound in zip(write.counts, metrics.bounds(), strict=True)
            if bound <= end * (1 + 1e-9)
        )
        assert end == float("inf") or value == exact


@pytest.mark.parametrize("name", ['a"b', "back\\slash", "two\nlines", "ä€😀", "a,b={}"])
def test_prometheus_escapes_what_labels_hold(db: lsmkv.DB, name: str) -> None:
    db.namespace(name).get(b"a")
    samples, _ = parsed(db.stats().prometheus({"db": name}))
    key = (("db", name), ("namespace", name))
    assert samples["lsmkv_namespace_misses_total", key] == 1
    assert all(dict(labels)["db"] == name for _, labels in samples)


@pytest.mark.parametrize("label", ["namespace", "le", "with space", "1st", ""])
def test_labels_must_have_names_that_are_free(db: lsmkv.DB, label: str) -> None:
    with pytest.raises(lsmkv.InvalidArgumentError, match="label"):
        db.stats().prometheus({label: "x"})

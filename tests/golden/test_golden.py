# SPDX-License-Identifier: Apache-2.0
"""Goal: files of every version of the format stay readable, and are as specified.

Method: copies of the committed databases are opened, read in every way, verified and
written to. A second reader, made from docs/file-format.md alone, reads the same files,
and files that this engine writes now; both must find the same rows. That reader has to
account for every byte, so it also notices when any byte of them changes.
"""

import random
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import xxhash

import lsmkv
from golden import contents, make, reader
from golden.cursor import WrongBytesError
from golden.keys import CACHED, DELETE, EXPIRES, FRESH
from golden.tables import FOOTER_SIZE

HERE = Path(__file__).resolve().parent
VERSIONS = sorted(HERE.glob("v[0-9]*"))


@pytest.fixture(params=VERSIONS, ids=lambda path: path.name)
def golden(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Copy a golden database."""
    return Path(shutil.copytree(request.param, tmp_path / "db"))


def test_there_is_a_database_of_the_current_version() -> None:
    assert (HERE / f"v{make.VERSION}").is_dir()


def test_the_engine_reads_everything_right(golden: Path) -> None:
    rows = contents.expected()
    with lsmkv.open(golden, create=False) as db:
        assert dict(db.items()) == rows
        assert list(db.items(reverse=True)) == list(rows.items())[::-1]
        assert db.get_many(rows) == list(rows.values())
        assert all(db.get(key) == value for key, value in rows.items())
        absent = [b"row/0002x", b"large", b"row/0005", b"\xff" * 39]
        assert db.get_many(absent) == [None] * len(absent)
        assert db.stats().recovered_records > 0
        check_namespaces(db)
        report = db.verify()
        assert report.ok, report.problems


def check_namespaces(db: lsmkv.DB) -> None:
    """Hold what the engine reads of them against what was written."""
    assert dict(db.namespace("cache", create=False).items()) == contents.cached()
    rows = db.vectors("rows", create=False)
    assert str(rows.schema) == "dim=3, dtype='float16', metric='dot'"
    keys = np.array(list(contents.vectors()), np.uint64)
    found, there = rows.gather(keys)
    assert there.all()
    assert found.tolist() == [list(row) for row in contents.vectors().values()]
    lists = db.namespace("lists", create=False)
    assert {key: lists.tail(key) for key in contents.listed()} == contents.listed()
    times = db.namespace("times", create=False)
    assert dict(times.items()) == contents.lasting() | contents.fresh()
    assert times.get_many(contents.expired()) == [None] * len(contents.expired())
    versions = contents.published()
    for version, expected in versions.items():
        assert dict(db.published("a/b", version=version).items()) == expected
    assert dict(db.published("a/b").items()) == versions[contents.CURRENT]
    assert [each.version for each in db.versions()] == list(versions)


def test_the_engine_warms_up_with_the_list(golden: Path) -> None:
    with lsmkv.open(golden, create=False) as db:
        report = db.warm()
        assert report.block_count > 0
        assert report.value_count > 0


def test_the_engine_goes_on_with_it(golden: Path) -> None:
    rows = contents.expected()
    with lsmkv.open(golden, create=False) as db:
        db.put(b"row/0003", b"new")
        db.delete(b"")
        db.compact()
    with lsmkv.open(golden, create=False) as db:
        del rows[b""]
        assert dict(db.items()) == rows | {b"row/0003": b"new"}
        assert db.verify().ok


def test_the_second_reader_finds_the_same_rows(golden: Path) -> None:
    found = reader.read_database(golden)
    assert found.rows == contents.expected()
    assert found.spaces["cache"] == contents.cached()
    assert found.spaces["rows"] == contents.vector_bytes()
    assert (
        found.spaces["lists"]
        == {
            key + b"\0" + number.to_bytes(8, "big"): item
            for key, items in contents.listed().items()
            for number, item in enumerate(items)
        }
        | contents.heads()
    )
    assert found.spaces["times"] == (
        contents.lasting() | contents.fresh() | contents.expired()
    )
    versions = contents.published()
    assert found.system.begun == {("a/b", contents.BEGUN)}
    assert found.system.currents == {"a/b": contents.CURRENT}
    assert found.published == {
        **{("a/b", version): rows for version, rows in versions.items()},
        ("a/b", contents.BEGUN): {},
    }
    cache = found.system.spaces["cache"]
    assert found.system.pins == {(cache, key) for key in contents.PINNED}


def test_the_first_database_holds_a_bit_of_everything() -> None:
    found = reader.read_database(HERE / "v1")
    tables = found.tables.values()
    keys = [[place.stored_key for place, _ in table.versions] for table in tables]
    assert {info.level for info in found.files.tables.values()} > {0}
    assert any(table.index_blocks > 1 for table in tables)
    assert any(len(set(some)) < len(some) for some in keys)
    assert {code for table in tables for code in table.codecs} == {0, 1}
    assert {table.has_filter for table in tables} == {False, True}
    assert any(place.tag == DELETE for t in tables for place, _ in t.versions)
    assert {(bool(t.versions), bool(t.ranges)) for t in tables} == {
        (True, False),
        (True, True),
        (False, True),
    }
    assert [(len(x.records), x.mark_count) for x in found.logs.values()] == [(9, 5)]
    assert {segment.kind for segment in found.files.segments.values()} == {1, 2}
    assert len(found.files.caches) == 2
    assert found.files.dropped_caches > 0
    assert found.files.origins
    assert {group.heat > 0 for group in found.hot or ()} == {False, True}
    tags = {place.tag for table in tables for place, _ in table.versions}
    assert {tag & (EXPIRES | FRESH) for tag in tags} == {0, EXPIRES, EXPIRES | FRESH}
    assert any(tag & 0xF == CACHED for tag in tags)
    assert found.files.logs.keys() == found.logs.keys()
    assert found.system.options == {
        1: 512,
        2: 0,
        3: 0,
        4: -2,
        5: 4096,
        6: 64 << 20,
        7: 10,
        8: 4,
        9: 1024,
    }


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_what_the_engine_writes_now_is_as_specified(
    tmp_path: Path, compression: str
) -> None:
    rng = random.Random(f"golden {compression}")
    rows: dict[bytes, bytes] = {}
    with lsmkv.open(
        tmp_path / "db",
        compression="zstd" if compression == "zstd" else "none",
        block_bytes=256,
        memory_bytes=1 << 20,
        memtable_bytes=20_000,
        table_bytes=20_000,
        level_base_bytes=40_000,
        blob_threshold_bytes=80 if compression == "none" else 0,
        log_bytes=100_000,
    ) as db:
        snapshots = []
        for number in range(6000):
            key = b"key%05d" % rng.randrange(2000)
            rows.pop(key, None)
            if rng.random() < 0.01:
                stop = b"key%05d" % (int(key[3:]) + rng.randrange(1, 60))
                db.delete_range(key, stop)
                for other in [other for other in rows if key <= other < stop]:
                    del rows[other]
            elif rng.random() < 0.2:
                db.delete(key)
            else:
                rows[key] = rng.randbytes(rng.randrange(40)) + b"x" * rng.randrange(60)
                db.put(key, rows[key], sync=number % 500 == 0)
            if number % 700 == 0:
                snapshots.append(db.snapshot())
            if number == 4000:
                db.compact()
        # Nothing that was deleted may go before the snapshots do.
        db.checkpoint(tmp_path / "held")
        for snapshot in snapshots:
            snapshot.close()
    assert reader.read_database(tmp_path / "db").rows == rows
    found = reader.read_database(tmp_path / "held")
    assert found.rows == rows
    levels = {info.level for info in found.files.tables.values()}
    assert max(levels) > 0
    assert any(table.index_blocks > 1 for table in found.tables.values())
    assert any(table.ranges for table in found.tables.values())


def test_what_is_published_now_is_as_specified(tmp_path: Path) -> None:
    rows = {b"%04d" % i: b"x" * (i * 7 % 3000) for i in range(1000)}
    shuffled = sorted(rows.items(), key=lambda row: row[1])
    with lsmkv.open(tmp_path / "db", memtable_bytes=64 << 10) as db:
        with db.publish("a/b", version="1") as publisher:
            publisher.put_many(shuffled)
        with db.publish("a/b", version="2", default_ttl=1e9) as publisher:
            publisher.put(b"key", b"value")
        db.namespace("plain").put(b"key", b"value")
        db.rollback("a/b", "1")
    found = reader.read_database(tmp_path / "db")
    assert found.published.keys() == {("a/b", "1"), ("a/b", "2")}
    assert found.published["a/b", "1"] == rows
    assert found.published["a/b", "2"] == {b"key": b"value"}
    assert found.system.currents == {"a/b": "1"}
    assert found.spaces == {"plain": {b"key": b"value"}}


@pytest.mark.parametrize(
    "name", ["CURRENT", "HOTLIST", "MANIFEST-*", "*.log", "*.tbl", "*.seg"]
)
def test_the_second_reader_notices_any_changed_byte(golden: Path, name: str) -> None:
    rng = random.Random(name)
    for path in sorted(golden.glob(name)):
        data = path.read_bytes()
        # The end of a file is where a reader is tempted to stop.
        places = {rng.randrange(len(data)) for _ in range(12)} | {0, len(data) - 1}
        for place in places:
            changed = bytearray(data)
            changed[place] ^= 1 << rng.randrange(8)
            path.write_bytes(changed)
            with pytest.raises((WrongBytesError, LookupError, ValueError)):
                reader.read_database(golden)
        path.write_bytes(data)
    assert reader.read_database(golden).rows == contents.expected()


@pytest.mark.parametrize("name", ["MANIFEST-*", "*.log", "*.tbl"])
def test_a_later_version_is_refused_as_such(golden: Path, name: str) -> None:
    path = max(golden.glob(name))  # of logs the one that is replayed
    data = bytearray(path.read_bytes())
    start, end = 0, 64
    if path.suffix == ".tbl":
        start, end = len(data) - FOOTER_SIZE, len(data)
    struct.pack_into("<I", data, start + 8, make.VERSION + 1)
    digest = xxhash.xxh3_64_intdigest(bytes(data[start : end - 8]))
    struct.pack_into("<Q", data, end - 8, digest)
    path.write_bytes(data)
    before = {file.name: file.read_bytes() for file in golden.iterdir()}
    with pytest.raises(lsmkv.UnsupportedVersionError, match="version"):
        read_all(golden)
    before.pop("LOCK", None)
    if path.suffix != ".tbl":  # a table is opened when it is first read
        after = {file.name: file.read_bytes() for file in golden.iterdir()}
        after.pop("LOCK")
        assert after == before


def read_all(directory: Path) -> None:
    """Open a database and read every table of it."""
    with lsmkv.open(directory, create=False) as db:
        list(db.items())

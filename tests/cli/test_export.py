# SPDX-License-Identifier: Apache-2.0
"""Goal: an export holds every row asked for, exactly, as of one moment; one that was
interrupted goes on to the same file; and no change of the file goes unnoticed.

Method: databases of any bytes, drawn by hypothesis, through an export and an import in
both formats; exports cut off at each place, and changed at each byte.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lsmkv
from cli.moved import call, done, refused, rows_of, spaces_of
from lsmkv.cli import dump, export, lines, parquet

FORMATS = ("jsonl", "parquet")


def objects(path: Path) -> list[dict[str, Any]]:
    """Read JSON Lines."""
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def fill(path: Path, count: int = 300) -> Path:
    """Make a database with all that exports keep."""
    with lsmkv.open(path) as db:
        for number in range(count):
            db.put(b"plain/%05d" % number, b"text %d" % number)
        db.put(b"timed", b"value", ttl=1e6)
        db.put(b"stale", b"value", ttl=1e5, stale=1e5)
        db.put(b"", b"")
        db.put(bytes(range(256)), bytes(range(256)) * 40)
        db.put("héllo\n".encode(), "wörld\\\t".encode())
        sessions = db.namespace("sessions", ttl=3600, compression="zstd")
        sessions.put_many({b"s%d" % number: b"x" * number for number in range(50)})
        db.namespace("empty", max_bytes=1 << 20)
        db.vectors("emb", dim=3, dtype="float16", metric="dot").put_many(
            np.arange(20, dtype=np.uint64), np.arange(60, dtype="f2").reshape(20, 3)
        )
    return path


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("export") / "db")


@pytest.mark.parametrize("file_format", FORMATS)
def test_an_import_of_an_export_has_the_same_rows_times_and_namespaces(
    database: Path, tmp_path: Path, file_format: str
) -> None:
    file = tmp_path / f"out.{file_format}"
    said = done("export", database, file, "--all")
    assert said["format"] == file_format
    assert said["rows"] == sum(map(len, rows_of(database).values())) == 375
    assert said["bytes"] == file.stat().st_size
    assert list(tmp_path.iterdir()) == [file]
    put = done("import", tmp_path / "new", file, "--create")
    assert put["rows"] == said["rows"]
    assert put["uuid"] == said["uuid"]
    assert put["created"] == ["emb", "empty", "sessions"]
    assert rows_of(tmp_path / "new") == rows_of(database)
    assert spaces_of(tmp_path / "new") == spaces_of(database)


_KEYS = st.one_of(
    st.binary(max_size=12), st.text("a\\\"'\n\x00é", max_size=6).map(str.encode)
)
_ROWS = st.lists(
    st.tuples(
        st.sampled_from(["", "a", "naïve \\ \n"]),
        _KEYS,
        st.one_of(_KEYS, st.binary(max_size=200), st.just(b"\0" * 65)),
        st.sampled_from([None, 1e4, 1e6]),
        st.sampled_from([0, 1e5]),
    ),
    max_size=25,
)


@given(rows=_ROWS, chunk=st.integers(1, 7))
@settings(max_examples=25)
def test_any_rows_come_back_from_both_formats(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[Any, ...]], chunk: int
) -> None:
    place = tmp_path_factory.mktemp("any")
    with lsmkv.open(place / "db") as db:
        spaces = {name: db.namespace(name) if name else db for name, *_ in rows}
        for name, key, value, ttl, stale in rows:
            spaces[name].put(key, value, ttl=ttl, stale=stale)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dump, "CHUNK_ROWS", chunk)
        patch.setattr(parquet, "GROUP_ROWS", chunk)
        for file_format in FORMATS:
            file = place / f"out.{file_format}"
            done("export", place / "db", file, "--all")
            done("import", place / file_format, file, "--create", "--batch-bytes", 100)
            assert rows_of(place / file_format) == rows_of(place / "db")
    shutil.rmtree(place)


def test_lines_are_json_that_says_text_as_text(database: Path, tmp_path: Path) -> None:
    done("export", database, tmp_path / "out", "--all")
    found = objects(tmp_path / "out")
    assert found[0]["lsmkv"] == "export"
    assert {
        "namespace": "sessions",
        "options": {"default_ttl_ms": 3_600_000, "codec": 1, "codec_level": 0},
    } in found
    vectors = {"dim": 3, "dtype": "float16", "metric": "dot"}
    assert {"namespace": "emb", "options": {}, "vectors": vectors} in found
    assert {"key": "plain/00007", "value": "text 7"} in found
    assert {"key": "", "value": ""} in found
    assert {"key": "héllo\\n", "value": "wörld\\\\\\t"} in found
    assert {"namespace": "sessions", "key": "s2", "value": "xx"}.items() <= next(
        each for each in found if each.get("key") == "s2"
    ).items()
    assert found[-1]["end"] is True
    assert found[-1]["rows"] == 375


def test_a_part_of_the_keys_can_be_exported(database: Path, tmp_path: Path) -> None:
    def keys(*options: object) -> list[str]:
        done("export", database, tmp_path / "part", "--force", *options)
        found = objects(tmp_path / "part")
        return [each["key"] for each in found if "key" in each]

    assert keys("--prefix", "plain/0000") == [f"plain/0000{n}" for n in range(10)]
    assert keys("--start", "plain/00298", "--stop", "stale") == [
        "plain/00298",
        "plain/00299",
    ]
    assert keys("-n", "sessions", "--prefix", "s1", "--stop", "s11") == ["s1", "s10"]
    assert len(keys()) == 304  # and one in base64


def test_what_is_streamed_is_what_would_be_in_the_file(
    database: Path, tmp_path: Path
) -> None:
    streamed = call("export", database, "-", "-n", "sessions", "--json")
    assert streamed.exit_code == 0
    put = done("import", tmp_path / "new", "-", "--create", stdin=streamed.stdout_bytes)
    assert put["rows"] == 50
    assert rows_of(tmp_path / "new")["sessions"] == rows_of(database)["sessions"]


def test_vectors_by_themselves_are_a_column_of_lists(
    database: Path, tmp_path: Path
) -> None:
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    file = tmp_path / "emb.parquet"
    done("export", database, file, "-n", "emb")
    table = pq.read_table(file)
    assert table["vector"].type.list_size == 3
    assert table["vector"].to_pylist()[7] == [21, 22, 23]
    done("import", tmp_path / "new", file, "--create")
    assert rows_of(tmp_path / "new")["emb"] == rows_of(database)["emb"]


def test_numbers_that_are_equal_but_not_the_same_stay_as_they_are(
    tmp_path: Path,
) -> None:
    strange = np.array([0x7FC00001, 0x7FC00002, 0x80000000, 0], "u4").view("f4")
    with lsmkv.open(tmp_path / "db") as db:
        db.vectors("v", dim=2).put_many([b"a", b"b"], strange.reshape(2, 2))
    done("export", tmp_path / "db", tmp_path / "v.parquet", "-n", "v")
    done("import", tmp_path / "new", tmp_path / "v.parquet", "--create")
    assert rows_of(tmp_path / "new") == rows_of(tmp_path / "db")


def test_a_value_that_is_no_vector_is_refused_as_a_column_of_lists(
    tmp_path: Path,
) -> None:
    with lsmkv.open(tmp_path / "db") as db:
        db.vectors("v", dim=2).namespace.put(b"key", b"short")
    file = tmp_path / "v.parquet"
    assert "5 bytes, a vector 8" in refused("export", tmp_path / "db", file, "-n", "v")
    done("export", tmp_path / "db", tmp_path / "v.jsonl", "-n", "v")


@pytest.mark.parametrize(
    ("arguments", "status", "why"),
    [
        (["-", "--resume"], 2, "JSON Lines"),
        (["-", "--format", "parquet"], 2, "JSON Lines"),
        (["x.parquet", "--resume"], 2, "Parquet"),
        (["x", "--all", "-n", "sessions"], 2, "--all"),
        (["x", "-n", "nowhere"], 1, "nowhere"),
        (["x", "--prefix", "\\q"], 2, "column 1"),
        ([], 2, "OUT"),
        (["x", "--report", "y"], 2, "OUT"),
        (["--report", "y", "--prefix", "z"], 2, "whole database"),
        (["--plot", "y.gif"], 2, ".svg or .png"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(
    database: Path, tmp_path: Path, arguments: list[str], status: int, why: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        assert why in refused("export", database, *arguments, status=status)
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_there_is_replaced_only_if_asked_to(
    database: Path, tmp_path: Path
) -> None:
    file = tmp_path / "out"
    file.write_text("dear")
    assert "--force" in refused("export", database, file, status=2)
    assert file.read_text() == "dear"
    done("export", database, file, "--force")
    assert file.read_text() != "dear"


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_file_is_on_disk_before_it_has_its_name_and_then_the_name(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file_format: str
) -> None:
    file = tmp_path / f"out.{file_format}"
    synced = []

    def fsync(number: int) -> None:
        found = os.fstat(number)
        synced.append((found.st_ino, found.st_size, file.exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    done("export", database, file)
    whole, directory = file.stat(), tmp_path.stat()
    assert synced == [
        (whole.st_ino, whole.st_size, False),
        (directory.st_ino, directory.st_size, True),
    ]


def stripped(path: Path) -> list[bytes]:
    """The rows of a file, without what tells of chunks and moments."""
    return [
        line
        for line in path.read_bytes().splitlines()
        if line.startswith((b'{"key', b'{"namespace'))
    ]


def test_an_export_that_was_cut_off_anywhere_goes_on(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dump, "CHUNK_ROWS", 40)
    whole = tmp_path / "whole"
    done("export", database, whole, "--all")
    data = whole.read_bytes()
    partial = tmp_path / f"out{export.PARTIAL}"
    for size in [0, 5, *range(100, len(data), len(data) // 12), len(data)]:
        partial.write_bytes(data[:size])
        said = done(
            "export", database, tmp_path / "out", "--all", "--resume", "--force"
        )
        assert said["rows"] == 375
        assert said["resumed"] <= 375
        assert stripped(tmp_path / "out") == stripped(whole)
        done("import", tmp_path / f"new{size}", tmp_path / "out", "--create")
        assert not partial.exists()
    assert said["resumed"] == 375
    new = rows_of(tmp_path / f"new{len(data)}")
    assert new == rows_of(database)


def test_an_export_goes_on_only_with_the_same_rows_of_the_same_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dump, "CHUNK_ROWS", 40)
    database = fill(tmp_path / "db")
    file, partial = tmp_path / "out", tmp_path / f"out{export.PARTIAL}"
    done("export", database, file)
    half = file.read_bytes()
    half = half[: len(half) * 3 // 4]
    file.unlink()
    partial.write_bytes(half)
    again = ("export", database, file, "--resume")
    assert "other rows" in refused(*again, "--prefix", "plain")
    with lsmkv.open(database) as db:
        db.put(b"zz", b"later")
    assert "--changed" in refused(*again)
    assert partial.read_bytes() == half
    said = done(*again, "--changed")
    assert said["resumed"] > 0
    assert b'{"resumed": ' in file.read_bytes()
    done("import", tmp_path / "new", file, "--create")
    assert rows_of(tmp_path / "new")[""] == rows_of(database)[""]
    partial.write_bytes(file.read_bytes())  # the rest is of the later moment now
    assert done(*again, "--force")["resumed"] == said["rows"]
    with lsmkv.open(database) as db:
        db.namespace("another")
    partial.write_bytes(half)
    assert "--changed" in refused(*again, "--force")


_KILLED = """
import os, signal, sys
from lsmkv.cli import __main__, lines
write = lines.LinesSink.add
def add(self, *arguments):
    write(self, *arguments)
    if self._rows >= 120:
        os.kill(os.getpid(), signal.SIGKILL)
lines.LinesSink.add = add
from lsmkv.cli import dump
dump.CHUNK_ROWS = 40
__main__.main(sys.argv[1:])
"""


def test_an_export_that_was_killed_goes_on(database: Path, tmp_path: Path) -> None:
    file = tmp_path / "out"
    arguments = [sys.executable, "-c", _KILLED, "export", str(database), str(file)]
    root = str(Path(__file__).parents[2])
    killed = subprocess.run(
        arguments, env=os.environ | {"PYTHONPATH": root}, capture_output=True
    )
    assert killed.returncode == -signal.SIGKILL
    assert not file.exists()
    assert done("export", database, file, "--resume")["rows"] == 305
    done("import", tmp_path / "new", file, "--create")
    assert rows_of(tmp_path / "new")[""] == rows_of(database)[""]


def test_missing_pyarrow_is_named(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    why = refused("export", database, tmp_path / "out.parquet")
    assert "pip install 'lsmkv[parquet]'" in why


def test_a_row_is_read_as_it_was_written_in_every_notation() -> None:
    for data in (b"", b"plain", b'"', b"\\", b"\n", b"\xff", b"\xff" * 65, bytes(256)):
        line = lines._line("n", dump.Row(data, data, 1, 2))
        assert lines._row(line.encode()) == ("n", dump.Row(data, data, 1, 2))

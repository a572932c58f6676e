# SPDX-License-Identifier: Apache-2.0
"""Goal: `table`, `wal`, `manifest` and `segments` show files of whole and damaged
databases, mark damage, and say what else to type.

Method: the commands in this process, on copies of the golden database and what is left
of it.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lsmkv.cli.__main__ import main
from lsmkv.cli.status import Status

GOLDEN = Path(__file__).parents[1] / "golden" / "v1"
COMMANDS = ("table", "wal", "manifest", "segments")
FILES = {
    "table": "000058.tbl",
    "wal": "000061.log",
    "manifest": "MANIFEST-000060",
    "segments": "000059.seg",
}


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOLDEN, tmp_path / "db"))


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def pieces(*arguments: object) -> list[dict[str, Any]]:
    lines = run(*arguments, "--json").stdout.splitlines()
    return [json.loads(line) for line in lines]


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_a_whole_database_has_no_damage() -> None:
    for command, name in FILES.items():
        result = run(command, GOLDEN / name, "--entries")
        assert result.exit_code == Status.OK, result.output
        assert result.stdout.endswith("1 file, no damage\n")
        assert result.stdout.startswith(f"{name}: ")
    assert run("wal", GOLDEN).stdout.endswith("4 files, no damage\n")
    assert run("manifest", GOLDEN).stdout.endswith("2 files, no damage\n")
    assert run("segments", GOLDEN).stdout.endswith("7 files, no damage\n")


def test_files_of_a_database_come_in_order_and_with_their_state() -> None:
    heads = [one for one in pieces("wal", GOLDEN) if one["kind"] == "file"]
    assert [(one["file"], one["facts"]["state"]) for one in heads] == [
        ("000002.log", "sealed: a segment"),
        ("000008.log", "sealed: a segment"),
        ("000049.log", "sealed: a segment"),
        ("000061.log", "live"),
    ]
    heads = [one for one in pieces("manifest", GOLDEN) if one["kind"] == "file"]
    assert [one["file"] for one in heads] == ["CURRENT", "MANIFEST-000060"]
    heads = [one for one in pieces("segments", GOLDEN) if one["kind"] == "file"]
    assert [one["file"] for one in heads if one["name"] != "log"] == [
        "000009.cache",
        "000023.seg",
        "000056.cache",
        "000059.seg",
    ]


def test_entries_are_keys_as_they_are_typed() -> None:
    shown = run("table", GOLDEN / "000058.tbl", "--entries").stdout
    assert "large value  sequence" in shown
    assert "of namespace" in shown
    (end,) = [p for p in pieces("table", GOLDEN / "000058.tbl") if p["kind"] == "end"]
    assert end["facts"]["damaged_places"] == 0


def test_a_limit_leaves_damage_in(golden: Path) -> None:
    flip(golden / "MANIFEST-000060", 2200)
    result = run("manifest", golden / "MANIFEST-000060", "--limit", 2)
    assert result.exit_code == Status.NO
    assert "DAMAGED record: a record expected" in result.stdout
    assert "\n                               and " in result.stdout
    assert "1 file: DAMAGED in 1 place, " in result.stdout
    assert result.stdout.endswith(f"what to do: lsmkv doctor {golden}\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_damage_anywhere_is_marked_and_passed(command: str, golden: Path) -> None:
    path = golden / FILES[command]
    size = path.stat().st_size
    for at in range(0, size, size // 24 + 1):
        flip(path, at)
        result = run(command, path, "--entries")
        assert "\n1 file" in result.stdout
        assert (result.exit_code == Status.NO) == ("DAMAGED" in result.stdout)
        if command == "table":
            assert result.exit_code == Status.NO
        flip(path, at)
    for left in range(0, size, size // 8 + 1):
        path.write_bytes((GOLDEN / FILES[command]).read_bytes()[:left])
        result = run(command, path)
        assert result.exit_code in (Status.OK, Status.NO)
        assert (result.exit_code == Status.NO) == ("DAMAGED" in result.stdout)
        # What was written last need not have been synced.
        assert result.exit_code == Status.NO or command in ("wal", "manifest")


def test_what_the_manifest_knows_is_used(golden: Path) -> None:
    table = golden / "000058.tbl"
    entries = len(pieces("table", table, "--entries"))
    flip(table, table.stat().st_size - 1)
    assert len(pieces("table", table, "--entries")) == entries
    shutil.copy(golden / "000059.seg", golden / "000023.seg")
    shown = run("segments", golden / "000023.seg")
    assert "written as number 59, its name says 23" in shown.stdout
    assert "another file" in shown.stdout
    assert "3,584 bytes expected, as the MANIFEST says" in shown.stdout
    data = (golden / "000049.log").read_bytes()
    (golden / "000049.log").write_bytes(data[:64])
    assert "33,736 bytes expected" in run("wal", golden).stdout


def test_it_works_on_what_is_left_of_a_database(golden: Path) -> None:
    (golden / "CURRENT").unlink()
    assert run("wal", golden).exit_code == Status.OK
    assert run("manifest", golden).stdout.startswith("MANIFEST-000060: ")
    (golden / "MANIFEST-000060").write_bytes(b"\0" * 100)
    result = run("manifest", golden)
    assert result.exit_code == Status.NO
    assert run("segments", golden).exit_code == Status.OK
    (golden / "CURRENT").write_bytes(b"nonsense")
    result = run("manifest", golden)
    assert "DAMAGED content: " in result.stdout
    assert result.exit_code == Status.NO


def test_one_file_that_cannot_be_read_does_not_hide_the_others(golden: Path) -> None:
    (golden / "000007.log").mkdir()
    result = run("wal", golden)
    assert "DAMAGED file: " in result.stdout
    assert "000061.log: log" in result.stdout
    assert result.exit_code == Status.NO


def test_a_wrong_argument_says_what_to_type(golden: Path, tmp_path: Path) -> None:
    result = run("table", golden)
    assert result.exit_code == Status.USAGE
    assert "lsmkv table " in result.stderr
    assert "000012.tbl" in result.stderr
    result = run("wal", golden / "000012.tbl")
    assert result.exit_code == Status.USAGE
    assert "is of type table: lsmkv table " in result.stderr
    result = run("table", golden / "HOTLIST")
    assert "is of type hotlist\n" in result.stderr
    assert run("wal", tmp_path / "absent").exit_code == Status.USAGE
    (tmp_path / "empty").mkdir()
    result = run("manifest", tmp_path / "empty")
    assert result.exit_code == Status.UNUSABLE
    assert "is not an lsmkv database" in result.stderr


def test_times_and_long_values_are_short(tmp_path: Path) -> None:
    from lsmkv.cli import files

    assert files._moment(0) == "1970-01-01T00:00:00Z"
    assert files._moment(1 << 62) == f"{1 << 62} ms"
    assert files._brief(b"a b") == '"a b"'
    assert files._brief(b"x" * 100) == "x" * 48 + "... (100 bytes)"

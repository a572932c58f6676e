# SPDX-License-Identifier: Apache-2.0
"""Goal: the commands that look after a database do it, and tell what they have done.

Method: the command line in this process, on copies of one small database, whole and
damaged; what is told in JSON is compared with what Python sees of the database.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

import lsmkv
from harness import sample
from lsmkv.cli import care, damage, render
from lsmkv.cli.__main__ import main
from lsmkv.cli.directory import sizes_of
from lsmkv.cli.status import Status


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("care") / "db"
    sample.build(path)
    return path


@pytest.fixture
def copied(original: Path, path: Path) -> Path:
    shutil.copytree(original, path)
    return path


def lsmkv_(*arguments: object, typed: str = "") -> Result:
    result = CliRunner().invoke(main, [str(each) for each in arguments], input=typed)
    assert not result.exception or isinstance(result.exception, SystemExit), result
    return result


def facts(*arguments: object, status: Status = Status.OK) -> dict[str, Any]:
    result = lsmkv_(*arguments, "--json")
    assert result.exit_code == status, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def spoil(path: Path, name: str, offset: int) -> None:
    content = bytearray((path / name).read_bytes())
    content[offset] ^= 1
    (path / name).write_bytes(content)


def test_flush_leaves_nothing_in_the_log(copied: Path) -> None:
    found = facts("flush", copied)
    assert found["after"]["tables"] > 3
    with lsmkv.open(copied) as db:
        assert db.stats().recovered_records == 0
    shown = lsmkv_("flush", copied).stdout
    assert shown.startswith("done in ")
    assert "tables" in shown


def test_compact_gives_space_back(copied: Path) -> None:
    with lsmkv.open(copied) as db:
        db.delete_range(b"user/", b"user0")
    found = facts("compact", copied)
    before, after = found["before"], found["after"]
    assert after["records"] < before["records"]
    assert after["disk_bytes"] < before["disk_bytes"]
    with lsmkv.open(copied, mode="r") as db:
        entries = sum(level.entry_count for level in db.stats().levels)
        assert entries == after["records"]


def test_compact_takes_a_range_of_a_namespace(copied: Path) -> None:
    lsmkv_("flush", copied)
    with lsmkv.open(copied) as db:
        db.namespace("features").delete_many([b"f%03d" % n for n in range(100)])
        db.flush()
    bounds = ["--start", "f", "--stop", "g"]
    assert facts("compact", copied, *bounds)["after"]["deletions"] == 100
    found = facts("compact", copied, *bounds, "--namespace", "features")
    assert found["before"]["deletions"] == 100
    assert found["after"]["deletions"] == 0
    shown = lsmkv_("compact", copied, "-n", "features").stdout
    assert "deletions" in shown
    missing = lsmkv_("compact", copied, "-n", "nothing")
    assert missing.exit_code == Status.NO
    assert "there is no namespace 'nothing'" in missing.stderr


def test_verify_reads_everything(copied: Path) -> None:
    found = facts("verify", copied)
    assert found["ok"]
    assert found["problem_count"] == 0
    assert found["files"] > 8
    assert found["bytes"] > 200_000
    assert lsmkv_("verify", copied).stdout.startswith("no damage: read ")


def test_verify_lists_every_damaged_place(copied: Path) -> None:
    table = max(copied.glob("*.tbl"), key=lambda file: file.stat().st_size)
    for offset in (3000, 5000, 9000):
        spoil(copied, table.name, offset)
    found = facts("verify", copied, status=Status.NO)
    assert found["problem_count"] == 3
    assert [problem["file"] for problem in found["problems"]] == [table.name] * 3
    offsets = [problem["offset"] for problem in found["problems"]]
    assert offsets == sorted(set(offsets))
    result = lsmkv_("verify", copied)
    assert result.exit_code == Status.NO
    assert result.stdout.startswith("DAMAGED, 3 places")
    assert f"{table.name} at {offsets[0]:,}  the checksum of a" in result.stdout
    assert f"lsmkv repair {copied} INTO" in result.stdout


def test_verify_works_where_opening_does_not(copied: Path) -> None:
    spoil(copied, "CURRENT", 3)
    with pytest.raises(lsmkv.CorruptionError):
        lsmkv.open(copied, mode="r")
    (problem,) = facts("verify", copied, status=Status.NO)["problems"]
    assert problem["file"] == "CURRENT"
    assert problem["message"] == "does not begin with the name of a MANIFEST"


def test_a_problem_seen_often_is_told_once() -> None:
    problem = lsmkv.Problem("000002.log", 64, "/data/db/000002.log@64: gone")
    other = lsmkv.Problem("", None, "/data/db: gone, too")
    found = damage.plainly("/data/db", [problem, other, problem])
    assert [each.message for each in found] == ["gone", "/data/db: gone, too"]
    assert damage.where(found[0]) == "000002.log at 64"
    assert damage.where(found[1]) == "the directory"


def test_many_problems_are_cut_short_on_the_terminal() -> None:
    problems = [lsmkv.Problem("000019.tbl", at, "[bold]gone") for at in range(60)]
    console = render.console()
    with console.capture() as shown:
        damage.show_problems(problems, console)
    assert shown.get().count("[bold]gone") == damage.SHOWN_MAX
    assert "and 10 more" in shown.get()


def test_checkpoint_is_a_database_of_its_own(copied: Path, tmp_path: Path) -> None:
    into = tmp_path / "into"
    found = facts("checkpoint", copied, into)
    assert found["files"] == len(list(into.iterdir()))
    assert 0 < found["shared_bytes"] < found["bytes"]
    with lsmkv.open(into, mode="r") as db:
        assert len(list(db.keys())) == sample.COUNT
    assert "is a database of its own" in lsmkv_("checkpoint", copied, f"{into}2").stdout
    full = lsmkv_("checkpoint", copied, into)
    assert full.exit_code == Status.USAGE
    assert str(into) in full.stderr


def test_a_database_in_use_is_locked_for_what_writes(copied: Path) -> None:
    with lsmkv.open(copied):
        for command in ("flush", "compact", "checkpoint", "destroy"):
            more = {"checkpoint": ["x"], "destroy": ["--yes"]}.get(command, [])
            result = lsmkv_(command, copied, *more)
            assert result.exit_code == Status.LOCKED, result.output
            assert str(os.getpid()) in result.stderr
        assert facts("verify", copied)["ok"]
        assert facts("warm", copied)["ok"]


def test_warm_reads_what_was_in_memory_or_a_prefix(copied: Path) -> None:
    lsmkv_("compact", copied)
    found = facts("warm", copied, "--prefix", "user/")
    assert found["blocks"] > 5
    few = facts("warm", copied, "--prefix", "user/", "--budget", "4KiB")
    assert 0 < few["blocks"] < found["blocks"]
    assert facts("warm", copied, "--prefix", "v", "-n", "rows")["blocks"] > 0
    assert lsmkv_("warm", copied, "--prefix", "user/").stdout.startswith("read ")
    (copied / "HOTLIST").unlink()
    assert "There is no list of what was in memory" in lsmkv_("warm", copied).stdout


@pytest.mark.parametrize(
    ("given", "size"),
    [
        ("1", 1),
        ("4096", 4096),
        ("64MB", 64_000_000),
        ("1.5 GiB", 3 << 29),
        ("2k", 2000),
    ],
)
def test_sizes_as_people_write_them(given: str, size: int) -> None:
    assert care.parse_size(given) == size


@pytest.mark.parametrize("given", ["", "0", "-1", "x", "1XB", "MB", "0.1", "1e3"])
def test_what_is_no_size_is_refused(given: str) -> None:
    with pytest.raises(click.BadParameter, match="is no size"):
        care.parse_size(given)


def test_repair_of_a_whole_database_loses_nothing(copied: Path, path: Path) -> None:
    into = path.with_name("into")
    found = facts("repair", copied, into)
    assert found["problems"] == []
    assert found["namespaces"][""] == sample.COUNT
    assert found["namespaces"]["features"] == 100
    assert found["caches"] == ["cache"]
    assert found["versions"] == ["model 1", "model 2"]
    assert found["bytes"] == sum(sizes_of(into).values())
    shown = lsmkv_("repair", copied, f"{into}2").stdout
    assert "lost: nothing" in shown
    assert "namespace cache: a cache" in shown
    assert facts("verify", into)["ok"]


def test_repair_tells_what_was_lost(copied: Path, path: Path) -> None:
    into = path.with_name("into")
    table = max(copied.glob("*.tbl"), key=lambda file: file.stat().st_size)
    spoil(copied, table.name, 5000)
    (copied / "000007.seg").unlink()
    found = facts("repair", copied, into, status=Status.NO)
    damaged = {each["name"]: each for each in found["damaged"]}
    assert damaged[table.name]["places"] == 1
    assert damaged[table.name]["bytes"] == table.stat().st_size
    assert damaged["000007.seg"]["bytes"] is None
    assert found["values"] > 0
    assert facts("verify", into)["ok"]
    result = lsmkv_("repair", copied, f"{into}2")
    assert result.exit_code == Status.NO
    assert "000007.seg (missing), 1 place: it holds large values" in result.stdout
    assert f"{table.name} (" in result.stdout


def test_a_dry_run_of_repair_only_tells(copied: Path, path: Path) -> None:
    spoil(copied, "CURRENT", 3)
    (copied / "000007.seg").unlink()
    told = facts("repair", copied, "--dry-run", status=Status.NO)
    assert told["into"] == ""
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    done = facts("repair", copied, path.with_name("into"), status=Status.NO)
    for name in ("values", "problem_count", "problems", "damaged"):
        assert told[name] == done[name]
    shown = lsmkv_("repair", copied, "--dry-run").stdout
    assert shown.startswith("would save ")
    assert lsmkv_("repair", copied).exit_code == Status.USAGE


def test_repair_refuses_a_directory_that_holds_something(copied: Path) -> None:
    result = lsmkv_("repair", copied, copied)
    assert result.exit_code == Status.USAGE
    assert str(copied) in result.stderr


def test_destroy_wants_to_be_sure(copied: Path) -> None:
    refused = lsmkv_("destroy", copied)
    assert refused.exit_code == Status.USAGE
    assert "--yes" in refused.stderr
    assert (copied / "CURRENT").exists()
    (copied / "notes.txt").touch()
    found = facts("destroy", copied, "--yes")
    assert found["files"] > 10
    assert found["left"] == ["notes.txt"]
    assert [file.name for file in copied.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("typed", ["y\n", "n\n", ""])
def test_destroy_asks_on_a_terminal(
    copied: Path, typed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (copied / "notes.txt").touch()
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda _: True)
    result = lsmkv_("destroy", copied, typed=typed)
    assert "for good?" in result.output
    assert (copied / "CURRENT").exists() == (typed != "y\n")
    assert result.exit_code == (0 if typed == "y\n" else 1)
    if typed == "y\n":
        assert "stays: it holds notes.txt" in result.stdout


@pytest.mark.parametrize(
    "command", [command.name for command in (*care.COMMANDS, *damage.COMMANDS)]
)
def test_where_there_is_no_database_each_says_so(command: str, tmp_path: Path) -> None:
    more = {"checkpoint": ["x"], "repair": ["x"], "destroy": ["--yes"]}
    result = lsmkv_(command, tmp_path / "no", *more.get(command, []))
    assert result.exit_code == Status.UNUSABLE
    assert str(tmp_path / "no") in result.stderr

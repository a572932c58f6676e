# SPDX-License-Identifier: Apache-2.0
"""Goal: doctor says what is wrong, what it costs, and a command that mends it.

Method: one small database, whole, damaged and misused; thresholds are lowered so that
small figures are worth a word. Every way of damage is in test_damage.py.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import shutil
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

import lsmkv
from harness import sample
from lsmkv import stats_file
from lsmkv.cli import doctor
from lsmkv.cli.__main__ import main
from lsmkv.cli.status import Status

Usage = namedtuple("Usage", "total used free")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("doctor") / "db"
    sample.build(path)
    return path


@pytest.fixture
def copied(original: Path, path: Path) -> Path:
    shutil.copytree(original, path)
    return path


def run(path: Path, *options: str) -> Result:
    result = CliRunner().invoke(main, ["doctor", str(path), *options])
    assert not result.exception or isinstance(result.exception, SystemExit), result
    return result


def findings(path: Path, severity: str) -> list[dict[str, Any]]:
    result = run(path, "--json")
    found = json.loads(result.stdout)["findings"]
    worst = {each["severity"] for each in found} & {"damage", "warning"}
    assert result.exit_code == (Status.NO if worst else Status.OK)
    return [each for each in found if each["severity"] == severity]


def only(path: Path, severity: str, text: str) -> dict[str, Any]:
    (found,) = [each for each in findings(path, severity) if text in each["text"]]
    return found


def mend(command: str) -> None:
    program, *words = shlex.split(command)
    assert program == "lsmkv"
    assert CliRunner().invoke(main, words).exit_code in {Status.OK, Status.NO}


def test_a_whole_database_is_well(copied: Path) -> None:
    before = {file.name: file.read_bytes() for file in copied.iterdir()}
    result = run(copied)
    assert result.exit_code == Status.OK
    assert "every byte of 10 files is as it was written" in result.stdout
    assert result.stdout.endswith("\nwell\n")
    assert {file.name: file.read_bytes() for file in copied.iterdir()} == before


@pytest.mark.parametrize("make", ["nothing", "directory", "file", "other file"])
def test_what_is_no_database_is_said_to_be_none(path: Path, make: str) -> None:
    if make == "file":
        path.touch()
        assert run(path).exit_code == Status.USAGE
        return
    if make != "nothing":
        path.mkdir()
    if make == "other file":
        (path / "notes.txt").touch()
    (found,) = findings(path, "damage")
    assert str(path) in found["text"]
    assert found["command"] == ""


def test_a_directory_that_may_not_be_read(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(doctor, "sizes_of", refuse)
    assert str(copied) in findings(copied, "damage")[0]["text"]


def test_a_directory_that_may_not_be_written(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda _, mode: mode != os.W_OK)
    assert 'mode="r" works' in only(copied, "advice", "may not write")["cost"]


def test_a_file_that_cannot_be_read(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise lsmkv.StorageError(5, "Input/output error", f"{path}/000008.tbl")

    monkeypatch.setattr(lsmkv, "verify", refuse)
    assert "000008.tbl" in findings(copied, "damage")[0]["text"]


def test_a_later_version_is_not_called_damage(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise lsmkv.UnsupportedVersionError(f"{path}/CURRENT: of version 9")

    monkeypatch.setattr(lsmkv, "verify", refuse)
    found = only(copied, "warning", "of version 9")
    assert found["command"].startswith("pip install")
    assert findings(copied, "damage") == []


def test_who_has_it_open_is_told_and_reading_works(copied: Path) -> None:
    with lsmkv.open(copied):
        found = only(copied, "ok", "has it open for writing")
        assert f"process {os.getpid()} " in found["text"]
        assert findings(copied, "damage") == []
    assert all("open" not in each["text"] for each in findings(copied, "ok"))
    (copied / "LOCK").unlink()
    assert findings(copied, "damage") == []


def test_what_does_not_belong_there_is_told(copied: Path) -> None:
    for number in range(7):
        (copied / f"notes{number}.txt").touch()
    (copied / "CURRENT.tmp").touch()
    (copied / "000001.tbl").mkdir()
    found = only(copied, "advice", "not files of the database: notes0.txt, ")
    assert found["text"].endswith(" and 2 more")
    assert "000001.tbl" in only(copied, "advice", "not a file, but")["text"]
    assert "CURRENT.tmp" in only(copied, "ok", "left over")["text"]


def test_a_lost_current_is_mended_by_the_command(copied: Path) -> None:
    (copied / "CURRENT").unlink()
    (found,) = findings(copied, "damage")
    assert found["file"] == "CURRENT"
    mend(found["command"])
    with lsmkv.open(copied.with_name("db-repaired"), mode="r") as db:
        assert len(list(db.keys())) == sample.COUNT
    other = findings(copied, "damage")[0]["command"]
    assert other.endswith("db-repaired-2")


def test_damage_is_told_by_file_with_what_is_lost_and_saved(copied: Path) -> None:
    table = max(copied.glob("*.tbl"), key=lambda file: file.stat().st_size)
    content = bytearray(table.read_bytes())
    for offset in range(2000, 18000, 2000):
        content[offset] ^= 1
    table.write_bytes(content)
    (found,) = findings(copied, "damage")
    assert found["file"] == table.name
    assert len(found["places"]) == 8
    assert "CorruptionError" in found["cost"]
    saved = only(copied, "warning", "repair would save")
    assert saved["text"].startswith("reading works but for")
    shown = run(copied).stdout
    assert "and 3 more: `lsmkv verify` lists them" in shown
    assert "DAMAGED" in shown


def test_the_footer_of_a_table_costs_nothing(copied: Path) -> None:
    table = next(copied.glob("*.tbl"))
    content = bytearray(table.read_bytes())
    content[-20] ^= 1
    table.write_bytes(content)
    (found,) = findings(copied, "damage")
    assert "repair loses nothing" in found["cost"]


def test_a_torn_end_of_the_log_is_a_warning(copied: Path) -> None:
    log = max(copied.glob("*.log"))
    with log.open("ab") as file:
        file.write(b"\x01" * 100)
    found = only(copied, "warning", f"{log.name} ends with 100 B")
    assert "power loss" in found["cost"]
    assert "not well" in run(copied).stdout
    mend(found["command"])
    assert findings(copied, "warning") == []


def test_a_long_log_is_advice(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LOG_RECORDS_MAX", 2 * sample.LATE)
    mend(only(copied, "advice", "records are in the log")["command"])
    assert findings(copied, "advice") == []


def test_overwritten_values_and_deletions_are_advice(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "SMALL_BYTES", 1000)
    monkeypatch.setattr(doctor, "MANY_RECORDS", 100)
    monkeypatch.setattr(doctor, "BACKLOG", 0.03)
    with lsmkv.open(path, bloom_bits_per_key=0, l0_compact_trigger=100) as db:
        for number in range(3):
            db.put_many([(b"%04d" % key, b"%d" % number) for key in range(500)])
            db.flush()
        db.delete_many([b"%04d" % key for key in range(450)])
        db.flush()
    texts = [each["text"] for each in findings(path, "advice")]
    assert sum("bloom_bits_per_key is 0" in text for text in texts) == 1
    assert sum(text.startswith("450 of 1,95") for text in texts) == 1
    mend(only(path, "advice", "4 flushed tables wait")["command"])
    with lsmkv.open(path, mode="r") as db:
        assert len(list(db.keys())) == 50
    assert findings(path, "advice") == []


def test_expired_values_are_advice(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "SMALL_BYTES", 1000)
    with lsmkv.open(path) as db:
        db.put_many([(b"%04d" % key, b"x" * 20) for key in range(200)], ttl=3600)
        db.put(b"stays", b"1")
        db.flush()
        mortal = db.tables()
    dead = [dataclasses.replace(each, expire_all_at=1.0) for each in mortal]
    (found,) = doctor._expired(path, dead)
    assert found.text.startswith("at least ")
    assert found.command == f"lsmkv compact {path}"
    monkeypatch.setattr(doctor, "SMALL_BYTES", 1 << 30)
    assert list(doctor._expired(path, dead)) == []


def _stats(**changed: object) -> Any:
    """Figures of a large database."""
    level = lsmkv.LevelStats(
        table_count=40, byte_count=1 << 30, entry_count=10**9, tombstone_count=5 * 10**8
    )
    given = {
        "levels": (level, level),
        "segment_bytes": 0,
        "segment_live_bytes": 0,
        "space_amplification": 2.0,
        "log_bytes": 0,
        "recovered_dropped_bytes": 0,
    } | changed
    return SimpleNamespace(**given)


def test_the_shape_of_a_large_database(path: Path) -> None:
    options = lsmkv.Options(
        l0_compact_trigger=4, bloom_bits_per_key=10, memory_bytes=256 << 20
    )
    texts = [each.text for each in doctor._shape(path, _stats(), options)]
    assert texts[0].startswith("40 flushed tables wait for a compaction")
    assert texts[1].startswith("the filters take about 2.5 GB")
    texts = [each.text for each in doctor._space(path, _stats())]
    assert texts[0].startswith("the files are 2.0 times as large")
    assert texts[1].startswith("1,000,000,000 of 2,000,000,000 records are deletions")
    dead = _stats(segment_bytes=4 << 30, segment_live_bytes=1 << 30)
    first = next(doctor._space(path, dead))
    assert first.text.startswith("3.2 GB of 4.3 GB in files of large values")
    assert first.command == f"lsmkv compact {path}"


@pytest.mark.parametrize(
    ("free", "severity", "text"),
    [
        (1000, "warning", "nearly full"),
        (1 << 30, "advice", "of tables"),
        (1 << 40, "", ""),
    ],
)
def test_a_full_disk(
    path: Path, monkeypatch: pytest.MonkeyPatch, free: int, severity: str, text: str
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1 << 40, 0, free))
    found = list(doctor._disk(path, _stats()))
    assert [each.severity for each in found] == [severity] * bool(severity)
    assert all(text in each.text for each in found)


def test_a_missing_hot_list_is_advice(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "SMALL_BYTES", 1000)
    assert all("list of" not in each["text"] for each in findings(copied, "advice"))
    (copied / "HOTLIST").unlink()
    assert "open(warm=True)" in only(copied, "advice", "no list of what")["cost"]
    assert "with advice" in run(copied).stdout


def test_what_a_process_that_writes_tells_of_itself(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = stats_file.read

    def tells(**changed: object) -> list[doctor.Finding]:
        def changed_figures(directory: Path) -> stats_file.Figures:
            told = read(directory)
            stats = dataclasses.replace(told.stats, **changed)  # type: ignore[arg-type]
            return dataclasses.replace(told, stats=stats)

        monkeypatch.setattr(stats_file, "read", changed_figures)
        return list(doctor._process(path))

    with lsmkv.open(path, stats_interval=0.001) as db:
        db.put(b"a", b"1")
        while not (path / "STATS").exists():
            db.sync()
        assert tells() == []
        (full,) = tells(state="degraded")
        assert full.severity == "warning"
        assert f"process {os.getpid()}" in full.text
        assert "disk is full" in full.text
        (failed,) = tells(state="poisoned")
        assert "read-only" in failed.text
        (slow,) = tells(stall_us=3600 * 10**6)
        assert slow.severity == "advice"
        assert "held up for" in slow.text
    assert tells(state="degraded") == []  # nobody has it open
    (path / "STATS").unlink()
    assert tells(state="degraded") == []

# SPDX-License-Identifier: Apache-2.0
"""Goal: the commands that look inside tell what there is, and draw it readably.

Method: databases of which tables, deletions and expiry are known, through click's
runner and on a terminal of 100 columns; the tables in each mode of opening.
"""

from __future__ import annotations

import dataclasses
import io
import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from prometheus_client import parser
from rich.console import Console

import lsmkv
from lsmkv.cli import look, render, values
from lsmkv.cli.__main__ import main
from lsmkv.cli.command import Place


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a database with two levels, deletions, large values, and what expires."""
    path = tmp_path_factory.mktemp("look") / "db"
    with lsmkv.open(path, background_threads=1) as db:
        db.put_many((b"key/%04d" % n, b"x" * 50) for n in range(2000))
        db.put(b"large", b"y" * 5000)
        db.compact()
        db.namespace("users").put(b"ada", b"1")
        db.delete(b"key/0001")
        db.delete_range(b"key/0100", b"key/0200")
        db.flush()
        db.put_many({b"a": b"1", b"z": b"2"}, ttl=3600)
        db.flush()
        db.settle()
    return path


def lsm(*arguments: object) -> str:
    found = CliRunner().invoke(main, [str(each) for each in arguments])
    assert found.exit_code == 0, found.output
    return found.stdout


def shown(command: str, result: object, width: int = 100) -> list[str]:
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=width, color_system=None)
    found = {each.name: each for each in look.COMMANDS}[command]
    found.show(result, console)
    return output.getvalue().splitlines()


def of(path: Path, command: str, **arguments: object) -> object:
    found = {each.name: each for each in look.COMMANDS}[command]
    with lsmkv.open(path, mode="r") as db:
        return found.run(render.progress(silent=True), Place(db), **arguments)


def test_tables_are_those_of_the_levels(db: lsmkv.DB) -> None:
    assert db.tables() == [] or db.tables()[0].first.namespace_id == 0
    db.put_many((b"%04d" % n, b"x") for n in range(100))
    db.put(b"large", b"y" * 5000, ttl=100)
    db.flush()
    db.delete(b"0001")
    db.flush()
    tables, levels = db.tables(), db.stats().levels
    for number, level in enumerate(levels):
        mine = [table for table in tables if table.level == number]
        assert len(mine) == level.table_count
        assert sum(table.byte_count for table in mine) == level.byte_count
        assert sum(table.entry_count for table in mine) == level.entry_count
        assert sum(table.tombstone_count for table in mine) == level.tombstone_count
    newest, older = tables[:2]
    assert newest.number > older.number
    assert newest.sequence_min == newest.sequence_max == older.sequence_max + 1
    assert (newest.tombstone_count, newest.entry_count) == (1, 1)
    assert newest.first == lsmkv.TableKey(namespace_id=1, namespace="", key=b"0001")
    assert older.last.key == b"large"
    assert list(older.segments.values()) == [5056]  # a multiple of 64
    assert older.expire_all_at is None
    assert older.expire_half_at is None
    assert older.byte_count == (Path(db.path) / older.file).stat().st_size


def test_tables_are_listed_in_every_mode(path: Path) -> None:
    with lsmkv.open(path) as db:
        db[b"a"] = b"1"
        db.flush()
        with (
            lsmkv.open(path, mode="r") as reader,
            lsmkv.open(path, mode="follower") as follower,
            lsmkv.open(path, mode="r", trusted=False) as stranger,
        ):
            first = db.tables()
            assert first == reader.tables() == follower.tables() == stranger.tables()
            db[b"b"] = b"2"
            db.flush()
            db.compact()
            assert db.tables() != first
            assert reader.tables() == follower.tables() == first
            follower.refresh()
            assert follower.tables() == db.tables()
            assert reader.tables() == first
    with pytest.raises(lsmkv.ClosedError):
        db.tables()


def test_tables_know_when_they_expire(db: lsmkv.DB) -> None:
    db.flush()
    before = time.time()
    db.put(b"a", b"x" * 500, ttl=100)
    db.put(b"b", b"x", ttl=200)
    db.flush()
    (table,) = [table for table in db.tables() if table.first.key == b"a"]
    assert table.expire_half_at is not None
    assert before + 90 < table.expire_half_at <= (table.expire_all_at or 0)
    assert table.expire_all_at == pytest.approx(before + 200, abs=60)


def test_bounds_name_the_namespace_while_there_is_one(db: lsmkv.DB) -> None:
    db.namespace("users").put(b"ada", b"1")
    db.flush()
    last = db.tables()[0].last
    assert (last.namespace, last.key) == ("users", b"ada")
    db.drop_namespace("users")
    assert db.tables()[0].last == dataclasses.replace(last, namespace=None)


def test_levels_are_drawn(stored: Path) -> None:
    found = of(stored, "levels")
    assert isinstance(found, look.Tree)
    top, bottom = found.levels
    assert (top.level, top.tables) == (0, 2)
    assert (top.tombstones, top.range_deletes) == (1, 1)
    assert bottom.large_value_bytes == 5056
    assert bottom.records >= 2001
    lines = shown("levels", found)
    assert lines[0].startswith("level 0  ")
    assert "2 tables" in lines[0]
    assert "1 deletion, 1 range delete" in lines[0]
    assert f"level {bottom.level}  █" in lines[1]
    assert "points to 5.1 kB" in lines[1]
    assert any(line.startswith("large values: ") for line in lines)
    assert lines[-1].startswith("amplification: space ")
    assert "write -, read -" in lines[-1]
    assert json.loads(lsm("levels", stored, "--json"))["levels"][0]["tables"] == 2


def test_expiry_of_levels_is_told(tmp_path: Path) -> None:
    with lsmkv.open(tmp_path / "db") as db:
        db.compact()  # the options, which stay, go down
        db.put(b"a", b"1", ttl=7200)
        db.flush()
        found = look.levels(render.progress(silent=True), Place(db))
        assert "gone in 1 h 59 min" in shown("levels", found)[0]
        table = db.tables()[0]
        soon = dataclasses.replace(table, expire_half_at=1.0)
        gone = dataclasses.replace(soon, expire_all_at=2.0)
        level = look._level(0, [table, soon, gone], time.time())
        assert (level.expired_tables, level.half_expired_tables) == (1, 2)
        assert look._remark(level, time.time()).startswith("1 expired, 1 half expired")
        now = time.time()
        remarks = [look._table_remark(each, now) for each in (table, soon, gone)]
        assert remarks == ["gone in 1 h 59 min", "half expired", "expired"]
        assert db.stats().write_amplification > 0
        assert "write -" not in shown("levels", found)[-1]


def test_a_database_without_tables_says_so() -> None:
    tree = look.Tree(True, [], 0, 0, 0, 0, 0.0, 0.0, 0.0, 0.0)
    assert shown("levels", tree)[0] == "no tables yet"
    assert shown("tables", look.Tables(True, [], 0.0)) == ["no tables yet"]


def test_tables_are_a_line_each(stored: Path) -> None:
    found = of(stored, "tables")
    assert isinstance(found, look.Tables)
    for width in (70, 100):
        lines = shown("tables", found, width)
        assert len(lines) == 1 + len(found.tables)
        assert max(map(len, lines)) <= width
    assert "a … z" in lines[1]
    assert lines[2].split()[0] == found.tables[1].file
    assert "… users: " in lines[2] or "users: ada" in lines[2]
    assert "1 range delete" in lines[2]
    whole = lsm("tables", stored).splitlines()
    assert "(engine) namespace/users … users: ada" in whole[2]
    assert "5.1 kB in 1 file" in whole[3]
    facts = json.loads(lsm("tables", stored, "--json"))
    assert facts["tables"][1]["last"] == {
        "namespace_id": found.tables[1].last.namespace_id,
        "namespace": "users",
        "key": "ada",
    }


def test_bounds_without_a_name_and_open_ends_are_told(stored: Path) -> None:
    found = of(stored, "tables")
    assert isinstance(found, look.Tables)
    lost = lsmkv.TableKey(namespace_id=9, namespace=None, key=b"a")
    table = dataclasses.replace(
        found.tables[0], first=lost, last=lost, last_excluded=True
    )
    assert look._keys(table, None) == "#9: a … before a"


def test_figures_are_told_in_groups(stored: Path) -> None:
    with lsmkv.open(stored, mode="r") as db:
        db.get(b"a")
        db.get_many([b"a", b"nothing"])
        assert list(db.keys(prefix=b"z")) == [b"z"]
        found = look.stats(render.progress(silent=True), Place(db), prometheus=False)
    lines = shown("stats", found)
    assert lines[0].strip() == "state"
    assert any(line.split()[:2] == ["state", "read-only"] for line in lines)
    assert any("Size of the 3 tables." in line for line in lines)
    assert any("66.7% found, 2 B." in line for line in lines)
    assert any(line.startswith("  scan  ") for line in lines)
    assert not any("stall" in line for line in lines)  # what is 0
    facts = json.loads(lsm("stats", stored, "--json"))
    assert facts["stats"]["state"] == "read-only"
    assert facts["memory"]["budget_bytes"] == 256 << 20


def test_names_of_namespaces_are_text_and_no_markup(db: lsmkv.DB) -> None:
    db.namespace("[bold]\x1b").get(b"a")
    found = look.stats(render.progress(silent=True), Place(db), prometheus=False)
    assert any(line.startswith("  [bold]\\x1b ") for line in shown("stats", found))


def test_every_figure_is_shown_somewhere() -> None:
    shown_names = {name for names in look.GROUPS.values() for name in names}
    fields = {field.name for field in dataclasses.fields(lsmkv.Stats)}
    assert shown_names == fields - {"levels", "follower", "namespaces", "latencies"}


def test_figures_have_their_units() -> None:
    assert look._figure("stall_us", 2_500_000) == "2.5 s"
    assert look._figure("cache_capacity", 5_000_000) == "5.0 MB"
    assert look._figure("warming", True) == "yes"
    assert look._figure("write_count", 12345) == "12,345"


def test_prometheus_reads_the_text(stored: Path) -> None:
    families = list(
        parser.text_string_to_metric_families(lsm("stats", stored, "--prometheus"))
    )
    assert "lsmkv_level_table_count" in {family.name for family in families}


def test_every_option_is_listed_with_its_default(stored: Path) -> None:
    found = of(stored, "options")
    assert isinstance(found, look.OptionList)
    by_name = {each.name: each for each in found.options}
    assert list(by_name) == [field.name for field in dataclasses.fields(lsmkv.Options)]
    for each in found.options:
        assert each.default, each.name
        assert each.about, each.name
    assert by_name["memory_bytes"].value == 256 << 20
    assert by_name["memory_bytes"].default == "256 MiB"
    assert by_name["durability"].default == "os"
    assert by_name["sync_interval"].default == "1.0"
    assert by_name["block_bytes"].remembered
    assert not by_name["mapping"].remembered
    lines = shown("options", found)
    assert lines[1].split()[:5] == ["memory_bytes", "256", "MiB", "256", "MiB"]
    assert any(line.split()[:2] == ["mapping", "on"] for line in lines)
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 ms"),
        (0.35, "350 ms"),
        (1, "1 s"),
        (59.9, "59 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 0 min"),
        (200_000, "2 d 7 h"),
    ],
)
def test_times_are_told_as_people_do(seconds: float, text: str) -> None:
    assert render.span(seconds) == text


def test_what_is_cut_is_marked() -> None:
    assert values.cut("abcdef", 4) == "abc…"
    assert values.cut("abc", 4) == "abc"

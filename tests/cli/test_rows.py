# SPDX-License-Identifier: Apache-2.0
"""Goal: the commands about rows do what they say, for any bytes, in pipes as well.

Method: a database with all kinds of keys and values, asked and changed through click's
runner, whose output is a pipe; through a console that is a terminal where it matters
that it is one.
"""

from __future__ import annotations

import functools
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

import lsmkv
from lsmkv.cli import nearest, render, rows, spaces, text
from lsmkv.cli.__main__ import main
from lsmkv.cli.command import CommandError, Place

ALL_BYTES = bytes(range(256))


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a database that is only read."""
    path = tmp_path_factory.mktemp("rows") / "db"
    with lsmkv.open(path) as db:
        for n in range(1, 4):
            db[b"user/%d" % n] = b'{"n": %d}' % n
        db[ALL_BYTES] = ALL_BYTES
        db[b""] = b""
        db[b"large"] = b"\x00\xff" * 500_000
        db.namespace("sessions", default_ttl=3600).put(b"user/1", b"logged in")
        items = db.vectors("items", dim=4, metric="l2")
        items.put_many([b"apple", b"pear"], np.eye(4, dtype="float32")[:2])
        items.put(7, np.ones(4, "float32"))
        db.vectors("bits", dim=2, dtype="bfloat16", metric="dot").put_many(
            [b"a", b"b", b"c"], np.array([[0x3F80, 0], [0x4000, 0], [0, 0]], "uint16")
        )
        with db.publish("words", version="1") as words:
            words.put(b"a", b"1")
        db.namespace("cache", max_bytes=1 << 20).put(b"k", b"v")
    return path


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    path = tmp_path / "db"
    with lsmkv.open(path) as db:
        db[b"a"] = b"1"
        db.namespace("sessions", default_ttl=3600)
        db.vectors("items", dim=2)
    return path


def lsm(*arguments: object, data: bytes | None = None, status: int = 0) -> Result:
    found = CliRunner().invoke(main, [str(each) for each in arguments], input=data)
    assert found.exit_code == status, found.output
    return found


def test_a_value_is_shown_and_its_bytes_come_through_a_pipe(stored: Path) -> None:
    assert lsm("get", stored, "user/1").stdout == '{"n": 1}\n'
    key = text.show(ALL_BYTES)
    assert lsm("get", stored, key).stdout == key + "\n"
    assert lsm("get", stored, key, "--raw").stdout_bytes == ALL_BYTES
    assert lsm("get", stored, "large", "--raw").stdout_bytes == b"\x00\xff" * 500_000
    assert lsm("get", stored, "", "--raw").stdout_bytes == b""
    assert lsm("get", stored, "", "large", "--raw").stdout_bytes[:2] == b"\x00\xff"
    # In a pipe nothing is cut.
    assert lsm("get", stored, "large").stdout == "\\x00\\xff" * 500_000 + "\n"


def test_several_keys_are_lines_and_missing_ones_are_told(stored: Path) -> None:
    found = lsm("get", stored, "user/2", "nobody", "user/1", status=1)
    assert found.stdout == 'user/2\t{"n": 2}\nuser/1\t{"n": 1}\n'
    assert found.stderr == "not found: nobody\n"
    facts = json.loads(lsm("get", stored, "nobody", "--json", status=1).stdout)
    assert facts == {"ok": False, "rows": [{"key": "nobody", "value": None}]}
    assert lsm("get", stored, "nobody", "--raw", status=1).stdout_bytes == b""


def test_json_holds_any_bytes(stored: Path) -> None:
    lines = lsm("scan", stored, "--json", "--stop", "l").stdout.splitlines()
    found = {
        text.unescape(each["key"]): text.unescape(each["value"])
        for each in map(json.loads, lines)
    }
    with lsmkv.open(stored, mode="r") as db:
        assert found == dict(db.items(stop=b"l"))
    row = json.loads(lsm("get", stored, "-n", "items", "pear", "--json").stdout)
    assert row["rows"][0]["value"]["numbers"] == [0.0, 1.0, 0.0, 0.0]


def test_a_scan_goes_where_it_is_told(stored: Path) -> None:
    def keys(*arguments: object) -> list[str]:
        return lsm("scan", stored, "--keys", *arguments).stdout.splitlines()

    assert keys("--prefix", "user/") == ["user/1", "user/2", "user/3"]
    assert keys("--start", "user/2", "--stop", "user/3") == ["user/2"]
    assert keys("--reverse", "--limit", 2) == ["user/3", "user/2"]
    assert keys("--limit", 0) == []
    assert keys("-n", "sessions") == ["user/1"]
    assert lsm("scan", stored, "--limit", 0).stdout == ""
    assert lsm("scan", stored, "-n", "items", "--limit", 1).stdout == (
        "\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x07\tfloat32 (4,)  norm 2  [1, 1, 1, 1]\n"
    )


def test_a_scan_in_a_pipe_can_be_read_back(stored: Path) -> None:
    lines = lsm("scan", stored, "--stop", "l").stdout.splitlines()
    pairs = [tuple(map(text.parse, line.split("\t"))) for line in lines]
    with lsmkv.open(stored, mode="r") as db:
        assert pairs == list(db.items(stop=b"l"))


@pytest.mark.parametrize("arguments", [["--keys"], [], ["--json"]])
def test_a_pipe_that_closes_early_is_no_error(
    tmp_path: Path, arguments: list[str]
) -> None:
    path = tmp_path / "db"
    with lsmkv.open(path) as db:
        db.put_many((b"%08d" % n, b"x" * 100) for n in range(20_000))
    command = [sys.executable, "-m", "lsmkv.cli", "scan", str(path), *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert b"00000000" in process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait() == 141


def test_a_table_that_nobody_reads_is_no_error(scratch: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "lsmkv.cli", "tables", str(scratch)]
    found = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (found.returncode, found.stderr) == (141, b"")


def test_keys_are_counted(stored: Path) -> None:
    assert lsm("count", stored).stdout == "6 keys\n"
    assert lsm("count", stored, "--prefix", "user/1").stdout == "1 key\n"
    assert lsm("count", stored, "--approximate").stdout == "about 6 keys\n"
    found = lsm(
        "count", stored, "--approximate", "--prefix", "user/", "--stop", "user/2"
    )
    assert found.stdout == "about 1 key\n"


def test_times_are_told(stored: Path) -> None:
    found = lsm("ttl", stored, "-n", "sessions", "user/1", "x", status=1)
    assert found.stdout.startswith("user/1  59 min ")
    assert found.stderr == "not found: x\n"
    assert lsm("ttl", stored, "user/1").stdout == "user/1  stays\n"
    facts = json.loads(lsm("ttl", stored, "-n", "sessions", "user/1", "--json").stdout)
    assert 3000 < facts["keys"][0]["seconds"] <= 3600


def test_what_is_put_is_there_byte_for_byte(scratch: Path) -> None:
    key = text.show(ALL_BYTES)
    assert lsm("put", scratch, key, "-", data=ALL_BYTES * 4000).stdout.endswith(
        "(1.0 MB)\n"
    )
    assert lsm("get", scratch, key, "--raw").stdout_bytes == ALL_BYTES * 4000
    assert lsm("put", scratch, "b", '"two words"', "--sync").stdout == (
        "stored b (9 B)\n"
    )
    lsm("put", scratch, "empty", "")
    with lsmkv.open(scratch, mode="r") as db:
        assert (db[b"b"], db[b"empty"]) == (b"two words", b"")


@pytest.mark.parametrize(
    ("typed", "left"),
    [("90", 90), ("2h", 7200), ("1.5m", 90), ("never", None)],
)
def test_a_time_is_given(scratch: Path, typed: str, left: float | None) -> None:
    lsm("put", scratch, "-n", "sessions", "b", "1", "--ttl", typed)
    lsm("touch", scratch, "a", "--ttl", typed)
    with lsmkv.open(scratch, mode="r") as db:
        for found in (db.ttl(b"a"), db.namespace("sessions").ttl(b"b")):
            assert found == (left and pytest.approx(left, abs=60))


def test_without_a_time_the_namespace_has_it(scratch: Path) -> None:
    lsm("put", scratch, "-n", "sessions", "b", "1")
    assert "59 min" in lsm("ttl", scratch, "-n", "sessions", "b").stdout
    assert lsm("touch", scratch, "a").stdout == "a  stays\n"
    assert lsm("touch", scratch, "b", status=1).stderr == "not found: b\n"
    found = lsm("put", scratch, "b", "1", "--ttl", "5x", status=2)
    assert "'5x' is no time" in found.stderr


def test_rows_of_numbers_are_typed(scratch: Path) -> None:
    lsm("put", scratch, "-n", "items", "x", "[1, 0.5]")
    lsm("put", scratch, "-n", "items", "y", "-", data=np.ones(2, "float32").tobytes())
    with lsmkv.open(scratch, mode="r") as db:
        found, _ = db.vectors("items", create=False).gather([b"x", b"y"])
        assert found.tolist() == [[1, 0.5], [1, 1]]
    wrong = lsm("put", scratch, "-n", "items", "z", "12345", status=1)
    assert "a row here is 8 bytes" in wrong.stderr


def test_keys_are_deleted_and_missing_ones_told(scratch: Path) -> None:
    found = lsm("del", scratch, "a", "b", "a", status=1)
    assert (found.stdout, found.stderr) == ("deleted 1 key\n", "not found: b\n")
    assert lsm("count", scratch).stdout == "0 keys\n"


def test_ranges_are_deleted_once_that_was_meant(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in ("b", "ba", "c"):
        lsm("put", scratch, key, "1")
    assert "--yes" in lsm("del", scratch, "--prefix", "b", status=2).stderr
    assert "one of them" in lsm("del", scratch, status=2).stderr
    assert "one of them" in lsm("del", scratch, "a", "--prefix", "b", status=2).stderr
    found = lsm("del", scratch, "--prefix", "b", "--yes")
    assert found.stdout == "deleted about 2 keys\n"
    assert lsm("scan", scratch, "--keys").stdout == "a\nc\n"
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    answers = iter([False, True])
    monkeypatch.setattr(click, "confirm", lambda what, err: next(answers))
    with lsmkv.open(scratch) as db:
        run = functools.partial(
            rows.delete,
            render.progress(silent=True),
            Place(db),
            keys=(),
            prefix=None,
            bounds=("b", ""),
            yes=False,
        )
        with pytest.raises(CommandError, match="nothing was deleted"):
            run()
        assert run().count == 1
        assert list(db) == [b"a"]


def on_a_terminal(command: str, path: Path, **arguments: object) -> list[str]:
    """Return the lines that a command writes to a terminal of 60 columns."""
    output = io.StringIO()
    console = Console(
        file=output, force_terminal=True, width=60, height=10, color_system=None
    )
    found = {each.name: each for each in (*rows.COMMANDS, *spaces.COMMANDS)}[command]
    namespace = str(arguments.pop("namespace", ""))
    with lsmkv.open(path, mode="r") as db:
        place = Place(db, namespace)
        found.show(found.run(render.progress(silent=True), place, **arguments), console)
    return output.getvalue().splitlines()


def test_a_terminal_shows_what_fits(stored: Path) -> None:
    bounds = {"prefix": None, "stop": None, "reverse": False, "limit": None}
    lines = on_a_terminal("scan", stored, start="l", keys_only=False, **bounds)
    assert len(lines) == 4
    assert lines[0].startswith("large   \\x00\\xff\\x00")
    assert lines[0].endswith("… (1.0 MB)")
    assert lines[1] == 'user/1  {"n": 1}'
    assert max(map(len, lines)) <= 60
    (line,) = on_a_terminal("get", stored, keys=["large"], raw=False)
    assert len(line) <= 60 * 8
    assert line.endswith("… (1.0 MB)")


def test_namespaces_are_listed_with_what_is_special(stored: Path) -> None:
    lines = lsm("namespaces", stored).stdout.splitlines()
    assert [line.split()[0] for line in lines if line.strip()] == [
        "namespace",
        "(the",
        "bits",
        "cache",
        "items",
        "sessions",
        "published",
        "words/1",
    ]
    assert "bfloat16[2] dot" in lines[2]
    assert "policy=fifo-reinsert" in " ".join(lines)
    assert "default_ttl=1 h 0 min" in " ".join(lines)
    facts = json.loads(lsm("namespaces", stored, "--json").stdout)
    assert [each["rows"] for each in facts["namespaces"]] == [6, 3, 1, 3, 1]
    assert facts["namespaces"][3]["vectors"]["metric"] == "l2"
    assert facts["published"][0]["version"] == "1"


def test_a_row_is_shown(stored: Path) -> None:
    assert lsm("vectors", stored, "-n", "items", "apple").stdout == (
        "float32 (4,)  norm 1  [1, 0, 0, 0]\n"
    )
    assert lsm("vectors", stored, "-n", "items", 7, "--id", "--all").stdout == (
        "float32 (4,)  norm 2  [1, 1, 1, 1]\n0  1  1  1  1\n"
    )
    found = lsm("vectors", stored, "-n", "items", "plum", status=1)
    assert found.stderr == "not found: plum\n"
    assert "bits, items" in lsm("vectors", stored, "apple", status=1).stderr
    assert (
        "no number"
        in lsm("vectors", stored, "x", "--id", "-n", "items", status=2).stderr
    )


def test_the_nearest_rows_are_found(stored: Path) -> None:
    found = lsm("vectors", stored, "-n", "items", 7, "--id", "--nearest", 5).stdout
    assert [line.split() for line in found.splitlines()] == [
        ["key", "distance"],
        ["apple", "1.73205"],
        ["pear", "1.73205"],
    ]
    facts = json.loads(
        lsm("vectors", stored, "-n", "bits", "a", "--nearest", 1, "--json").stdout
    )
    assert facts["nearest"] == [{"key": "b", "value": 2.0}]
    assert facts["searched"] == 3


def test_vectors_without_any_are_refused(tmp_path: Path) -> None:
    with lsmkv.open(tmp_path / "db") as db:
        db[b"a"] = b"1"
    found = lsm("vectors", tmp_path / "db", "a", status=1)
    assert "there are no vectors in" in found.stderr


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_the_search_finds_what_comparing_all_at_once_finds(
    tmp_path: Path, metric: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    table = rng.standard_normal((300, 8)).astype("float32")
    table[5] = 0
    table[9] = table[17]
    with lsmkv.open(tmp_path / "db") as db:
        items = db.vectors("items", dim=8, metric=metric)  # type: ignore[arg-type]
        items.put_many(range(300), table)
        monkeypatch.setattr(nearest, "_CHUNK_ROWS", 7)
        found = spaces.vectors(
            render.progress(silent=True),
            Place(db, "items"),
            key="17",
            by_id=True,
            whole=False,
            nearest_count=10,
        )
    assert isinstance(found, spaces.Neighbours)
    wide = table.astype("float64")
    score = -np.linalg.norm(wide - wide[17], axis=1)
    if metric != "l2":
        score = wide @ wide[17]
    if metric == "cosine":
        norms = np.linalg.norm(wide, axis=1)
        norms[5] = np.inf
        score = score / norms / norms[17]
    score[17] = -np.inf
    best = np.argsort(-score, kind="stable")[:10]
    keys = [int.from_bytes(each.key, "big") for each in found.nearest]
    assert keys == best.tolist()
    assert [each.value for each in found.nearest] == pytest.approx(
        np.abs(score[best]) if metric == "l2" else score[best], rel=1e-4
    )


def test_no_row_is_read_for_what_is_not_asked(stored: Path) -> None:
    with lsmkv.open(stored, mode="r") as db:
        before = db.stats().cache_misses
        rows.get(render.progress(silent=True), Place(db), keys=["user/1"], raw=False)
        assert db.stats().cache_misses <= before + 1

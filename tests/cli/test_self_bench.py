# SPDX-License-Identifier: Apache-2.0
"""Goal: `lsmkv bench` measures the rows of bench/ and leaves nothing behind.

Method: the smallest run there is; no figure of it matters.
"""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

import lsmkv
from lsmkv.cli.__main__ import main
from lsmkv.cli.bench import run, workloads
from lsmkv.cli.status import Status

SMALL = ["--keys", str(run.KEYS_MIN)]


def test_every_row_of_the_comparison_is_measured(tmp_path: Path) -> None:
    where = ["--dir", str(tmp_path / "here")]
    result = CliRunner().invoke(main, ["bench", *SMALL, *where, "--json"])
    assert result.exit_code == Status.OK, result.output
    found = json.loads(result.stdout)
    assert [row["row"] for row in found["rows"]] == [
        *("fill_sequential", "put_sync", "put_sync_threads", "fill_random"),
        *("get", "get_missing", "get_many", "scan", "seek", "get_writing"),
        *("overwrite", "disk", "hot", "held", "cold"),
    ]
    assert {row["row"] for row in found["rows"]} == set(workloads.ROWS)
    assert all(row["figure"] > 0 for row in found["rows"])
    (get,) = [row for row in found["rows"] if row["row"] == "get"]
    assert 0 < get["p50_us"] <= get["p99_us"] <= get["p999_us"]
    assert found["version"] == lsmkv.__version__
    assert found["machine"]["cores"] > 0
    assert list((tmp_path / "here").iterdir()) == []


def test_some_of_it_is_measured_and_shown(tmp_path: Path) -> None:
    size = [*SMALL, "--value-bytes", "2000", "--dir", str(tmp_path)]
    what = ["--what", "cold", "--what", "fill"]
    result = CliRunner().invoke(main, ["bench", *size, *what])
    assert result.exit_code == Status.OK, result.output
    first, *rows = result.stdout.splitlines()
    assert first.startswith("1,000 rows of 16 + 2000 bytes, once each, in ")
    assert [
        row.split("  ")[0] for row in rows if " rows/s " in row or " ms " in row
    ] == [
        "fill, sequential, settled",
        "cold open and 1000 gets",
    ]
    assert f"lsmkv {lsmkv.__version__}, Python 3." in result.stdout


def test_the_groups_are_those_of_the_workloads() -> None:
    assert tuple(workloads.GROUPS) == run.WHAT
    result = CliRunner().invoke(main, ["bench", "--what", "nothing"])
    assert result.exit_code == Status.USAGE

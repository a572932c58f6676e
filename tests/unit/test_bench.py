# SPDX-License-Identifier: Apache-2.0
"""Goal: the comparison with other engines runs, and its tables can be drawn.

Method: a tiny run with the two engines that are always there; no figure of it matters.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).resolve().parents[2] / "bench"
ROWS = {
    *("fill_sequential", "fill_random", "put_sync", "put_sync_threads"),
    *("get", "get_missing", "get_many", "scan", "seek", "get_writing"),
    *("hot", "held", "overwrite", "disk", "cold"),
}


def run(script: str, *arguments: str) -> str:
    """Run a script of the benchmark; return what it printed."""
    done = subprocess.run(
        [sys.executable, str(BENCH / script), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_tiny_comparison_has_every_row_and_can_be_drawn(tmp_path: Path) -> None:
    out = tmp_path / "out" / "bench.json"
    engines = ["--engines", "lsmkv", "sqlite"]
    size = ["--quick", "--keys", "2000", "--repeat", "2"]
    table = run("run.py", *size, *engines, "--dir", str(tmp_path), "--out", str(out))
    report = json.loads(out.read_text())
    measured = {(f["row"], f["engine"], f["repetition"]) for f in report["figures"]}
    assert measured == {
        (row, engine, repetition)
        for row in ROWS
        for engine in ("lsmkv", "sqlite")
        for repetition in range(2)
    }
    assert len(report["figures"]) == len(measured)
    assert all(figures["value"] > 0 for figures in report["figures"])
    assert report["machine"]["cores"] > 0
    assert set(report["versions"]) == {"lsmkv", "sqlite"}
    assert len(re.findall(r"±\d+%", table)) == 2 * len(ROWS)
    assert {path.name for path in tmp_path.iterdir()} == {"out"}
    change = run("compare.py", str(out), str(out))
    assert change.count("1.00") >= 2 * len(ROWS)


def test_a_small_run_of_large_values_reports_what_was_written(tmp_path: Path) -> None:
    size = ["--keys", "2000", "--rounds", "2", "--log-bytes", "262144"]
    report = json.loads(run("large_values.py", *size, "--dir", str(tmp_path)))
    assert 1 < report["write_amplification"] < 3
    assert 1 < report["space_final"] < 4
    assert report["segments"] > 0


def test_a_small_trace_is_replayed_beside_an_lru(tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    requests = ([n % 7, 100 + n % 40, 1000 + n] for n in range(300))
    trace.write_text("".join(json.dumps({"hash_ids": ids}) + "\n" for ids in requests))
    size = ["--blocks", "100", "--block-bytes", "1000", "--dir", str(tmp_path)]
    report = json.loads(run("traces.py", str(trace), *size))
    run_of_it = report["caps"][0]
    assert 0 < run_of_it["hits"] <= report["hits_infinite"] <= 2 / 3
    assert run_of_it["peak_of_cap"] <= 1.05
    assert 1 < run_of_it["write_amplification"] < 3


def test_a_small_stampede_computes_once() -> None:
    size = ["--askers", "50", "--calls", "1000", "--rounds", "1", "--seconds", "0.05"]
    report = json.loads(run("stampede.py", *size))
    assert report["threads"]["computed"] == 1
    assert report["coroutines"]["computed"] == 1
    assert report["get_or_compute_ns"] > 0


def test_a_short_run_tells_how_late_an_event_loop_is(tmp_path: Path) -> None:
    size = ["--seconds", "1", "--repeat", "1", "--keys", "3000"]
    report = json.loads(run("loop_lag.py", *size, "--dir", str(tmp_path)))
    for kind in ("without", "lsmkv"):
        assert report["runs"][kind][0]["calls"]["hot"] > 0
        assert 0 < report[kind]["p50_ms"] <= report[kind]["p999_ms"]
        assert report["runs"][kind][0]["steps"]["hot"][0] > 0
    added = {"p50_ms", "p99_ms", "p999_ms", "max_ms"}
    assert set(report["added"]) == added | {f"held_{name}" for name in added}
    for found in report["added"].values():
        assert found["least"] <= found["median"] <= found["most"]


def test_a_small_restart_is_measured_in_every_way(tmp_path: Path) -> None:
    out = tmp_path / "out" / "cold.json"
    size = ["--keys", "4000", "--memory", "16", "--seconds", "0.2", "--repeat", "1"]
    how = ["--engines", "lsmkv", "--keep-caches", "--out", str(out)]
    table = run("cold.py", *size, *how, "--dir", str(tmp_path))
    report = json.loads(out.read_text())
    found = {figures["row"]: figures for figures in report["figures"]}
    rows = {"hot", "hot, caches dropped", "cold", "warming", "warmed"}
    assert found.keys() == rows
    assert all(figures["p50_us"] <= figures["p99_us"] for figures in found.values())
    assert found["cold"]["start_ms"] > found["cold"]["open_ms"] > 0
    assert found["warming"]["loaded_mb"] > 1
    assert set(report["ratios"]) == {
        "p99 of warmed to hot",
        "p99 of warmed to hot, caches dropped",
    }
    assert table.count("lsmkv, ") == len(rows)
    assert {path.name for path in tmp_path.iterdir()} == {"out"}


def test_a_small_database_is_opened_as_the_shell_does(tmp_path: Path) -> None:
    out = tmp_path / "shell.json"
    size = ["--keys", "15000", "--out", str(out)]
    shown = run("shell.py", *size, "--dir", str(tmp_path))
    report = json.loads(out.read_text())
    for name in ("cold", "warm"):
        figures = report[name]
        assert 0 < figures["median_ms"] <= figures["most_ms"]
        assert 0 < figures["open_ms"] < figures["start_ms"]
        assert figures["log_rows"] == 12000
    assert shown.count("15,000 keys") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"shell.json"}

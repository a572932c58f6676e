# SPDX-License-Identifier: Apache-2.0
"""Goal: `lsmkv fuzz` runs its parts until the time is up, and what fails comes out as a
short script with the command that shows it again.

Method: the command as users give it, for seconds; programs that print, fail, hang and
die on purpose in the place of the harness's own.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from lsmkv.cli.__main__ import main
from lsmkv.cli.commands import FUZZ_PARTS
from lsmkv.fuzz import jobs, parts, runner
from lsmkv.fuzz.failure import Failure
from lsmkv.fuzz.reduce import reduce

# What a program of the harness may do; fails if operation 7 is among those that run.
FAKE = """
import os, signal, sys, time
what, *rest = sys.argv[1:]
if what == "good":
    print("passed: examples=3 commands=5")
elif what == "sleep":
    time.sleep(60)
elif what == "killed":
    print("begins", flush=True)
    os.kill(os.getpid(), signal.SIGSEGV)
elif what == "script":
    print("FAILED: expected 1, found 2\\nscript:\\nput a 1\\nget a\\n----\\n2")
    sys.exit(1)
elif what == "crash":
    spans = rest[rest.index("--only") + 1] if "--only" in rest else "0-19,1000-1009"
    ran = [span.partition("-")[::2] for span in spans.split(",")]
    if not any(int(a) <= 7 <= int(b or a) for a, b in ran):
        print("passed: seeds=1")
        sys.exit(0)
    print("FAILED: something is lost\\n  7 delete k7\\nran:", spans)
    print("replay: crash sim --seeds 5..5")
    sys.exit(1)
"""


@pytest.fixture
def fakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fake_programs.py").write_text(FAKE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(jobs, "PROGRAMS", "fake_programs")


def fail_with(monkeypatch: pytest.MonkeyPatch, arguments: str) -> None:
    """Have the part `model` run a fake."""
    model = parts.PARTS["model"]
    fake = parts.Part("model", model.help, lambda draw: arguments, model.cases)
    monkeypatch.setattr(runner, "PARTS", {"model": fake})


def test_each_part_is_offered_and_draws_its_jobs_from_a_seed() -> None:
    assert tuple(parts.PARTS) == FUZZ_PARTS
    for part in parts.PARTS.values():
        some = [part.job(seed) for seed in range(20)]
        assert some == [part.job(seed) for seed in range(20)]
        assert len({tuple(job) for job in some}) == 20
        assert part.help


@pytest.mark.parametrize("what", ["model", "crash"])
def test_a_part_runs_until_the_time_is_up(
    monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(parts, "SECONDS", 1)
    arguments = ["fuzz", "--minutes", "0.02", "--what", what, "--seed", "3", "--json"]
    result = CliRunner().invoke(main, arguments)
    facts = json.loads(result.stdout)
    assert result.exit_code == 0
    assert facts["ok"]
    assert facts["seed"] == 3
    figures = facts["parts"][what]
    assert min(figures["jobs"], figures["cases"], figures["checks"]) > 0


@pytest.mark.usefixtures("fakes")
def test_a_script_is_kept_and_replayed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(monkeypatch, "script")
    keep = tmp_path / "kept"
    arguments = ["fuzz", "--what", "model", "--seed", "9", "--keep", str(keep)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    path = keep / "model-9.txt"
    assert "# model: expected 1, found 2" in path.read_text()
    assert "put a 1" in result.output
    assert f"lsmkv fuzz --replay {path}" in result.output
    again = CliRunner().invoke(main, ["fuzz", "--replay", str(path)])
    assert again.exit_code == 1
    assert "  - 2\n  + 1" in again.output
    rewrite = ["fuzz", "--replay", str(path), "--rewrite"]
    assert CliRunner().invoke(main, rewrite).exit_code == 0
    assert CliRunner().invoke(main, ["fuzz", "--replay", str(path)]).exit_code == 0


def test_the_harness_finds_a_mistake_that_the_engine_is_told_to_make(
    tmp_path: Path,
) -> None:
    mutant = ["--mutant", "TURN_LEAVES_OTHERS"]
    arguments = ["--what", "metamorphic", "--seed", "1", "--minutes", "5"]
    keep = ["--jobs", "1", "--keep", str(tmp_path)]
    result = CliRunner().invoke(main, ["fuzz", *mutant, *arguments, *keep])
    assert result.exit_code == 1
    replay = ["--replay", str(tmp_path / "metamorphic-1.txt"), *mutant]
    assert f"lsmkv fuzz {' '.join(replay)}" in result.output
    assert CliRunner().invoke(main, ["fuzz", *replay]).exit_code == 1


@pytest.mark.parametrize("program", ["model", "metamorphic"])
def test_a_program_is_told_the_mutant(program: str) -> None:
    end = jobs.Job([program, "--seed", "1"], "LUCK").wait()
    assert isinstance(end, Failure)
    assert "LUCK: no mutant is called that" in end.what


def test_the_crash_program_is_told_the_mutant() -> None:
    arguments = ["crash", "sim", "--seeds", "1..50"]
    end = jobs.Job(arguments, "SCAN_LEAVES_NAMESPACE").wait()
    assert isinstance(end, Failure)
    assert end.replay.startswith("crash sim ")


@pytest.mark.usefixtures("fakes")
def test_operations_of_a_simulated_run_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(monkeypatch, "crash sim --seeds 1..9")
    arguments = ["fuzz", "--what", "model", "--seed", "9", "--keep", str(tmp_path)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    text = (tmp_path / "model-9.txt").read_text()
    assert text.splitlines()[-1] == "program crash sim --seeds 5..5 --only 7"
    assert "#   7 delete k7" in text
    again = CliRunner().invoke(
        main, ["fuzz", "--replay", str(tmp_path / "model-9.txt")]
    )
    assert again.exit_code == 1
    assert "something is lost" in again.output


@pytest.mark.usefixtures("fakes")
def test_a_process_that_dies_or_hangs_is_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    end = jobs.Job(["killed"]).wait()
    assert isinstance(end, Failure)
    assert "SIGSEGV" in end.what
    assert "begins" in end.what
    assert end.replay == "killed"
    monkeypatch.setattr(jobs, "SECONDS_MAX", 0.2)
    end = jobs.Job(["sleep"]).wait()
    assert isinstance(end, Failure)
    assert "hangs" in end.what


@pytest.mark.usefixtures("fakes")
def test_an_interrupt_ends_the_run_as_the_time_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fail_with(monkeypatch, "good")
    seen: list[int] = []

    def show(figures: object, seconds: float) -> None:
        del seconds
        assert isinstance(figures, dict)
        seen.append(figures["model"].jobs)
        if seen[-1] > 1:
            raise KeyboardInterrupt

    report = runner.run(runner.Request(["model"], 60, seed=1, jobs=2), show)
    assert report.failure is None
    assert report.figures["model"].cases == 3 * report.figures["model"].jobs
    assert report.seconds < 50


def test_wrong_files_and_options_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("lift a\n")
    result = CliRunner().invoke(main, ["fuzz", "--replay", str(path)])
    assert result.exit_code == 1
    assert "no such command" in result.output
    assert CliRunner().invoke(main, ["fuzz", "--rewrite"]).exit_code == 2
    assert CliRunner().invoke(main, ["fuzz", "--what", "luck"]).exit_code == 2
    result = CliRunner().invoke(main, ["fuzz", "--mutant", "LUCK"])
    assert result.exit_code == 2
    assert "LUCK: no mutant is called that" in result.output


@pytest.mark.parametrize("given", [["--minutes", "1"], ["--replay", __file__]])
def test_without_the_extra_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, given: list[str]
) -> None:
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    result = CliRunner().invoke(main, ["fuzz", *given])
    assert result.exit_code == 1
    assert "pip install 'lsmkv[fuzz]'" in result.output


def test_what_fails_is_reduced_to_what_it_needs() -> None:
    draw = random.Random(1)
    for _ in range(50):
        items = list(range(draw.randrange(1, 60)))
        needed = set(draw.sample(items, min(len(items), draw.randrange(0, 4))))
        kept = reduce(items, needed.issubset, seconds=9)
        assert kept == sorted(needed)
    assert reduce([1, 2, 3], bool, seconds=0) == [1, 2, 3]

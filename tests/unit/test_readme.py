# SPDX-License-Identifier: Apache-2.0
"""Goal: what the README shows, works.

Method: its Python runs as it stands there; its two commands are compared with what the
gate runs by tests/tidy.
"""

import re
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[2] / "README.md"


def blocks(language: str) -> list[str]:
    """Return the blocks of code in a language."""
    fence = rf"^```{language}\n(.*?)^```$"
    return re.findall(fence, README.read_text(), flags=re.DOTALL | re.MULTILINE)


def test_the_tour_runs_twice_in_one_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    [tour] = blocks("python")
    assert len(tour.splitlines()) <= 25
    for _ in range(2):
        exec(compile(tour, str(README), "exec"), {})
    assert "table_count" in capsys.readouterr().out
    assert (tmp_path / "cache").is_dir()


def test_each_command_is_alone_enough() -> None:
    commands = blocks("sh")
    assert len(commands) == 2
    for command in commands:
        assert command.startswith("python3 -m venv .venv && .venv/bin/pip install ")
        assert len(command.splitlines()) == 1

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


@pytest.mark.parametrize("which", range(4), ids=["tour", "outputs", "vectors", "warm"])
def test_a_program_runs_twice_in_one_directory(
    which: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    programs = blocks("python")
    assert len(programs) == 4
    assert len(programs[which].splitlines()) <= 30
    for _ in range(2):
        exec(compile(programs[which], str(README), "exec"), {})
    directories = ("cache", "outputs", "vectors", "features")
    assert (tmp_path / directories[which] / "CURRENT").is_file()


def test_each_command_is_alone_enough() -> None:
    commands = blocks("sh")
    assert len(commands) == 2
    for command in commands:
        assert command.startswith("python3 -m venv .venv && .venv/bin/pip install ")
        assert len(command.splitlines()) == 1

# SPDX-License-Identifier: Apache-2.0
"""Goal: what the engine does stays as it is written down, and what was once wrong stays
right.

Method: scripts (lsmkv/fuzz/script.py) of commands on a simulated disk with what they
print. `lsmkv fuzz --rewrite FILE` writes what they print now; the difference is then to
be read.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsmkv.fuzz import script
from lsmkv.fuzz.notation import NotationError, show, split
from lsmkv.fuzz.session import COMMANDS, Session

HERE = Path(__file__).parent
DOCUMENT = HERE.parents[1] / "docs" / "testing.md"
SCRIPTS = sorted(HERE.glob("*.txt"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_script_prints_what_it_says(path: Path) -> None:
    differences = script.replay(path.read_text())
    assert not differences, "\n".join(map(str, differences))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_script_is_written_as_rewriting_writes_it(path: Path) -> None:
    paragraphs = script.parse(path.read_text())
    assert script.write(paragraphs) == path.read_text()
    assert paragraphs[0].remarks, "a script begins by saying what it shows"


def test_every_command_is_in_a_script() -> None:
    lines = [line for path in SCRIPTS for line in path.read_text().splitlines()]
    used = {line.split()[0] for line in lines if line.strip()}
    assert not set(COMMANDS) - used


def test_the_documentation_has_every_command() -> None:
    expected = [
        f"| `{command.usage}` "
        f"| {' '.join(f'`{option}=`' for option in sorted(command.options))} "
        f"| {command.text} |"
        for command in COMMANDS.values()
    ]
    lines = DOCUMENT.read_text().splitlines()
    begin = lines.index("| command | options | what it does |") + 2
    assert lines[begin : lines.index("", begin)] == expected


def test_a_difference_is_told_with_its_place() -> None:
    text = "put a 1\nget a\n----\n2\n\nget b\n----\n-\n"
    (difference,) = script.replay(text)
    assert str(difference) == "line 1: get a\n  - 2\n  + 1"
    assert script.replay(script.rewrite(text)) == []


@given(st.binary(max_size=80), st.binary(max_size=40), st.integers(1, 40))
def test_notation_is_read_as_it_was_written(one: bytes, two: bytes, times: int) -> None:
    for data in (one, two * times, one + two * times):
        assert split(f"put {show(data)} in={show(two)}") == (
            [b"put", data],
            {"in": two},
        )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("put a", "expected put KEY VALUE"),
        ("put a b c", "expected put KEY VALUE"),
        ("put a b colour=red", "no option colour"),
        ("putt a b", "no such command"),
        ('put "a b', "column 5"),
        (r'put "\q" b', r"\\q: expected"),
        ("crash SOFTLY", "expected one of STRICT"),
        ("crash_in 3 SOFTLY", "expected one of STRICT"),
        ("advance soon", "soon is not a number"),
        ("batch put a", "incomplete"),
        ("batch lift a", "no record lift"),
        ("fail TALK", "no calls TALK"),
        ("fail SYNC errno=E", "E is no errno"),
        ("refresh", "no follower"),
        ("get a follower=1", "no follower"),
    ],
)
def test_what_is_no_command_is_refused_with_the_reason(line: str, message: str) -> None:
    with pytest.raises(script.ScriptError, match=message):
        script.replay(f"put x y\n{line}\n")


def test_no_command_is_refused() -> None:
    with pytest.raises(NotationError, match="no command"):
        Session().run("   ")

# SPDX-License-Identifier: Apache-2.0
"""Goal: on a damaged database every command says what, where and what next.

Method: one small database with everything in it, a copy for each way of damage: bits
flipped, files cut short, zeroed at the end, missing, swapped, of another database, and
files too many (D1 to D12 of the catalogue of faults; MANIFESTs that are forged, with
right checksums, are in the tests of the engine). On each, commands of the registry run
in this process: none ends in a traceback, each with a status that is documented, and
those that fail name a file and a command. Doctor finds each damage, and what it advises
makes a database that verifies.

A command is tried on some ways of damage; LSMKV_DAMAGE_SWEEP=1 tries each on all.
"""

from __future__ import annotations

import functools
import json
import os
import random
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

import lsmkv
from harness import sample
from lsmkv.cli.__main__ import main
from lsmkv.cli.command import Command
from lsmkv.cli.commands import COMMANDS
from lsmkv.cli.status import Status

Damage = Callable[[Path, Path], None]  # of a database, with another one beside it

SWEEP = bool(os.environ.get("LSMKV_DAMAGE_SWEEP"))
STRIDE = 1 if SWEEP else 7  # of the pairs of a command and a way of damage
NEXT = re.compile(r"lsmkv \w+|open it|try again|--\w+|restore")

# What parameters are given, by their names; others get something of their type.
GIVEN = {
    "key": "user/0001",
    "keys": "user/0001",
    "value": "text",
    "prefix": "user/",
    "start": "user/",
    "stop": "user0",
    "ttl": "60",
    "seconds": "60",
    "name": "features",
    "budget": "1MB",
    "source": "-",
}
MORE = {"vectors": ["--namespace", "rows"], "top": ["--once"]}  # by command


def file_of(path: Path, kind: str) -> Path:
    """Choose a file: "log" is the one in use, "tbl" the largest."""
    files = sorted(path.glob(f"*{kind.split()[-1]}*"))
    if kind == "tbl":
        return max(files, key=lambda file: file.stat().st_size)
    return files[-1] if kind == "log" else files[0]


def flip(kind: str, at: float) -> Damage:
    """Flip a bit at a share of the file, or so many bytes from its end if negative."""

    def damage(path: Path, _: Path) -> None:
        file = file_of(path, kind)
        content = bytearray(file.read_bytes())
        content[int(at * len(content)) if at >= 0 else len(content) + int(at)] ^= 4
        file.write_bytes(content)

    return damage


def change(kind: str, make: Callable[[bytes], bytes]) -> Damage:
    """Replace what a file holds."""

    def damage(path: Path, _: Path) -> None:
        file = file_of(path, kind)
        file.write_bytes(make(file.read_bytes()))

    return damage


def remove(kind: str) -> Damage:
    """Remove a file."""
    return lambda path, _: file_of(path, kind).unlink()


def copy(kind: str, name: str) -> Damage:
    """Put a file there a second time, under another name."""

    def damage(path: Path, _: Path) -> None:
        shutil.copy(file_of(path, kind), path / name)

    return damage


def swap(kind: str) -> Damage:
    """Exchange the first and the last file of a kind."""

    def damage(path: Path, _: Path) -> None:
        files = sorted(path.glob(f"*{kind}*"))
        first, last = files[0], files[-1]
        one, other = first.read_bytes(), last.read_bytes()
        first.write_bytes(other)
        last.write_bytes(one)

    return damage


def foreign(kind: str) -> Damage:
    """Put the same file of another database in its place."""

    def damage(path: Path, other: Path) -> None:
        shutil.copy(file_of(other, kind), file_of(path, kind))

    return damage


def add(name: str, content: bytes = b"") -> Damage:
    """Add a file, or, with a slash behind its name, a directory."""

    def damage(path: Path, _: Path) -> None:
        if name.endswith("/"):
            (path / name).mkdir()
        else:
            (path / name).write_bytes(content)

    return damage


def half(content: bytes) -> bytes:
    """Cut what a file holds."""
    return content[: len(content) // 2]


def earlier_manifest(path: Path, _: Path) -> None:
    """Have an earlier state of the MANIFEST in force, whose tables are gone."""
    with lsmkv.open(path) as db:
        before = file_of(path, "MANIFEST").read_bytes()
        db.compact()
    (path / file_of(path, "MANIFEST").name).write_bytes(before)


HALF, ZEROED = 0.5, b"\x00" * 200
GARBAGE = random.Random(1).randbytes(99)
KINDS = ("CURRENT", "MANIFEST", "log", "old log", "tbl", "seg")

# By the number of the catalogue of faults. With a "no" it is not damage.
DAMAGES: dict[str, Damage] = {
    **{f"D1 bit in log, {at}": flip("log", at) for at in (0.0, 0.002, 0.3, HALF)},
    "D1 no bit in the unsynced end": change("log", lambda old: old + b"\x07" * 40),
    **{f"D2 bit in MANIFEST, {at}": flip("MANIFEST", at) for at in (0.0, 0.12, HALF)},
    **{f"D3 bit in CURRENT, {at}": flip("CURRENT", at) for at in (0.0, 0.3, 0.8, -1)},
    "D3 garbage in CURRENT": change("CURRENT", lambda _: GARBAGE[:33]),
    "D3 path in CURRENT": change("CURRENT", lambda _: b"../../etc/passwd\n"),
    "D3 CURRENT without its line end": change("CURRENT", lambda old: old[:-1]),
    **{f"D4 bit in table, {at}": flip("tbl", at) for at in (0.0, 0.2, HALF, 0.8)},
    **{f"D4 bit in its end, {at}": flip("tbl", at) for at in (-1, -60, -120, -150)},
    **{
        f"D4 bit in filter or index, {at}": flip("tbl", at) for at in (-300, -600, -900)
    },
    **{f"D5 bit in value file, {at}": flip("seg", at) for at in (0.0, 0.03, HALF)},
    **{f"D5 bit in value log, {at}": flip("old log", at) for at in (0.0, HALF, -100)},
    **{f"D5 no bit in cache, {at}": flip("cache", at) for at in (0.0, HALF)},
    **{f"D6 empty {kind}": change(kind, lambda _: b"") for kind in KINDS},
    **{f"D6 half {kind}": change(kind, half) for kind in KINDS if kind != "log"},
    "D6 no sign that the log went on": change("log", half),
    "D6 no half cache": change("cache", half),
    **{f"D7 missing {kind}": remove(kind) for kind in KINDS},
    "D7 no cache": remove("cache"),
    "D7 no HOTLIST": remove("HOTLIST"),
    "D7 no LOCK": remove("LOCK"),
    "D8 no stranger": add("notes.txt", b"mine"),
    "D8 no directory": add("notes/"),
    "D8 no dead table": add("000001.tbl", b"garbage"),
    "D8 no later log": add("999998.log", b"garbage"),
    "D8 no directory of a table's name": add("000001.tbl/"),
    "D8 no later MANIFEST": add("MANIFEST-999999", b"garbage"),
    "D9 no zeros behind the log": change("log", lambda old: old + ZEROED),
    **{
        f"D9 zeros at the end of {kind}": change(
            kind, lambda old: old[: -min(200, len(old) // 2)] + bytes(200)
        )
        for kind in ("CURRENT", "tbl", "seg", "old log")
    },
    "D10 tables swapped": swap("tbl"),
    "D10 logs swapped": swap("log"),
    "D10 value files swapped": swap("seg"),
    **{
        f"D10 {kind} of another database": foreign(kind)
        for kind in ("MANIFEST", "log", "tbl", "seg")
    },
    "D11 no stale bytes behind the log": change("log", lambda old: old + old[64:400]),
    "D12 no table twice": copy("tbl", "000777.tbl"),
    "D12 no log twice": copy("old log", "000001.log"),
    "D12 MANIFEST of before": earlier_manifest,
    "H1 HOTLIST is garbage, no damage": change("HOTLIST", lambda _: GARBAGE),
}


def flat(commands: tuple[Command, ...]) -> Iterator[Command]:
    """Yield those that are for a database."""
    for command in commands:
        first = next(iter(command.parameters), None)
        if command.opens or (
            isinstance(first, click.Argument) and isinstance(first.type, click.Path)
        ):
            yield command


ON_DATABASES = {command.name: command for command in flat(COMMANDS)}
PAIRS = [
    (name, damage)
    for row, name in enumerate(ON_DATABASES)
    for column, damage in enumerate(DAMAGES)
    if (row + column) % STRIDE == 0
]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("damage") / "db"
    sample.build(path)
    sample.build(path.with_name("other"))
    run(["export", str(path), str(path.with_name("source"))])
    return path


def hit(original: Path, path: Path, damage: str) -> Path:
    shutil.copytree(original, path)
    shutil.copy(original.with_name("source"), path.with_name("source"))
    DAMAGES[damage](path, original.with_name("other"))
    return path


def given(parameter: click.Parameter, path: Path) -> list[str]:
    """Return what to write for a parameter, if anything."""
    name, kind = parameter.name or "", parameter.type
    if name == "yes":
        return ["--yes"]
    if isinstance(parameter, click.Option) and not parameter.required:
        return []
    if name in GIVEN:
        value = GIVEN[name]
    elif isinstance(parameter.type, click.Choice):
        value = str(parameter.type.choices[0])
    elif isinstance(kind, click.Path):
        value = str(path.with_name(name))
    elif isinstance(kind, click.types.IntParamType | click.types.FloatParamType):
        value = "1"
    else:
        value = "text"
    return [value] if isinstance(parameter, click.Argument) else [f"--{name}", value]


def arguments(command: Command, path: Path) -> list[str]:
    """Return a sensible line for a command on a database."""
    parameters = command.parameters if command.opens else command.parameters[1:]
    words = [word for each in parameters for word in given(each, path)]
    about = min(path.glob("*.tbl")) if command.name == "table" else path
    return [command.name, str(about), *words, *MORE.get(command.name, [])]


def run(words: list[str]) -> Result:
    result = CliRunner().invoke(main, words, input="")
    if result.exception and not isinstance(result.exception, SystemExit):
        raise AssertionError(f"{shlex.join(words)}") from result.exception
    assert "Traceback" not in result.output
    assert result.exit_code in list(Status), result.output
    return result


@pytest.fixture(scope="module")
def statuses(
    original: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], int]:
    """Return what tells how a command ends on a database that is whole."""

    @functools.cache
    def status(name: str) -> int:
        path = tmp_path_factory.mktemp("whole") / "db"
        shutil.copytree(original, path)
        return run(arguments(ON_DATABASES[name], path)).exit_code

    return status


@pytest.mark.parametrize(("name", "damage"), PAIRS)
def test_a_command_says_what_where_and_what_next(
    original: Path,
    path: Path,
    statuses: Callable[[str], int],
    name: str,
    damage: str,
) -> None:
    hit(original, path, damage)
    files = [file.name for file in original.iterdir()]
    result = run(arguments(ON_DATABASES[name], path))
    if result.exit_code not in {Status.OK, statuses(name)}:
        assert any(word in result.output for word in [str(path), *files])
        assert NEXT.search(result.output), result.output


@pytest.mark.parametrize("damage", DAMAGES)
def test_doctor_finds_it_and_what_it_advises_works(
    original: Path, path: Path, damage: str
) -> None:
    hit(original, path, damage)
    result = run(["doctor", str(path), "--json"])
    found = json.loads(result.stdout)["findings"]
    damaged = [each for each in found if each["severity"] == "damage"]
    assert bool(damaged) == (" no " not in damage), result.output
    assert result.exit_code == Status.NO or not damaged
    commands = {each["command"] for each in damaged}
    for command in commands:
        program, *words = shlex.split(command)
        assert program == "lsmkv"
        assert run(words).exit_code in {Status.OK, Status.NO}
        assert lsmkv.verify(words[-1]).ok
        with lsmkv.open(words[-1], mode="r") as db:
            assert len(list(db.keys())) <= sample.COUNT
    shown = run(["doctor", str(path)]).stdout
    for each in damaged:
        assert each["text"] in shown
        assert each["cost"]

# SPDX-License-Identifier: Apache-2.0
"""Goal: the shell runs the commands of the registry on a database that stays open, is
never ended by an error, and completes and colours what is typed.

Method: a session, the completer and the lexer in this process, with a small
registry of its own; the loop with typed keys and no terminal.
"""

from __future__ import annotations

import asyncio
import dataclasses
import io
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from prompt_toolkit.application import create_app_session
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from rich.console import Console

import lsmkv
from lsmkv.cli import text
from lsmkv.cli.__main__ import main
from lsmkv.cli.command import Command, CommandError, Place, Progress, Stream
from lsmkv.cli.shell import grammar, loop, pager
from lsmkv.cli.shell.colour import ShellLexer
from lsmkv.cli.shell.complete import KEYS_MAX, ShellCompleter
from lsmkv.cli.shell.session import Session
from lsmkv.cli.status import Status


@dataclasses.dataclass
class Row:
    key: str
    value: str
    ok: bool = True


def look(progress: Progress, place: Place, key: str, wrong: str | None) -> Row:
    value = place.rows.get(text.parse(key))
    if wrong is not None:
        raise {"bug": KeyError("a bug"), "stop": KeyboardInterrupt()}[wrong]
    return Row(key, text.show(value or b""), ok=value is not None)


def walk(progress: Progress, place: Place, bounds: tuple[str, str] | None) -> Stream:
    rows = place.rows.items()
    return Stream(Row(text.show(key), text.show(value)) for key, value in rows)


def show_walk(rows: Stream, console: Console) -> None:
    for row in rows.items:
        click.echo(row.key)


def store(progress: Progress, place: Place, key: str, value: str) -> Row:
    place.rows.put(text.parse(key), text.parse(value))
    return Row(key, value)


REGISTRY = (
    Command(
        name="look",
        help="Show a value. Or do something else.",
        parameters=(
            click.Argument(["key"]),
            click.Option(["--wrong", "-w"], type=click.Choice(["bug", "stop"])),
        ),
        run=look,
        show=lambda row, console: console.print(row.value),
        examples=(("user/1", "show the value of user/1"), ("two", "of another")),
        opens="r",
        keyed=True,
    ),
    Command(
        name="walk",
        help="Show all.",
        parameters=(
            click.Option(["--range", "bounds"], nargs=2, metavar="START STOP"),
        ),
        run=walk,
        show=show_walk,
        opens="r",
        keyed=True,
    ),
    Command(
        name="store",
        help="Store a value.",
        parameters=(click.Argument(["key"]), click.Argument(["value"])),
        run=store,
        show=lambda row, console: None,
        opens="rw",
        keyed=True,
    ),
    Command(
        name="size",
        help="Show the size of a file.",
        parameters=(click.Argument(["file"], type=click.Path(path_type=Path)),),
        run=lambda progress, file: Row(file.name, str(file.stat().st_size)),
        show=lambda row, console: console.print(row.key),
    ),
    Command(name="play", help="", run=lambda progress: Row("", ""), show=print),
)


@pytest.fixture
def writer(path: Path) -> Iterator[lsmkv.DB]:
    with lsmkv.open(path) as db:
        db.put_many({b"user/1": b"Ada", b"user/2": b"Grace", b"two words": b"{}"})
        db.namespace("sessions")[b"user/9"] = b"here"
        yield db


@pytest.fixture
def session(writer: lsmkv.DB, path: Path) -> Iterator[Session]:
    with lsmkv.open(path, mode="follower") as db:
        yield Session(db, path, registry=REGISTRY)


@pytest.fixture
def writing(writer: lsmkv.DB, path: Path) -> Session:
    return Session(writer, path, writes=True, registry=REGISTRY)


def said(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    return captured.out + captured.err


def test_commands_work_in_the_namespace_in_use(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    assert session.run("look user/1") == Status.OK
    assert session.run("use sessions") == Status.OK
    assert session.run("look user/9 --json") == Status.OK
    assert session.run("look user/1") == Status.NO
    assert session.run("use nowhere") == Status.NO
    assert session.namespace == "sessions"
    assert session.run("use") == Status.OK
    assert session.run('look "two words"') == Status.OK
    out = said(capsys).splitlines()
    assert out[0] == "Ada"
    assert '  "value": "here"' in out
    assert "Error: there is no namespace 'nowhere': `namespaces` lists them" in out
    assert "{}" in out


@pytest.mark.parametrize(
    ("line", "status", "message"),
    [
        ("lok x", Status.USAGE, "there is no command 'lok': do you mean `look`?"),
        ("zzz", Status.USAGE, "there is no command 'zzz': `help` lists them"),
        ("play", Status.USAGE, "there is no command 'play'"),
        ("look", Status.USAGE, "Missing argument 'KEY'"),
        ("look --wat x", Status.USAGE, "No such option"),
        ("look \\q", Status.USAGE, "column 1: \\q is none of"),
        ("look 'a'b", Status.USAGE, "column 6: a space goes behind this quote"),
        ("look 'a", Status.USAGE, "column 6: this quote is not closed"),
        ("look user/1 -w stop", Status.INTERRUPTED, "stopped"),
        ("look user/1 -w bug", Status.NO, "a fault in lsmkv"),
        ("size nothing", Status.SYSTEM, "No such file or directory"),
        ("store a b", Status.UNUSABLE, "--rw"),
        ("help nonsense", Status.USAGE, "there is no command 'nonsense'"),
    ],
)
def test_an_error_says_what_is_wrong_and_ends_its_line_only(
    session: Session,
    capsys: pytest.CaptureFixture[str],
    line: str,
    status: Status,
    message: str,
) -> None:
    assert session.run(line) == status
    assert message in said(capsys)
    assert session.run("look user/1") == Status.OK
    assert not session.is_over


@pytest.mark.parametrize("line", ["", "  ", "# look nothing", "look user/1 \\\n"])
def test_lines_that_are_well(session: Session, line: str) -> None:
    assert session.run(line) == Status.OK


def test_a_shell_that_writes(writing: Session, writer: lsmkv.DB) -> None:
    assert writing.run("store 'a \"b\"' '{\"x\": [1, 2]}'") == Status.OK
    assert writing.run('store "c d" "two\nlines"') == Status.OK
    assert writing.run("use sessions") == Status.OK
    assert writing.run("store \\x00 ''") == Status.OK
    assert writer[b'a "b"'] == b'{"x": [1, 2]}'
    assert writer[b"c d"] == b"two\nlines"
    assert writer.namespace("sessions")[b"\x00"] == b""


def test_refresh_shows_what_was_written_meanwhile(
    session: Session,
    writing: Session,
    writer: lsmkv.DB,
    capsys: pytest.CaptureFixture[str],
) -> None:
    writer[b"new"] = b"1"
    assert session.run("look new") == Status.NO
    assert session.run("refresh") == Status.OK
    assert session.run("look new") == Status.OK
    assert session.run("refresh") == Status.OK
    assert writing.run("refresh") == Status.OK
    lines = said(capsys).split("\n")
    assert lines == ['""', "there is news", "1", *["nothing has changed"] * 2, ""]


def test_files_are_those_of_the_open_directory(
    session: Session, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert session.run("size") == Status.OK
    other = path.parent / "another file"
    other.write_bytes(b"x")
    assert session.run(f'size "{other}" ') == Status.OK
    assert said(capsys) == "db\nanother file\n"


def test_help_lists_commands_and_shows_examples(
    session: Session, writing: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    session.run("help")
    listed = said(capsys)
    for name in session.commands:
        assert f" {name} " in listed
    assert "* store" in listed
    assert "--rw" in listed
    writing.run("help")
    assert "--rw" not in said(capsys)
    session.run("help look")
    shown = said(capsys)
    assert "Usage: look [OPTIONS] KEY" in shown
    assert "  look user/1  show the value of user/1\n  look two     of another" in shown
    session.run("help walk")
    assert "Examples" not in said(capsys)


def test_a_changed_database_says_how_to_go_on(
    session: Session,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def changed(*arguments: object) -> None:
        raise lsmkv.ChangedError("gone")

    monkeypatch.setattr(Session, "_call", changed)
    assert session.run("look a") == Status.NO
    assert "`refresh`" in said(capsys)


@pytest.mark.parametrize(
    ("lines", "is_more"),
    [
        ("", False),
        ("put a", False),
        ("put a \\", True),
        ("put a \\\\", False),
        ("put 'a", True),
        ('put "a\\"', True),
        ('put "a"b', False),
        ("put 'a\nb'", False),
        ("put a \\\nb", False),
    ],
)
def test_a_line_goes_on_in_the_next(lines: str, is_more: bool) -> None:
    assert grammar.goes_on(lines) == is_more


def completed(session: Session, line: str) -> list[str]:
    """Complete, and check that what stands before the word stays."""
    found = ShellCompleter(session).get_completions(Document(line), CompleteEvent())
    return [line[: len(line) + c.start_position] + c.text for c in found]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "",
            ["look", "walk", "store", "size", "use", "refresh", "help", "exit", "quit"],
        ),
        ("w", ["walk"]),
        ("  wa", ["  walk"]),
        ("nix ", []),
        ("help s", ["help store", "help size"]),
        ("use ", ["use sessions"]),
        ("use x", []),
        ("look ", ['look "two words"', "look user/1", "look user/2"]),
        ("look user/", ["look user/1", "look user/2"]),
        ('look "us', ['look "user/1"', 'look "user/2"']),
        ("look tw", ['look "two words"']),
        ("look us\\x65", []),
        ("look user/1 ", []),
        ("look \\q", []),
        ("look -", ["look --wrong", "look --json"]),
        ("look --w", ["look --wrong"]),
        ("look --wrong ", ["look --wrong bug", "look --wrong stop"]),
        ("look -w s", ["look -w stop"]),
        ("look -w stop u", ["look -w stop user/1", "look -w stop user/2"]),
        ("look --wrong=stop use", [f"look --wrong=stop user/{n}" for n in (1, 2)]),
        ("store user/1 ", []),
        ("walk --range two user/1", ["walk --range two user/1"]),
        ("walk --range two a u", []),
    ],
)
def test_words_are_completed(session: Session, line: str, expected: list[str]) -> None:
    assert completed(session, line) == expected


def test_keys_of_the_namespace_in_use_are_completed(session: Session) -> None:
    session.run("use sessions")
    assert completed(session, "look u") == ["look user/9"]
    session.namespace = "dropped"
    assert completed(session, "look u") == []


def test_files_are_completed(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one.ldb").touch()
    assert completed(session, "size on") == ["size one.ldb"]


def test_what_few_of_many_keys_have_in_common_all_have(writing: Session) -> None:
    writing.db.put_many({b"many/a/%03d" % n: b"" for n in range(2 * KEYS_MAX)})
    writing.db[b"many/b"] = b""
    writing.db[b"\xff\n\x00"] = b""
    found = completed(writing, "look many/")
    assert len(found) == KEYS_MAX
    assert (found[0], found[-1]) == ("look many/a/000", "look many/b")
    for begun in ("\\", "\\x", "\\xf", "\\xff", "\\xff\\n", '"\\xff'):
        (key,) = completed(writing, f"look {begun}")
        assert key.removeprefix("look ").strip('"') == "\\xff\\n\\x00"


def test_completions_come_from_a_thread(session: Session) -> None:
    async def collect() -> list[str]:
        found = ShellCompleter(session).get_completions_async(
            Document("lo"), CompleteEvent()
        )
        return [completion.text async for completion in found]

    assert asyncio.run(collect()) == ["look"]


def colours(session: Session, typed: str) -> list[list[tuple[str, str]]]:
    lex = ShellLexer(session.parsers).lex_document(Document(typed))
    lines = [lex(number) for number in range(typed.count("\n") + 2)]
    assert "\n".join("".join(f[1] for f in line) for line in lines[:-1]) == typed
    assert not lines[-1]
    return [
        [(style, part) for style, part, *_ in line if part.strip()]
        for line in lines[:-1]
    ]


def test_colours(session: Session) -> None:
    assert colours(session, 'look  --wrong bug "a\\n" 12') == [
        [
            ("class:command", "look"),
            ("class:option", "--wrong"),
            ("class:key", "bug"),
            ("class:string", '"a'),
            ("class:escape", "\\n"),
            ("class:string", '"'),
            ("class:surplus", "12"),
        ]
    ]
    assert colours(session, "store -- -1 'a\nb") == [
        [
            ("class:command", "store"),
            ("class:option", "--"),
            ("class:number", "-1"),
            ("class:string", "'a"),
        ],
        [("class:string", "b")],
    ]
    assert colours(session, "nix a") == [
        [("class:unknown", "nix"), ("class:surplus", "a")]
    ]
    assert colours(session, "") == [[]]


def talk(session: Session, keys: str) -> None:
    with create_pipe_input() as pipe:
        pipe.send_text(keys)
        with create_app_session(input=pipe, output=DummyOutput()):
            loop.talk(session, loop.prompt_session(session, loop.history(False)))


def test_lines_are_typed_until_the_end(
    writing: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    talk(writing, "store a 'x\ry'\rlook nonsense\x03look a\rlook \\\ra\r\x04")
    assert writing.db[b"a"] == b"x\ny"
    assert said(capsys).splitlines()[1:] == ["x\\ny"] * 2


def test_tab_comes_before_the_keys_behind_it(
    session: Session,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loop, "TAB_WAITS", 60)
    talk(session, "lo\t us\t1\rlook u\t\t\t\rlook zz\t\r\x04")
    assert said(capsys).splitlines()[1:] == ["Ada", "Grace", '""']


def test_tab_does_not_wait_for_long(
    session: Session,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    is_over = threading.Event()
    monkeypatch.setattr(loop, "TAB_WAITS", 0)
    monkeypatch.setattr(ShellCompleter, "_commands", lambda *_: is_over.wait() and ())
    talk(session, "lo\tok user/1\r\x04")
    is_over.set()
    assert said(capsys).splitlines()[1:] == ["Ada"]


def test_exit_ends(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    talk(session, "exit\rlook user/1\r")
    assert session.is_over
    assert "Ada" not in said(capsys)
    assert "".join(part for _, part, *_ in loop.label(session)) == "db ro> "
    session.namespace, session.writes = "s", True
    assert "".join(part for _, part, *_ in loop.label(session)) == "db:s rw> "


def test_history_is_kept_for_its_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    loop.history(True).append_string("look a")
    file = tmp_path / "lsmkv" / "history"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert "values of `put` included" in said(capsys)
    assert list(loop.history(True).load_history_strings()) == ["look a"]
    assert not said(capsys)
    assert not list(loop.history(False).load_history_strings())
    monkeypatch.setenv("XDG_STATE_HOME", str(file))
    assert not list(loop.history(True).load_history_strings())
    assert "not kept" in said(capsys)


def test_the_home_directory_has_the_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    loop.history(True)
    assert (tmp_path / ".local/state/lsmkv/history").is_file()


def shell(*arguments: str, typed: str | None = None) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["shell", *arguments], input=typed)
    return result.exit_code, result.output


def test_a_script_runs_to_its_end_and_tells_the_last_error(
    writer: lsmkv.DB, path: Path
) -> None:
    typed = "# a script\nnonsense\nuse nowhere\n\nhelp \\\nuse\nuse sessions\nuse 'a"
    status, output = shell(str(path), typed=typed)
    assert status == Status.USAGE
    assert output.count("Error") == 3
    assert "Usage: use" in output
    assert shell(str(path), typed="use nowhere")[0] == Status.NO
    assert shell(str(path), typed="help\nexit\nnonsense") == shell(str(path), "-chelp")
    assert shell(str(path), typed="") == (0, "")


def test_commands_are_arguments(writer: lsmkv.DB, path: Path) -> None:
    assert shell(str(path), "-c", "use sessions", "-c", "use x")[0] == Status.NO
    assert shell(str(path), "-c", "use x", "-c", "use")[0] == Status.NO
    status, output = shell(str(path), "--rw", "-c", "use")
    assert status == Status.LOCKED
    assert "Error" in output


def test_where_no_database_is(tmp_path: Path) -> None:
    assert shell(str(tmp_path / "none"))[0] == Status.UNUSABLE
    assert shell()[0] == Status.USAGE


def test_an_untrusted_directory_is_opened_with_limits(path: Path) -> None:
    with lsmkv.open(path) as db:
        db[b"a"] = b"1"
    assert shell(str(path), "--untrusted", "-c", "use")[0] == Status.OK
    assert shell(str(path), "--rw", "-c", "use")[0] == Status.OK


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_is_talked_to(
    writer: lsmkv.DB, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(sys, "stdout", Terminal())
    sessions: list[Session] = []
    monkeypatch.setattr(loop, "talk", lambda session, prompt: sessions.append(session))
    monkeypatch.setattr(pager, "find", lambda: ["less"])
    with create_pipe_input() as pipe, create_app_session(pipe, DummyOutput()):
        for pages in (True, False):
            loop.run(loop.Settings(database=path, keeps_history=False, pages=pages))
    assert [session.pager for session in sessions] == [["less"], []]


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({"PAGER": "cat -u"}, ["cat", "-u"]),
        ({"PAGER": ""}, []),
        ({"PAGER": "no-such-program"}, []),
        ({"PAGER": "cat", "TERM": "dumb"}, []),
    ],
)
def test_the_pager_is_the_users(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], found: list[str]
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert pager.find() == found


def test_a_long_result_goes_through_the_pager(
    writing: Session, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    writing.pager = ["sed", "s/^/paged /"]
    writing.run("walk")
    assert capfdbinary.readouterr().out == b'"two words"\nuser/1\nuser/2\n'
    writing.db.put_many({b"%05d" % n: b"" for n in range(30_000)})
    writing.run("walk")
    lines = capfdbinary.readouterr().out.splitlines()
    assert len(lines) == 30_003
    assert all(line.startswith(b"paged ") for line in lines)


def test_leaving_the_pager_stops_the_command(
    writing: Session, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    writing.db.put_many({b"%05d" % n: b"" for n in range(30_000)})
    writing.pager = ["head", "-n", "1"]
    assert writing.run("walk") == Status.OK
    assert capfdbinary.readouterr() == (b"00000\n", b"")


def test_an_error_behind_many_rows_comes_behind_them(
    writing: Session, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    def rows() -> Iterator[Row]:
        yield from (Row(str(n), "") for n in range(100))
        raise CommandError("that was all")

    writing.commands["walk"] = dataclasses.replace(
        REGISTRY[1], run=lambda progress, place, bounds: Stream(rows())
    )
    writing.pager = ["cat"]
    assert writing.run("walk") == Status.NO
    out, err = capfdbinary.readouterr()
    assert out.splitlines()[-1] == b"99"
    assert err == b"Error: that was all\n"

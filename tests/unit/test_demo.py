# SPDX-License-Identifier: Apache-2.0
"""Goal: `lsmkv demo` passes on a sound engine, notices damage, and ends with a message.

Method: the whole demo runs as a user runs it, on the standard library, and is killed
at a random moment. What it says about damage, other databases and other Pythons is
tried on the records of one package.
"""

import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

import lsmkv
from lsmkv.cli import render
from lsmkv.cli.__main__ import main
from lsmkv.cli.command import Progress
from lsmkv.cli.demo import corpus, crash, expiry, parse, report, run

SEED = int(os.environ.get("LSMKV_SEED", str(random.SystemRandom().randrange(1 << 30))))
DEMO = [sys.executable, "-P", "-m", "lsmkv.cli", "demo"]

ODD_SOURCE = '''"""Module."""
import functools

@functools.cache
@staticmethod
async def twice(a, /, b: int = 1, *, c="\\ud800") -> int:
    """Doc \\ud800."""
    class Inner(dict, metaclass=type): pass
    return lambda: 1

if True:
    def chosen(): ...
else:
    def chosen(x): ...

try:
    pass
except OSError:
    def handled(): ...
\f
match 1:
    case 1:
        class Matched: ...
'''


def call(*arguments: str) -> Result:
    """Run the command line in this process."""
    return CliRunner().invoke(main, ["demo", *arguments])


def demo(directory: Path) -> dict[str, Any]:
    """Run the demo as a process; return its facts."""
    done = subprocess.run(
        [*DEMO, "--dir", str(directory), "--json"], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


@pytest.mark.timeout(600)
def test_the_demo_passes_and_passes_again_after_it_was_killed(tmp_path: Path) -> None:
    first = demo(tmp_path / "db")
    assert first["ok"]
    assert first["record_count"] > 20_000
    assert len(first["kills"]) == 5
    assert all(check["ok"] for check in first["checks"])

    moment = random.Random(SEED).uniform(0, first["seconds"]["all"])
    print(f"seed={SEED} killed after {moment:.1f} s")
    with subprocess.Popen(
        [*DEMO, "--dir", str(tmp_path / "db")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        time.sleep(moment)
        process.send_signal(signal.SIGKILL)

    second = demo(tmp_path / "db")
    assert second["ok"]
    assert second["found_before"] == first["record_count"]
    assert second["record_bytes"] == first["record_bytes"]


def records_of(*packages: str) -> dict[bytes, bytes]:
    """Parse packages of the standard library."""
    root = parse.library()
    texts = [
        text
        for package in packages
        for path in sorted((root / package).glob("*.py"))
        for text in parse.parse_file(path, root)
    ]
    return corpus.keyed(texts)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Callable[..., corpus.Corpus]:
    """Make the demo run on a few packages."""

    def choose(*packages: str) -> corpus.Corpus:
        chosen = corpus.Corpus(records_of(*packages), len(packages), {"bad.py": "no"})

        def load(progress: Progress) -> corpus.Corpus:
            del progress
            return chosen

        monkeypatch.setattr(corpus, "load", load)
        return chosen

    return choose


def failed_checks(result: Result) -> list[str]:
    facts = json.loads(result.stdout)
    return [check["name"] for check in facts["checks"] if not check["ok"]]


def test_a_small_demo_passes_and_shows_its_report(
    small: Callable[..., corpus.Corpus], tmp_path: Path
) -> None:
    count = len(small("json", "logging").records)
    result = call("--dir", str(tmp_path), "--kills", "1")
    assert result.exit_code == 0, result.output
    for words in (
        "All checks held",
        f"{count:,}",
        "level",
        "p99",
        "written once",
        "sessions expire at their time",
        "survive SIGKILL",
    ):
        assert words in result.stdout
    again = call("--dir", str(tmp_path), "--kills", "2")
    assert again.exit_code == 0, again.output
    assert f"{count:,} records of an earlier run" in again.stdout


def test_without_dir_nothing_stays(
    small: Callable[..., corpus.Corpus],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small("json")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    result = call("--kills", "1", "--json")
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert facts["ok"]
    assert not facts["kept"]
    assert facts["directory"].startswith(str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_wrong_record_of_an_earlier_run_is_noticed(
    small: Callable[..., corpus.Corpus], tmp_path: Path
) -> None:
    records = list(small("json").records)
    assert call("--dir", str(tmp_path), "--kills", "1").exit_code == 0
    with lsmkv.open(tmp_path) as db:
        library = db.namespace(run.LIBRARY)
        library.put(records[7], b"not what the source says")
        db.namespace(crash.NAMESPACE).put(crash.row_key(1), b"not what was written")
        library.delete(records[8])  # may be absent: the run may have been killed
    result = call("--dir", str(tmp_path), "--kills", "1", "--json")
    assert result.exit_code == 1
    assert failed_checks(result)[:2] == [
        "the records of an earlier run are right",
        "and the rows of its killed processes",
    ]


def test_a_record_too_many_is_noticed(
    small: Callable[..., corpus.Corpus], tmp_path: Path
) -> None:
    small("json")
    assert call("--dir", str(tmp_path), "--kills", "1").exit_code == 0
    with lsmkv.open(tmp_path) as db:
        db.namespace(run.LIBRARY).put(b"json.decoder.Nobody#source", b"")
    result = call("--dir", str(tmp_path), "--kills", "1", "--json")
    assert result.exit_code == 1
    assert failed_checks(result) == [
        "the records of an earlier run are right",
        "a scan gives every record, in order",
        "a scan of json* gives that module",
        "and every record is still there",
    ]


def test_a_lost_record_is_noticed(
    small: Callable[..., corpus.Corpus],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    records = small("json").records
    lost = next(iter(records))
    put_many = lsmkv.Namespace.put_many

    def forget(space: lsmkv.Namespace, items: Any) -> None:
        put_many(space, [item for item in items if item[0] != lost])

    monkeypatch.setattr(lsmkv.Namespace, "put_many", forget)
    result = call("--dir", str(tmp_path), "--kills", "1")
    assert result.exit_code == 1
    assert "FAILED" in result.stdout
    assert f"1 wrong: {lost.decode()}" in " ".join(result.stdout.split())


@pytest.mark.parametrize("interrupted", [False, True])
def test_the_records_of_another_python_make_way(
    small: Callable[..., corpus.Corpus], tmp_path: Path, interrupted: bool
) -> None:
    small("json", "logging")
    assert call("--dir", str(tmp_path), "--kills", "1").exit_code == 0
    if interrupted:
        with lsmkv.open(tmp_path) as db:
            db.put(run.MARK_KEY, run.CLEARING)
            library = db.namespace(run.LIBRARY)
            library.delete_many(list(library)[::2])
            db.drop_namespace(crash.NAMESPACE)
    count = len(small("json").records)
    result = call("--dir", str(tmp_path), "--kills", "1", "--json")
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert facts["found_before"] == 0
    with lsmkv.open(tmp_path) as db:
        assert len(list(db.namespace(run.LIBRARY))) == count


def test_a_database_of_others_is_left_alone(
    small: Callable[..., corpus.Corpus], tmp_path: Path
) -> None:
    small("json")
    with lsmkv.open(tmp_path) as db:
        db.put(b"precious", b"1")
    result = call("--dir", str(tmp_path))
    assert result.exit_code == 1
    assert "not the demo's" in result.stderr
    with lsmkv.open(tmp_path) as db:
        assert dict(db.items()) == {b"precious": b"1"}


def test_a_directory_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear reader")
    result = call("--dir", str(tmp_path))
    assert result.exit_code == 1
    assert "name an empty directory" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_a_database_in_use_is_reported_with_its_holder(
    small: Callable[..., corpus.Corpus],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small("json")
    monkeypatch.setattr(run, "LOCK_SECONDS_MAX", 0.3)
    with lsmkv.open(tmp_path):
        result = call("--dir", str(tmp_path))
    assert result.exit_code == 3
    assert str(os.getpid()) in result.stderr


def test_damage_ends_the_demo_with_the_name_of_the_file(
    small: Callable[..., corpus.Corpus], tmp_path: Path
) -> None:
    small("json")
    assert call("--dir", str(tmp_path), "--kills", "1").exit_code == 0
    (tmp_path / "CURRENT").write_bytes(b"MANIFEST-000001 0123456789abcdef\n")
    result = call("--dir", str(tmp_path))
    assert result.exit_code == 1
    assert "CURRENT" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--kills", "0"], "--kills"),
        (["--dir", __file__], "is a file"),
        (["--speed"], "--speed"),
    ],
)
def test_wrong_arguments_end_with_status_2(arguments: list[str], words: str) -> None:
    result = call(*arguments)
    assert result.exit_code == 2
    assert words in result.stderr


def test_version_and_help_are_there() -> None:
    runner = CliRunner()
    assert lsmkv.__version__ in runner.invoke(main, ["--version"]).stdout
    assert "demo" in runner.invoke(main, ["--help"]).stdout
    assert runner.invoke(main, ["no-such-command"]).exit_code == 2


def test_a_session_that_goes_early_or_late_is_noticed(db: lsmkv.DB) -> None:
    progress = render.progress(silent=True)
    sessions = db.namespace(expiry.NAMESPACE)
    rows = {expiry.key_of(i): b"" for i in range(expiry.COUNT)}
    now = time.monotonic()
    sessions.put_many(rows, ttl=0.3)
    late = expiry.look_on(sessions, dict.fromkeys(rows, now - 1), progress)
    assert not late.ok
    assert late.late == late.expired == expiry.COUNT
    sessions.put_many(rows, ttl=0.1)
    early = expiry.look_on(sessions, dict.fromkeys(rows, now + 60), progress)
    assert not early.ok
    assert early.early == expiry.COUNT
    lost = expiry.look_on(sessions, {}, progress)
    assert not lost.ok
    assert lost.kept == 0


def test_a_failed_kill_is_shown_as_wrong() -> None:
    kills = [crash.Kill(0.1, 10, 9, 0, True), crash.Kill(0.1, 10, 12, 0, True)]
    assert not any(kill.ok for kill in kills)
    assert crash.Kill(0.1, 10, 10, 0, True).ok
    assert crash.Kill(0.1, 10, 11, 0, True).ok
    assert not crash.Kill(0.1, 10, 10, 0, False).ok
    console = Console(record=True, width=100, file=io.StringIO())
    console.print(report.kills_table(kills))
    assert console.export_text().count("WRONG") == 2


def test_rows_of_the_killed_processes_follow_from_the_head_alone(
    tmp_path: Path,
) -> None:
    rng = random.Random(SEED)
    rows: dict[bytes, bytes] = {}
    with lsmkv.open(tmp_path / "db") as db:
        assert crash.rows_are_right(db)
        for number in range(1, 2 * crash.SLOTS + rng.randrange(crash.SLOTS)):
            crash.write(db, number)
            value = crash.row_value(number)
            rows.pop(crash.row_key(number), None)
            if value is not None:
                rows[crash.row_key(number)] = value
        assert crash.rows_are_right(db)
        assert rows | {crash.HEAD: b"%d" % number} == crash.rows_after(number)
        db.delete(next(iter(rows)))
        assert not crash.rows_are_right(db)


def test_every_definition_of_a_file_gets_its_texts(tmp_path: Path) -> None:
    path = tmp_path / "odd" / "__init__.py"
    path.parent.mkdir()
    path.write_text(ODD_SOURCE)
    records = corpus.keyed(list(parse.parse_file(path, tmp_path)))
    names = {key.decode().partition("#")[0] for key in records}
    assert names == {
        "odd",
        "odd.twice",
        "odd.twice.<locals>.Inner",
        "odd.chosen",
        "odd.chosen~2",
        "odd.handled",
        "odd.Matched",
    }
    contents = {key.decode(): parse.unframe(value) for key, value in records.items()}
    assert contents["odd#source"].text == ODD_SOURCE
    assert contents["odd#docstring"].text == "Module."
    assert "odd#signature" not in contents
    twice = contents["odd.twice#source"]
    assert (twice.definition, twice.path) == ("function", "odd/__init__.py")
    assert (twice.first_line, twice.last_line) == (4, 9)
    assert twice.text == "\n".join(ODD_SOURCE.split("\n")[3:9])
    assert contents["odd.twice#docstring"].text == "Doc \ud800."
    assert contents["odd.twice#signature"].text == (
        "async def twice(a, /, b: int=1, *, c='\\ud800') -> int"
    )
    inner = contents["odd.twice.<locals>.Inner#signature"]
    assert inner.text == "class Inner(dict, metaclass=type)"
    assert contents["odd.chosen#signature"].text == "def chosen()"
    assert contents["odd.chosen~2#signature"].text == "def chosen(x)"
    assert contents["odd.Matched#source"].text == "        class Matched: ..."


@pytest.mark.parametrize("text", ["", "one\ntwo\n", "\n", "ünï\ud800cödé"])
def test_frames_give_back_what_went_in(text: str) -> None:
    content = parse.Framed("class", "a b/c d.py", 1, 234, text)
    assert parse.unframe(parse.frame(content)) == content


@pytest.mark.parametrize("value", [b"", b"no newline", b"too few\n", b"a b c d\ntext"])
def test_what_is_no_frame_is_refused(value: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        parse.unframe(value)


@pytest.mark.parametrize(
    "content",
    [
        b"print 'old'\n",
        b"# coding: no-such\n",
        b"\xff\xfe\n",
        b"a = 1\0\n",
        b"x = 01\n",
    ],
)
def test_files_that_hold_no_python_are_told_apart(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "bad.py"
    path.write_bytes(content)
    with pytest.raises(parse.UNPARSABLE):
        list(parse.parse_file(path, tmp_path))

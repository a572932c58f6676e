# SPDX-License-Identifier: Apache-2.0
"""Goal: an import puts all rows of a file or says what is wrong and where; one that was
interrupted goes on; and a file that was changed is never taken for a whole one.

Method: files changed at many bytes and cut off at many places, in both formats; imports
that fail or are killed after each batch.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import lsmkv
from cli.moved import call, done, refused, rows_of
from cli.test_export import fill
from lsmkv._base import xxh3_64
from lsmkv.cli import dump, import_, parquet

FORMATS = ("jsonl", "parquet")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a database and exports of it, of chunks of 20 rows."""
    place = tmp_path_factory.mktemp("import")
    fill(place / "db", 120)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dump, "CHUNK_ROWS", 20)
        patch.setattr(parquet, "GROUP_ROWS", 20)
        for file_format in FORMATS:
            done("export", place / "db", place / f"out.{file_format}", "--all")
    return place


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_byte_that_was_changed_is_noticed_and_nothing_is_put(
    place: Path, tmp_path: Path, file_format: str
) -> None:
    data = bytearray((place / f"out.{file_format}").read_bytes())
    file = tmp_path / "bad"
    done("import", tmp_path / "new", place / f"out.{file_format}", "--create")
    with lsmkv.open(tmp_path / "new") as db:
        db.delete_range(None, None)
    unnoticed = 0
    for at in range(0, len(data), len(data) // 40):
        data[at] ^= 0x20
        file.write_bytes(data)
        data[at] ^= 0x20
        result = call("import", tmp_path / "new", file)
        if result.exit_code == 0:  # it was in what nobody needs, such as statistics
            unnoticed += 1
            assert rows_of(tmp_path / "new") == rows_of(place / "db")
            with lsmkv.open(tmp_path / "new") as db:
                db.delete_range(None, None)
            continue
        assert result.exit_code == 1
        assert "bad, " in result.stderr
        assert not rows_of(tmp_path / "new")[""]
    assert unnoticed <= {"jsonl": 0, "parquet": 15}[file_format]


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_file_that_was_cut_off_is_noticed(
    place: Path, tmp_path: Path, file_format: str
) -> None:
    data = (place / f"out.{file_format}").read_bytes()
    for size in [0, 3, *range(100, len(data), len(data) // 9), len(data) - 1]:
        (tmp_path / "bad").write_bytes(data[:size])
        refused("import", tmp_path / "new", tmp_path / "bad", "--create")
        assert rows_of(tmp_path / "new") == {"": []}


def test_what_is_wrong_is_said_with_line_and_byte(place: Path, tmp_path: Path) -> None:
    lines = (place / "out.jsonl").read_bytes().splitlines(keepends=True)
    bad = tmp_path / "bad"
    lines[30] = lines[30].replace(b"text", b"test")
    bad.write_bytes(b"".join(lines))
    why = refused("import", tmp_path / "new", bad, "--create")
    assert "lines 27 to 47 (from byte" in why
    assert "checksum" in why
    lines[30] = lines[30][:9] + b"\n"
    bad.write_bytes(b"".join(lines))
    assert "line 31 is no JSON" in refused("import", tmp_path / "new", bad)
    bad.write_bytes((place / "out.jsonl").read_bytes() + b"more")
    assert "on: it is not whole" in refused("import", tmp_path / "new", bad)
    bad.write_bytes(b'{"key": "a"}\n')
    assert "line 1: this is no export" in refused("import", tmp_path / "new", bad)
    assert rows_of(tmp_path / "new") == {"": []}


def forged(*chunks: list[str]) -> bytes:
    """A file with right checksums whose content is not right."""
    data, closing, check = b"", b"", 0
    for number, lines in enumerate((*chunks, [])):
        text = "".join(line + "\n" for line in lines).encode()
        check = xxh3_64(closing + text, check)
        name = f'"chunk": {number}' if number < len(chunks) else '"end": true'
        closing = f'{{{name}, "rows": 1, "xxh3": "{check:016x}"}}\n'.encode()
        data += text + closing
    return data


HEAD = (
    '{"lsmkv": "export", "version": 1, "uuid": "", "sequence": 1, "time": "", '
    '"selection": {}}'
)


@pytest.mark.parametrize(
    ("head", "row", "why"),
    [
        (HEAD.replace("1,", "2,", 1), "", "version 2"),
        (HEAD.replace("uuid", "id"), "", "uuid"),
        (f'{HEAD}\n{{"namespace": 1, "options": {{}}}}', "", "name and options"),
        (f'{HEAD}\n{{"namespace": "a", "options": {{"x": 1}}}}', "", "no option"),
        (f'{HEAD}\n{{"namespace": "a"}}', "", "options"),
        (HEAD, "{}", "line 3"),
        (HEAD, "[]", "no row"),
        (HEAD, '{"key": "a", "value": 1}', "no row"),
        (HEAD, '{"key": "a", "value64": "?"}', "no row"),
        (HEAD, '{"key": "\\\\q", "value": ""}', "no row"),
        (HEAD, '{"key": "\\ud800", "value": ""}', "no row"),
        (HEAD, '{"key": "a", "value": "", "expires": "soon"}', "no time"),
        (HEAD, '{"key": "a", "value": "", "expires": -1}', "no time"),
        (HEAD, '{"key": "a", "value": "", "fresh": 18446744073709551616}', "no time"),
        (HEAD, "[" * 100_000, "no row"),
        ("[" * 100_000, "", "no export"),
        (HEAD, '{"key": "a", "value": "", "namespace": "b"}', "no namespace 'b'"),
    ],
    ids=lambda text: str(text)[-40:],
)
def test_a_file_with_right_checksums_is_not_believed_either(
    tmp_path: Path, head: str, row: str, why: str
) -> None:
    (tmp_path / "bad").write_bytes(forged([head], [row]))
    said = refused("import", tmp_path / "new", tmp_path / "bad", "--create")
    assert why in said
    assert rows_of(tmp_path / "new").get("", []) == []


class _StoppedError(lsmkv.Error):
    """Raised in place of whatever ends a process."""


@pytest.mark.parametrize("file_format", FORMATS)
def test_an_import_that_was_interrupted_goes_on(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file_format: str
) -> None:
    file = place / f"out.{file_format}"
    write = import_._Writer.write
    for batches in range(3, 12, 4):
        left = [batches]

        def stop(self: import_._Writer, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] == 0:
                raise _StoppedError("stopped")
            write(self)

        new = tmp_path / f"new{batches}"
        monkeypatch.setattr(import_._Writer, "write", stop)
        command = ("import", new, file, "--batch-bytes", 100)
        assert "stopped" in refused(*command, "--create")
        monkeypatch.setattr(import_._Writer, "write", write)
        assert "--resume" in refused(*command)
        other = place / f"out.{'parquet' if file_format == 'jsonl' else 'jsonl'}"
        assert "not the file" in refused("import", new, other, "--resume")
        said = done(*command, "--resume")
        assert 0 < said["resumed"] < said["rows"] == 195
        assert rows_of(new) == rows_of(place / "db")
        assert done("import", new, file, "--resume")["resumed"] == 0


_KILLED = """
import os, signal, sys
from lsmkv.cli import __main__, import_
write = import_._Writer.write
left = 4
def counted(self):
    global left
    write(self)
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
import_._Writer.write = counted
__main__.main(sys.argv[1:])
"""


def test_an_import_that_was_killed_goes_on(place: Path, tmp_path: Path) -> None:
    new, file = tmp_path / "new", place / "out.jsonl"
    arguments = ["import", str(new), str(file), "--create", "--batch-bytes", "100"]
    killed = subprocess.run(
        [sys.executable, "-c", _KILLED, *arguments],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert "interrupted after 60 rows" in refused("import", new, file)
    done("export", new, tmp_path / "half", "--all")
    assert b"lsmkv.import" not in (tmp_path / "half").read_bytes()
    assert done("import", new, file, "--resume")["resumed"] == 60
    assert rows_of(new) == rows_of(place / "db")


def test_an_import_that_was_interrupted_can_be_forgotten(
    place: Path, tmp_path: Path
) -> None:
    new = tmp_path / "new"
    with lsmkv.open(new) as db:
        db.namespace(dump.POSITION_SPACE).put(b"position", b'["x", 1, 2]')
    done("import", new, place / "out.jsonl", "--start-over")
    assert rows_of(new) == rows_of(place / "db")


def test_a_stream_that_breaks_off_says_what_was_put(
    place: Path, tmp_path: Path
) -> None:
    data = (place / "out.jsonl").read_bytes()
    command = ("import", tmp_path / "new", "-", "--create", "--batch-bytes", 1)
    why = refused(*command, stdin=data[: len(data) * 3 // 4])
    count = len(rows_of(tmp_path / "new")[""])
    assert count > 0
    assert f"{count:,} rows before that were put" in why
    assert done(*command, stdin=data)["rows"] == 195
    assert rows_of(tmp_path / "new") == rows_of(place / "db")
    assert "cannot be resumed" in refused(*command, "--resume", status=2)


def test_namespaces_that_are_there_keep_their_options(
    place: Path, tmp_path: Path
) -> None:
    new = tmp_path / "new"
    with lsmkv.open(new) as db:
        db.namespace("sessions", ttl=5)
        db.namespace("empty", max_bytes=1 << 20)
    said = done("import", new, place / "out.jsonl")
    assert said["kept"] == ["sessions"]
    assert said["created"] == ["emb"]
    with lsmkv.open(new) as db:
        assert db.namespaces()["sessions"].default_ttl == 5
    assert rows_of(new)["sessions"] == rows_of(place / "db")["sessions"]
    with lsmkv.open(new) as db:
        db.drop_namespace("emb")
        db.vectors("emb", dim=4)
    assert "holds other rows" in refused("import", new, place / "out.jsonl")


def test_what_is_no_file_is_said(tmp_path: Path, place: Path) -> None:
    missing = refused("import", place / "db", tmp_path / "missing", status=5)
    assert "missing" in missing
    (tmp_path / "bad").write_bytes(b"PAR1 and no more")
    assert "bad, " in refused("import", place / "db", tmp_path / "bad")
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    pq.write_table(pa.table({"key": [b"a"]}), tmp_path / "other")
    assert "no export" in refused("import", place / "db", tmp_path / "other")

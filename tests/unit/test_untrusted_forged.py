# SPDX-License-Identifier: Apache-2.0
"""Goal: checksums that are right over absurd contents are no way in.

Method: directories are written from the specification (untrusted/forge.py), each with
one absurdity, and read by a process of its own (untrusted/child.py) with trusted=False.
First an honest one: what the forger writes is what the engine reads.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

import lsmkv
from golden.keys import POINTER
from untrusted.forge import NAMESPACE, Forger, Stored, pointer, row, varint

TESTS = Path(__file__).resolve().parents[1]
ROWS = [row(b"%04d" % i, 10 + i, b"value %d" % i) for i in range(100)]


def kinds_of(paths: list[Path]) -> list[str]:
    """Read directories in a child; returns what came of each, fails loudly."""
    done = subprocess.run(
        [sys.executable, "-m", "untrusted.child", "read", *paths],
        cwd=TESTS,
        env={**os.environ, "PYTHONPATH": f"{TESTS.parent}:{TESTS}"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


def honest(forger: Forger) -> Path:
    """Two levels, a range delete, a large value, an empty log."""
    large = bytes(range(256)) * 20
    offset = forger.values(3, large)
    forger.log(1 << 29, [])
    forger.table(4, [Stored(ROWS[:50]), Stored(ROWS[50:])], level=6)
    place = row(b"large", 200, pointer(3, offset, large), POINTER)
    fragments = [(NAMESPACE + b"0010", NAMESPACE + b"0020", [150])]
    shares = [(3, -(-len(large) // 64) * 64)]
    forger.table(5, [Stored([place])], fragments=fragments, segments=shares)
    return forger.finish()


def test_the_forger_writes_what_the_engine_reads(tmp_path: Path) -> None:
    path = honest(Forger(tmp_path / "db"))
    with lsmkv.open(path, mode="r", trusted=False) as db:
        rows = {key[4:]: value for key, _, _, value in ROWS[:10] + ROWS[20:]}
        rows[b"large"] = bytes(range(256)) * 20
        assert dict(db.items()) == rows
        assert db.verify().ok, db.verify().problems
    assert kinds_of([path]) == ["rows"]


def compressed(size: int) -> bytes:
    return zstandard.ZstdCompressor().compress(bytes(size))


def bomb(forger: Forger, size: int, claim: int | None = None) -> Path:
    """Write a compressed block that says what it grows to, or something else."""
    claim = size if claim is None else claim
    payload = compressed(size)
    forger.table(4, [Stored(ROWS[:1], payload, codec=1, raw_size=claim)])
    return forger.finish()


def many_tables(forger: Forger, level: int, count: int) -> Path:
    """Tables with the same keys."""
    for number in range(4, 4 + count):
        rows = [row(b"%04d" % i, number * 100 + i, b"x") for i in range(3)]
        forger.table(number, [Stored(rows)], level=level)
    return forger.finish()


def large_value(forger: Forger, size: int, claim: int | None = None) -> Path:
    """A pointer to so many bytes, which a file without content has."""
    forger.values(3, b"", size=None if claim is not None else 1 << 31)
    if claim is None:
        os.truncate(forger.path / "000003.seg", 1 << 31)
    place = row(b"large", 200, pointer(3, 128, b"", size), POINTER)
    shares = [(3, -(-size // 64) * 64)]
    forger.table(5, [Stored([place])], segments=shares)
    return forger.finish()


def sparse_tail(forger: Forger) -> Path:
    """A table that is all tail."""
    forger.table(4, [Stored(ROWS)])
    size = 1 << 32
    os.truncate(forger.path / "000004.tbl", size)
    start = forger.edit.index(varint(4) + (11).to_bytes(8, "little")) + 9
    small = (forger.path / "000004.tbl").stat().st_size
    assert small == size
    rest = forger.edit[start:]
    for _ in range(2):  # file size and tail size
        while rest[0] >= 0x80:
            rest = rest[1:]
        rest = rest[1:]
    forger.edit = forger.edit[:start] + varint(size, size) + rest
    return forger.finish()


def fragments(forger: Forger, count: int, depth: int) -> Path:
    """Range deletes side by side, each as often as that."""
    deletes = [
        (
            NAMESPACE + b"%08d" % i,
            NAMESPACE + b"%08d" % (i + 1),
            range(1000 + depth, 1000, -1),
        )
        for i in range(count)
    ]
    forger.table(4, [Stored(ROWS)], level=6)
    forger.table(5, [], fragments=deletes, level=0)
    return forger.finish()


def current(forger: Forger, name: str) -> Path:
    forger.table(4, [Stored(ROWS)])
    return forger.finish(current=name)


def edits(forger: Forger, count: int) -> Path:
    return forger.finish(*[varint(8, i) for i in range(count)])


def in_place_of(forger: Forger, name: str, make: Callable[[Path], object]) -> Path:
    """Put something else where a file was."""
    path = honest(forger)
    (path / name).rename(path.parent / "moved")
    make(path / name)
    return path


def link(at: Path) -> None:
    at.symlink_to(at.parent.parent / "moved")


def listen(at: Path) -> None:
    here = os.getcwd()  # noqa: PTH109
    os.chdir(at.parent)  # the path of a socket is short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(at.name)
    os.chdir(here)


FILES = ["CURRENT", "MANIFEST-000001", "000003.seg", "000004.tbl", f"{1 << 29}.log"]
KINDS: dict[str, Callable[[Path], object]] = {
    "link": link,
    "pipe": os.mkfifo,
    "directory": lambda at: at.mkdir(),
    "socket": listen,
}

CASES: dict[str, tuple[str, Callable[[Forger], Path]]] = {
    "a block of 64 MiB": ("LimitError", lambda f: bomb(f, 64 << 20)),
    "a block that grows 20000 times": ("LimitError", lambda f: bomb(f, 1 << 20)),
    "a block that is larger than it says": (
        "CorruptionError",
        lambda f: bomb(f, 64 << 20, 1000),
    ),
    "a block that is smaller than it says": (
        "CorruptionError",
        lambda f: bomb(f, 1000, 4000),
    ),
    "tables that overlap": ("CorruptionError", lambda f: many_tables(f, 1, 2)),
    "800 tables to look into": ("rows", lambda f: many_tables(f, 0, 800)),
    "a value of 1 GiB": ("LimitError", lambda f: large_value(f, 1 << 30)),
    "a value behind the end": ("CorruptionError", lambda f: large_value(f, 4096, 1)),
    "a tail of 4 GiB": ("LimitError", sparse_tail),
    "twenty thousand range deletes": ("rows", lambda f: fragments(f, 20_000, 1)),
    "deep range deletes": ("LimitError", lambda f: fragments(f, 100, 20_000)),
    "a name with ..": ("CorruptionError", lambda f: current(f, "../MANIFEST-000001")),
    "an absolute name": ("CorruptionError", lambda f: current(f, "/etc/passwd")),
    "a table as MANIFEST": ("CorruptionError", lambda f: current(f, "000004.tbl")),
    "no MANIFEST of that name": (
        "CorruptionError",
        lambda f: current(f, "MANIFEST-000099"),
    ),
    "20000 edits": ("rows", lambda f: edits(f, 20_000)),
    "level 7": ("CorruptionError", lambda f: many_tables(f, 7, 1)),
}


def test_absurdities_are_told(tmp_path: Path) -> None:
    paths = [make(Forger(tmp_path / name)) for name, (_, make) in CASES.items()]
    found = dict(zip(CASES, kinds_of(paths), strict=True))
    assert found == {name: expected for name, (expected, _) in CASES.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_refused(kind: str, tmp_path: Path) -> None:
    for name in FILES:
        directory = tmp_path / name
        directory.mkdir()
        path = in_place_of(Forger(directory / "db"), name, KINDS[kind])
        with pytest.raises(lsmkv.CorruptionError):
            lsmkv.open(path, mode="r", trusted=False)


@pytest.mark.parametrize(
    "field",
    [
        varint(5, 0, 4, 0, 0, 0, 0, 0, 0, 0, 1 << 60, 0),  # a key that long
        varint(1, (1 << 64) - 1),
        varint(4, 1) + bytes(8) + varint(6, 6, 1),  # a table that is not there
        varint(99, 1),
    ],
    ids=["key", "next file", "deletion", "field"],
)
def test_an_edit_that_says_too_much_is_refused(field: bytes, tmp_path: Path) -> None:
    forger = Forger(tmp_path / "db")
    forger.table(4, [Stored(ROWS)])
    path = forger.finish(field)
    with pytest.raises((lsmkv.CorruptionError, lsmkv.UnsupportedVersionError)):
        lsmkv.open(path, mode="r", trusted=False)


@pytest.mark.parametrize("count", [2**20, 2**40, 2**63])
@pytest.mark.parametrize("tag", [1, 2, 8, 11])
def test_a_count_that_is_not_there_is_damage(
    tag: int, count: int, tmp_path: Path
) -> None:
    forger = Forger(tmp_path / "db")
    forger.table(4, [Stored(ROWS)], claims={tag: count})
    path = forger.finish()
    try:
        with lsmkv.open(path, mode="r", trusted=False) as db:
            found = dict(db.items())
            assert found == {key[4:]: value for key, _, _, value in ROWS}
            assert not db.verify().ok
    except (lsmkv.CorruptionError, lsmkv.LimitError):
        pass


def test_files_without_end_are_not_searched(tmp_path: Path) -> None:
    path = honest(Forger(tmp_path / "db"))
    os.truncate(path / f"{1 << 29}.log", 1 << 36)
    with pytest.raises(lsmkv.LimitError, match="bytes of a file of records"):
        lsmkv.open(path, mode="r", trusted=False)
    (path / f"{1 << 29}.log").unlink()
    os.truncate(path / "MANIFEST-000001", 1 << 36)
    with pytest.raises(lsmkv.LimitError, match="bytes of a file of records"):
        lsmkv.open(path, mode="r", trusted=False)

# SPDX-License-Identifier: Apache-2.0
"""Goal: whatever a directory holds, opening it with trusted=False can only fail.

Method: one golden database is damaged bit by bit, others are forged, with checksums
that are right over contents that are absurd. Processes of their own read them
(untrusted/child.py), under limits of the system, in every way there is. A seeded sample
of the bits is read here; LSMKV_UNTRUSTED_BITS=n reads n, 0 every one of them.
"""

import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import lsmkv

TESTS = Path(__file__).resolve().parents[1]
GOLDEN = TESTS / "golden" / "v1"
BITS = int(os.environ.get("LSMKV_UNTRUSTED_BITS", "250"))
SEED = int(os.environ.get("LSMKV_UNTRUSTED_SEED", "1"))


def run(*arguments: object, timeout: float | None = 900) -> list[str]:
    """Run the child; returns the lines it printed, fails loudly."""
    done = subprocess.run(
        [sys.executable, "-m", "untrusted.child", *map(str, arguments)],
        cwd=TESTS,
        env={**os.environ, "PYTHONPATH": f"{TESTS.parent}:{TESTS}"},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    """Copy the golden database and close it in peace: its log has no records then."""
    path = Path(shutil.copytree(GOLDEN, tmp_path / "golden"))
    lsmkv.open(path).close()
    return path


def test_it_shows_what_a_trusted_open_shows(closed: Path) -> None:
    with (
        lsmkv.open(closed, mode="r") as trusted,
        lsmkv.open(closed, mode="r", trusted=False) as db,
    ):
        assert dict(db.items()) == dict(trusted.items())
        assert db.namespaces() == trusted.namespaces()
        assert db.versions() == trusted.versions()
        for name in db.namespaces():
            rows = dict(trusted.namespace(name, create=False).items())
            assert dict(db.namespace(name, create=False).items()) == rows
        assert db.verify().ok
        assert db.options.mapping is False
        assert db.options.memory_bytes == 256 << 20
        with pytest.raises(lsmkv.ReadOnlyError):
            db.put(b"a", b"1")


def test_views_and_copies_of_values_are_right(path: Path) -> None:
    large = bytes(range(256)) * 100
    with lsmkv.open(path) as db:
        db.put_many([(b"small", b"1"), (b"large", large)])
    with lsmkv.open(path, mode="r", trusted=False) as db:
        view = db.get_view(b"large")
        target = bytearray(len(large))
        assert db.get_into(b"large", target) == len(large)
        assert bytes(target) == large
        assert db.get_many([b"large", b"none", b"small"]) == [large, None, b"1"]
    assert view is not None
    assert bytes(view) == large  # also after the close


def test_only_reading_goes_with_it(path: Path) -> None:
    lsmkv.open(path).close()
    for mode in ("rw", "follower"):
        with pytest.raises(lsmkv.InvalidArgumentError, match="not trusted"):
            lsmkv.open(path, mode=mode, trusted=False)
    with pytest.raises(lsmkv.InvalidArgumentError, match="not warmed"):
        lsmkv.open(path, mode="r", trusted=False, warm=True)
    with pytest.raises(lsmkv.InvalidArgumentError, match="1 MiB"):
        lsmkv.open(path, mode="r", trusted=False, memory_bytes=1 << 19)


def test_it_makes_nothing_and_waits_for_nobody(path: Path) -> None:
    with pytest.raises(lsmkv.NotADatabaseError):
        lsmkv.open(path, mode="r", trusted=False)
    assert not path.exists()
    with lsmkv.open(path) as writer:
        writer.put(b"a", b"1")
        writer.flush()
        with lsmkv.open(path, mode="r", trusted=False) as db:
            assert db.get(b"a") == b"1"


def test_a_pickle_of_it_is_not_trusted_either(path: Path) -> None:
    with lsmkv.open(path) as db:
        db.put(b"a", bytes(2 << 20))
    with lsmkv.open(path, mode="r", trusted=False) as db:
        again = pickle.loads(pickle.dumps(db))
    with again:
        assert again.options.mapping is False
        assert again.get(b"a") == bytes(2 << 20)


def test_writes_that_only_a_log_holds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(lsmkv.LimitError, match=r"\.log: .* checkpoint .*trusted=True"):
        lsmkv.open(shutil.copytree(GOLDEN, tmp_path / "db"), mode="r", trusted=False)


def test_a_checkpoint_of_a_live_database_opens(path: Path, tmp_path: Path) -> None:
    with lsmkv.open(path) as db:
        db.put(b"a", b"1")
        db.checkpoint(tmp_path / "copy")
    with lsmkv.open(tmp_path / "copy", mode="r", trusted=False) as db:
        assert db.get(b"a") == b"1"


@pytest.mark.parametrize("size", [(1 << 20) + 1, 5 << 20])
def test_a_value_too_large_for_the_budget_says_so(path: Path, size: int) -> None:
    with lsmkv.open(path) as db:
        db.put(b"a", bytes(size))
        db.put(b"b", b"1")
    with lsmkv.open(path, mode="r", trusted=False, memory_bytes=8 << 20) as db:
        for read in (db.get, db.get_view, lambda key: dict(db.items())):
            with pytest.raises(lsmkv.LimitError, match=f"{size}, and at most 1048576"):
                read(b"a")
        assert db.get(b"b") == b"1"


def test_damage_is_told_and_nothing_else_happens(closed: Path) -> None:
    results = dict(line.split() for line in run("damage", closed, SEED, BITS))
    assert set(results) <= {
        "CorruptionError",
        "LimitError",
        "NotADatabaseError",
        "UnsupportedVersionError",
        "rows",
    }
    assert int(results["CorruptionError"]) > 4 * int(results["rows"]) > 0

# SPDX-License-Identifier: Apache-2.0
"""Goal: zstd works with the native functions and without them, on the same files.

Method: hide the module that has the functions, and read with one codec what the other
has written. The slow codec at interpreter exit is tried in a process of its own.
"""

import atexit
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard

import lsmkv
from lsmkv import _codec, _zstd

Hide = Callable[[], None]


@pytest.fixture
def hide(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hide]:
    """Give a function that makes the next open find no native functions."""

    def use_python() -> None:
        monkeypatch.setitem(sys.modules, "zstandard._cffi", None)
        monkeypatch.setattr(atexit, "register", lambda function: function)
        _zstd.register.cache_clear()

    yield use_python
    monkeypatch.undo()
    _zstd.register.cache_clear()
    _zstd.register()


ROWS = {b"%06d" % i: b"some text that repeats, row %d; " % i * 20 for i in range(1000)}


def write(path: Path, level: int | None = None) -> int:
    """Store the rows compressed; returns their size on disk."""
    with lsmkv.open(path, compression="zstd", compression_level=level) as db:
        db.put_many(ROWS)
        db.flush()
        db.compact()
        return sum(level.byte_count for level in db.stats().levels)


def check(path: Path, backend: str) -> None:
    """Read all rows, in both directions and one by one, with this codec."""
    with lsmkv.open(path) as db:
        assert db.stats().zstd == backend
        assert dict(db.items()) == ROWS
        assert len(list(db.keys(reverse=True))) == len(ROWS)
        assert db.get(b"000500") == ROWS[b"000500"]
        assert db.verify().ok


def test_the_native_codec_is_used_here(path: Path) -> None:
    size = write(path)
    assert size < sum(map(len, ROWS.values())) / 4
    check(path, "native")


def test_without_the_module_python_compresses(path: Path, hide: Hide) -> None:
    hide()
    size = write(path)
    assert size < sum(map(len, ROWS.values())) / 4
    check(path, "python")


def test_python_reads_what_native_wrote(path: Path, hide: Hide) -> None:
    write(path)
    hide()
    check(path, "python")


def test_native_reads_what_python_wrote(path: Path, hide: Hide) -> None:
    hide()
    write(path)
    sys.modules.pop("zstandard._cffi")
    _zstd.register.cache_clear()
    check(path, "native")


@pytest.mark.parametrize("native", [True, False])
def test_levels_reach_the_codec(tmp_path: Path, hide: Hide, native: bool) -> None:
    if not native:
        hide()
    fast = write(tmp_path / "fast", -7)
    default = write(tmp_path / "default")
    small = write(tmp_path / "small", 19)
    assert small <= default < fast


def test_a_missing_function_counts_as_a_missing_module(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_zstd, "FUNCTIONS", (*_zstd.FUNCTIONS, "ZSTD_noSuchFunction"))
    with pytest.raises(ImportError, match="lacks a function"):
        _zstd.native_addresses()


def test_the_engine_refuses_functions_that_do_not_work() -> None:
    addresses = _zstd.native_addresses()
    for name in _zstd.FUNCTIONS:
        with pytest.raises(lsmkv.Error):
            _codec.register_native({**addresses, name: 0})
    with pytest.raises(lsmkv.Error):  # a bound of 0 bytes: the self-test cannot pass
        _codec.register_native(
            {**addresses, "ZSTD_compressBound": addresses["ZSTD_isError"]}
        )
    _codec.register_native(addresses)


class Broken:
    """A codec that fails in one of the ways Python code can."""

    def __init__(self, level: int) -> None:
        if level == -1:
            raise ValueError

    def compress(self, source: memoryview, /) -> bytes:
        raise RuntimeError

    def decompress(self, source: memoryview, capacity: int, /) -> bytes:
        return b"x" * (capacity + 1)


def test_the_engine_refuses_a_python_codec_that_does_not_work(hide: Hide) -> None:
    for factory in (Broken, lambda level: Broken(-1), lambda level: object()):
        with pytest.raises(lsmkv.Error):
            _codec.register_python(factory)  # type: ignore[arg-type]


def test_the_python_codec_refuses_frames_that_claim_too_much() -> None:
    codec = _zstd.PythonCodec(0)
    frame = zstandard.ZstdCompressor().compress(b"x" * 1000)
    assert codec.decompress(memoryview(frame), 1000) == b"x" * 1000
    with pytest.raises(ValueError, match="at most 999"):
        codec.decompress(memoryview(frame), 999)
    stream = zstandard.ZstdCompressor().compressobj()
    unsized = stream.compress(b"x" * 1000) + stream.flush()
    with pytest.raises(ValueError, match="expected"):
        codec.decompress(memoryview(unsized), 1000)


def test_an_exit_in_the_midst_of_python_compression_does_not_hang(path: Path) -> None:
    script = """
        import sys
        sys.modules["zstandard._cffi"] = None
        import lsmkv
        db = lsmkv.open(sys.argv[1], compression="zstd", memory_bytes=1 << 20,
                        memtable_bytes=32 << 10, table_bytes=32 << 10)
        for i in range(3000):
            db.put(b"%06d" % (i * 7919 % 3000), b"text %d " % i * 50)
        assert db.stats().zstd == "python"
        if len(sys.argv) > 2:
            del db
    """
    for extra in ([], ["drop"], []):
        done = subprocess.run(
            [
                *(sys.executable, "-W", "ignore", "-c", textwrap.dedent(script)),
                *(str(path), *extra),
            ],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.stderr == ""
        assert done.returncode == 0
    with lsmkv.open(path) as db:
        assert len(list(db)) == 3000

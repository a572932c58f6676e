# SPDX-License-Identifier: Apache-2.0
"""Reads directories with trusted=False under limits of the system, and tells.

    python -m untrusted.child damage DIR SEED COUNT [FILE]
    python -m untrusted.child read DIR...

`damage` flips one bit of a file of DIR at a time, COUNT of them chosen by SEED, or each
bit of FILE if COUNT is 0. What is read has to be what was read before, or one of four
errors; nothing in the directory may change, no file be mapped, no thread started, no
descriptor kept, and memory not grow by more than the budget and what the rows take.
`read` asks for all of that but the rows. Prints a line for each result and how often it
came; the last line of stderr names the case that a crash was in.
"""

from __future__ import annotations

import collections
import functools
import hashlib
import os
import random
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import lsmkv

MIB = 1 << 20
BUDGET = 8 * MIB
SLACK = 24 * MIB  # rows as objects, contexts of codecs, the interpreter
SECONDS = 30  # for one directory; a hundred times what the slowest needs
ADDRESS_SPACE = 512 * MIB  # beyond what the process has at its start
ERRORS = (
    lsmkv.CorruptionError,
    lsmkv.LimitError,
    lsmkv.UnsupportedVersionError,
    lsmkv.NotADatabaseError,
)

Prints = dict[str, tuple[int, int, int, bytes]]


class Cached(dict[bytes, bytes]):
    """Rows of a cache, any of which may be gone."""


def status(field: str) -> int:
    """Return a field of /proc/self/status in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name == field:
            return int(rest.split()[0]) << 10
    raise AssertionError(field)


def entries(what: str) -> int:
    """Count the threads or descriptors of the process."""
    return sum(1 for _ in Path("/proc/self", what).iterdir())


def digest(file: Path) -> bytes:
    """Digest what a file begins with; forged ones may have no end."""
    with file.open("rb") as data:
        return hashlib.sha256(data.read(MIB)).digest()


def fingerprints(directory: Path) -> Prints:
    """Tell everything about a directory that a write would change."""
    found: Prints = {}
    for entry in [directory, *sorted(directory.iterdir())]:
        about = entry.lstat()
        plain = entry.is_file() and not entry.is_symlink()
        content = digest(entry) if plain else b""
        found[entry.name] = about.st_mtime_ns, about.st_size, about.st_mode, content
    return found


def answer(call: Callable[[], object]) -> object:
    """Return what a call returns, or the name of one of the four errors."""
    try:
        return call()
    except ERRORS as error:
        return type(error)


def read_keyspace(space: lsmkv.keyspace.Keyspace) -> Iterator[object]:
    """Read every row in several ways; what each came to."""
    rows = answer(lambda: dict(space.items()))
    yield rows
    yield answer(lambda: dict(space.items(reverse=True)))
    yield answer(lambda: len(list(space.keys())))
    keys = list(rows)[:3] + list(rows)[-3:] if isinstance(rows, dict) else [b"a"]
    yield answer(lambda: space.get_many(keys))
    for key in keys:
        yield answer(functools.partial(space.get, key))


def read_cache(space: lsmkv.keyspace.Keyspace) -> Cached:
    """Read what is left in a cache."""
    return Cached(space.items())


def read_everything(db: lsmkv.DB) -> Iterator[object]:
    """Read all there is."""
    yield from read_keyspace(db)
    names = answer(db.namespaces)
    yield names if not isinstance(names, dict) else sorted(names)
    for name, options in names.items() if isinstance(names, dict) else []:
        space = db.namespace(name, create=False)
        if options.max_bytes is None:
            yield from read_keyspace(space)
        else:
            yield answer(functools.partial(read_cache, space))
    versions = answer(db.versions)
    yield versions if not isinstance(versions, list) else len(versions)
    for version in versions if isinstance(versions, list) else []:
        yield from read_keyspace(db.published(version.name, version=version.version))
    yield answer(lambda: db.approximate_count() >= 0)
    with db.snapshot() as snapshot:
        yield answer(lambda: dict(snapshot.items()))
    yield answer(lambda: db.verify().ok) or lsmkv.CorruptionError
    yield answer(lambda: db.stats() is not None)


def open_and_read(directory: Path) -> list[object]:
    """Return what all reads came to, or that it does not open."""
    try:
        with lsmkv.open(directory, mode="r", trusted=False, memory_bytes=BUDGET) as db:
            results = list(read_everything(db))
            assert str(directory) not in Path("/proc/self/maps").read_text()
            return results
    except ERRORS as error:
        return [type(error)]


def read(directory: Path) -> list[object]:
    """Open a directory and read it, and see to it that nothing else happened."""
    before = fingerprints(directory)
    descriptors = entries("fd")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    start = status("VmRSS")
    signal.alarm(SECONDS)
    results = open_and_read(directory)
    signal.alarm(0)
    grown = status("VmHWM") - start
    assert grown <= BUDGET + SLACK, f"{grown} bytes of memory"
    assert entries("task") == 1
    assert entries("fd") == descriptors
    assert fingerprints(directory) == before, "something was written"
    return results


def is_right(results: list[object], expected: list[object]) -> bool:
    """Tell whether each result is as expected, or an error."""
    if results[0] in ERRORS and len(results) == 1:
        return True
    if any(isinstance(result, type) for result in results):
        # What is read after an error depends on it, so places differ: rows are those of
        # some keyspace, whole.
        found = [result for result in results if isinstance(result, dict)]
        return all(any(is_same(rows, known) for known in expected) for rows in found)
    return len(results) == len(expected) and all(map(is_same, results, expected))


def is_same(result: object, expected: object) -> bool:
    """Compare what one read came to."""
    if isinstance(result, Cached) and isinstance(expected, Cached):
        return result.items() <= expected.items()
    return result == expected


def kind_of(results: list[object]) -> str:
    """Name what came of a directory."""
    names = [result.__name__ for result in results if isinstance(result, type)]
    return names[0] if names else "rows"


def flips(
    directory: Path, seed: int, count: int, only: str | None
) -> Iterator[tuple[Path, int]]:
    """Yield files and bits in them."""
    generator = random.Random(seed)
    files = sorted(f for f in directory.iterdir() if f.stat().st_size)
    if only is not None:
        files = [directory / only]
    if count == 0:
        for file in files:
            for bit in range(8 * file.stat().st_size):
                yield file, bit
    for _ in range(count):
        file = generator.choice(files)
        yield file, generator.randrange(8 * file.stat().st_size)


def damage(directory: Path, seed: int, count: int, only: str | None) -> None:
    """Flip bits, one at a time."""
    expected = read(directory)
    assert not any(isinstance(result, type) for result in expected), expected
    found: collections.Counter[str] = collections.Counter()
    for file, bit in flips(directory, seed, count, only):
        print(f"{file.name} {bit}", file=sys.stderr)
        with file.open("r+b", buffering=0) as data:
            byte = os.pread(data.fileno(), 1, bit // 8)[0]
            os.pwrite(data.fileno(), bytes([byte ^ 1 << bit % 8]), bit // 8)
            results = read(directory)
            os.pwrite(data.fileno(), bytes([byte]), bit // 8)
        assert is_right(results, expected), results
        found[kind_of(results)] += 1
    for kind, times in sorted(found.items()):
        print(kind, times)


def main() -> None:
    """Do what the command line says."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    size = status("VmSize") + ADDRESS_SPACE
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    what, *arguments = sys.argv[1:]
    if what == "damage":
        directory, seed, count, *only = arguments
        damage(Path(directory), int(seed), int(count), only[0] if only else None)
        return
    for name in arguments:
        print(name, file=sys.stderr)
        print(kind_of(read(Path(name))))


if __name__ == "__main__":
    main()

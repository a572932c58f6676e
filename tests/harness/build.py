# SPDX-License-Identifier: Apache-2.0
"""Builds the engine with its test hooks, on demand and only what changed.

Objects are named by a hash of their source, all headers, the flags and the compiler, so
a test run never sees a stale one, and programs by a hash of their objects. Several
processes may build at once: a lock on the folder makes the second one wait.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CSRC = ROOT / "csrc"
TESTS = ROOT / "tests"
BUILD = ROOT / "build"
FAILING = TESTS / "harness" / "failing.c"

# Only with LSMKV_STRICT set: a compiler that warns about more than the one in the gate
# must not keep anybody from running the tests.
WARNINGS = [
    *(
        "-Wall",
        "-Wextra",
        "-Wpedantic",
        "-Wshadow",
        "-Wconversion",
        "-Wsign-conversion",
    ),
    *("-Wstrict-prototypes", "-Wmissing-prototypes", "-Wvla", "-Wundef"),
    *("-Wcast-qual", "-Wwrite-strings", "-Wswitch-enum", "-Werror"),
]
COMMON = ["-std=c11", "-D_GNU_SOURCE", "-DLSMKV_TESTING", "-fPIC", "-g", "-pthread"]


class BuildError(Exception):
    """The compiler or the linker refused; the text is what it said."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A way to compile everything: a name for the folder, and the flags."""

    name: str
    flags: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Where its objects and programs are."""
        return BUILD / f"tests-{self.name}"


RELEASE = Variant("release", ("-O2",))
ASAN = Variant(
    "asan",
    (
        "-O1",
        "-DLSMKV_DEBUG",
        "-fno-omit-frame-pointer",
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=all",
    ),
)
# Checksums always agree; only the file that compares them is compiled for it.
UNCHECKED = Variant("asan-unchecked", (*ASAN.flags, "-DLSMKV_FUZZING"))
TSAN = Variant("tsan", ("-O1", "-fno-omit-frame-pointer", "-fsanitize=thread"))


def compiler() -> str:
    """Return the C compiler to use: $CC, else gcc, else cc."""
    for name in (os.environ.get("CC"), "gcc", "cc"):
        if name and shutil.which(name):
            return name
    raise BuildError("no C compiler found: install gcc or set CC")


def run(command: Sequence[str]) -> str:
    """Run a compiler command and return what it printed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildError(f"{' '.join(command)}\n{done.stderr}{done.stdout}")
    return done.stdout


def engine_sources() -> list[Path]:
    """Return the C files of the engine."""
    return sorted(CSRC.glob("*/*.c"))


def _digest(parts: Iterable[bytes]) -> str:
    hasher = hashlib.sha256()
    for part in parts:
        hasher.update(len(part).to_bytes(8, "little"))
        hasher.update(part)
    return hasher.hexdigest()[:16]


def _headers_digest() -> bytes:
    headers = sorted([*CSRC.rglob("*.h"), *TESTS.rglob("*.h")])
    parts: list[bytes] = []
    for header in headers:
        parts += [str(header.relative_to(ROOT)).encode(), header.read_bytes()]
    return _digest(parts).encode()


@contextmanager
def _folder(variant: Variant) -> Iterator[Path]:
    """Own the build folder of a variant while building in it."""
    variant.folder.mkdir(parents=True, exist_ok=True)
    with (variant.folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield variant.folder


def _replace(folder: Path, stem: str, suffix: str, digest: str) -> tuple[Path, bool]:
    """Return the path of an output and whether it exists; drop older ones of it."""
    wanted = folder / f"{stem}-{digest}{suffix}"
    if wanted.exists():
        return wanted, True
    for old in folder.glob(f"{stem}-" + "?" * 16 + suffix):
        old.unlink()
    return wanted, False


def _write_output(command: list[str], wanted: Path) -> Path:
    """Run a command that ends in `-o`, so that the output appears whole or not."""
    partial = wanted.with_suffix(".partial")
    run([*command, "-o", str(partial)])
    partial.rename(wanted)
    return wanted


def _compile(folder: Path, sources: Sequence[Path], flags: list[str]) -> list[Path]:
    headers = _headers_digest()
    if os.environ.get("LSMKV_STRICT"):
        flags = [*flags, *WARNINGS]

    def one(source: Path) -> Path:
        name = str(source.relative_to(ROOT))
        digest = _digest(
            [headers, " ".join(flags).encode(), name.encode(), source.read_bytes()]
        )
        stem = name.removesuffix(".c").replace("/", ".")
        wanted, exists = _replace(folder, stem, ".o", digest)
        if exists:
            return wanted
        includes = ["-I", str(CSRC), "-I", str(source.parent)]
        return _write_output([compiler(), *flags, *includes, "-c", str(source)], wanted)

    with ThreadPoolExecutor(max_workers=min(2, os.cpu_count() or 1)) as pool:
        return list(pool.map(one, sources))


def _link(
    folder: Path, stem: str, suffix: str, objects: list[Path], flags: list[str]
) -> Path:
    names = [str(path) for path in objects]
    digest = _digest([" ".join([*flags, *names]).encode()])
    wanted, exists = _replace(folder, stem, suffix, digest)
    if exists:
        return wanted
    return _write_output([compiler(), *flags, *names, "-lm"], wanted)


def build_program(name: str, sources: Sequence[Path], variant: Variant) -> Path:
    """Build the engine and `sources` into one program and return its path."""
    flags = [*COMMON, *variant.flags]
    with _folder(variant) as folder:
        objects = _compile(folder, [*engine_sources(), *sources], flags)
        return _link(folder, name, "", objects, flags)


def build_crash(variant: Variant = ASAN) -> Path:
    """Build the crash program (tests/crash)."""
    return build_program("crash", sorted((TESTS / "crash").glob("*.c")), variant)


def build_stress(variant: Variant = TSAN) -> Path:
    """Build the stress program (tests/c/stress*.c)."""
    return build_program("stress", sorted((TESTS / "c").glob("stress*.c")), variant)


def build_fuzz(*, checked: bool) -> Path:
    """Build the fuzz program (tests/fuzz); unless `checked`, every checksum agrees."""
    flags = [*COMMON, *ASAN.flags]
    fuzz = sorted((TESTS / "fuzz").glob("*.c"))
    sources = [path for path in fuzz if path.name != "libfuzzer.c"]
    with _folder(ASAN) as folder:
        objects = _compile(folder, [*engine_sources(), *sources], flags)
        if checked:
            return _link(folder, "fuzz", "", objects, flags)
    comparing = CSRC / "base" / "xxh3.c"
    with _folder(UNCHECKED) as folder:
        agreeing = _compile(folder, [comparing], [*COMMON, *UNCHECKED.flags])
        rest = [path for path in objects if "base.xxh3-" not in path.name]
        return _link(folder, "fuzz", "", [*agreeing, *rest], flags)


def build_unit(variant: Variant = ASAN) -> Path:
    """Build the runner of the C unit tests (tests/c/test_*.c)."""
    sources = [TESTS / "c" / "runner.c", *sorted((TESTS / "c").glob("test_*.c"))]
    return build_program("unit", sources, variant)


def build_failing() -> Path:
    """Build the module that makes allocations fail (tests/harness/failing.c)."""
    flags = [*COMMON, *RELEASE.flags, "-I", sysconfig.get_paths()["include"]]
    with _folder(RELEASE) as folder:
        digest = _digest([" ".join(flags).encode(), FAILING.read_bytes()])
        wanted, exists = _replace(folder, "failing", ".so", digest)
        if exists:
            return wanted
        return _write_output([compiler(), *flags, "-shared", str(FAILING)], wanted)

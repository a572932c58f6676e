# SPDX-License-Identifier: Apache-2.0
"""Runs one program of the harness in this process, and ends it.

    python -m lsmkv.fuzz.programs crash|stress ARGUMENT...
    python -m lsmkv.fuzz.programs model --seed S --examples N
    python -m lsmkv.fuzz.programs metamorphic --seed S --commands N

With --mutant NAME behind the others, the engine makes that mistake.
The first two are in C (tests/crash, tests/c/stress.c) and know no codec but none; here
they have zstd, too, whose library is inside of a Python package. All close with a line
"passed: name=number ...". A check that fails prints "FAILED: " and what it was, and
ends the process with status 1; where there is a script, "script:" and the script
follow.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence

from lsmkv import _zstd
from lsmkv.fuzz._native import ffi, lib
from lsmkv.fuzz.engine import select_mutant
from lsmkv.fuzz.failure import Failure


def register_zstd() -> None:
    """Have the testing build use the functions of the zstandard package."""
    known = _zstd.native_addresses()
    # In the order of lsmkv_zstd_functions.
    addresses = [ffi.cast("void *", known[name]) for name in _zstd.FUNCTIONS]
    functions = ffi.new("lsmkv_zstd_functions *", addresses)
    if lib.lsmkv_register_zstd(functions, ffi.NULL) != lib.LSMKV_OK:
        raise RuntimeError("the testing build refuses the codec zstd")


def _run_native(name: str, arguments: Sequence[str]) -> int:
    call = {"crash": lib.crash_main, "stress": lib.stress_main}[name]
    words = [ffi.new("char[]", word.encode()) for word in (name, *arguments)]
    return int(call(len(words), ffi.new("char *[]", words)))


def _close(failure: Failure | None, counts: Mapping[str, int]) -> int:
    if failure is None:
        print("passed:", *(f"{name}={count}" for name, count in counts.items()))
        return 0
    print(f"FAILED: {failure.what}\nscript:\n{failure.script}", end="")
    return 1


def _parse(name: str, arguments: Sequence[str], many: str, default: int) -> Namespace:
    """Read the seed, how many of something there are to be, and the mutant."""
    parser = ArgumentParser(name)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument(f"--{many}", type=int, default=default)
    parser.add_argument("--mutant", default="")
    given = parser.parse_args(arguments)
    select_mutant(given.mutant)
    return given


def _run_model(arguments: Sequence[str]) -> int:
    from lsmkv.fuzz import model

    given = _parse("model", arguments, "examples", 50)
    failure = model.run(given.examples, seed=given.seed)
    machine = model.Machine
    counts = {
        "examples": given.examples,
        "commands": machine.commands_run,
        "states": machine.crashes,
        "failures": machine.failures,
    }
    return _close(failure, counts)


def _run_metamorphic(arguments: Sequence[str]) -> int:
    from lsmkv.fuzz import metamorphic

    given = _parse("metamorphic", arguments, "commands", 1000)
    failure = metamorphic.run(given.seed, commands=given.commands)
    runs = metamorphic.Runs
    counts = {
        "runs": runs.option_sets,
        "commands": runs.commands,
        "insertions": runs.insertions,
    }
    return _close(failure, counts)


def main(arguments: Sequence[str]) -> int:
    """Run one; returns its exit status."""
    name, *rest = arguments or [""]
    register_zstd()
    if name in {"crash", "stress"}:
        return _run_native(name, rest)
    if name == "model":
        return _run_model(rest)
    if name == "metamorphic":
        return _run_metamorphic(rest)
    print(f"{name!r} is no program: expected crash, stress, model or metamorphic")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

# SPDX-License-Identifier: Apache-2.0
"""The registry of commands: all there are, in the order of the help.

A topic's module holds its commands with what they do; the command line and the shell
are made from this.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lsmkv.cli import care, damage, doctor, files, look, moving, rows, spaces, top
from lsmkv.cli.bench import run as bench
from lsmkv.cli.command import Command, Progress, Result, lazily


def _run_fuzz(
    progress: Progress,
    replay: Path | None,
    rewrite: bool,
    mutant: str,
    **arguments: Any,
) -> Result:
    from lsmkv.cli import fuzz

    if replay is not None:
        return fuzz.replay(replay, rewrite=rewrite, mutant=mutant)
    if rewrite:
        raise click.UsageError("--rewrite goes with --replay FILE")
    return fuzz.run(progress, mutant=mutant, **arguments)


FUZZ_PARTS = ("model", "crash", "faults", "damage", "metamorphic", "threads")

_DIRECTORY = click.Option(
    ["--dir", "directory"],
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the database here; default: a directory that is removed.",
)

# What every command takes; __main__.py and the shell add it.
AS_JSON = click.Option(
    ["--json", "as_json"], is_flag=True, help="Print the facts as JSON."
)

COMMANDS: tuple[Command, ...] = (
    *rows.COMMANDS,
    *spaces.COMMANDS,
    *look.COMMANDS,
    *files.COMMANDS,
    *care.COMMANDS,
    *damage.COMMANDS,
    *doctor.COMMANDS,
    *bench.COMMANDS,
    *top.COMMANDS,
    Command(
        name="demo",
        help=(
            "Store the standard library of this Python, every module, class and "
            "function, and check every record: after reopening, and after a process "
            "that was writing got killed. Ends with status 0 only if all of it held."
        ),
        parameters=(
            _DIRECTORY,
            click.Option(
                ["--kills"],
                type=click.IntRange(min=1, max=1000),
                default=5,
                show_default=True,
                help="How many writing processes to kill.",
            ),
        ),
        run=lazily("lsmkv.cli.demo.run", "run"),
        show=lazily("lsmkv.cli.demo.report", "show"),
        inside=(
            Command(
                name="vectors",
                help=(
                    "Embed the docstrings of the standard library with a small model, "
                    "keep the vectors, find all of them again without the model, and "
                    "gather batches of them, compared with the array in memory. Needs "
                    "the extra [demo]."
                ),
                parameters=(_DIRECTORY,),
                run=lazily("lsmkv.cli.demo.embeddings", "run"),
                show=lazily("lsmkv.cli.demo.embeddings_report", "show"),
            ),
        ),
    ),
    Command(
        name="fuzz",
        help=(
            "Try to break the engine: random calls beside a model, crashes at any "
            "step, failing calls and allocations, damaged files, options that must "
            "not matter, and threads. Ends with status 1 at the first wrong answer, "
            "having minimised it to a script. Needs the extra [fuzz]."
        ),
        parameters=(
            click.Option(
                ["--minutes"],
                type=click.FloatRange(min=0, min_open=True),
                default=1,
                show_default=True,
                help="For how long.",
            ),
            click.Option(
                ["--seed"],
                type=click.IntRange(min=0),
                help="What decides the run; default: another one each time.",
            ),
            click.Option(
                ["--what"],
                type=click.Choice([*FUZZ_PARTS, "all"]),
                default="all",
                show_default=True,
                help="Which part.",
            ),
            click.Option(
                ["--keep"],
                type=click.Path(file_okay=False, path_type=Path),
                help="Write the script of a failure here; default: a new directory "
                "for temporary files.",
            ),
            click.Option(
                ["--jobs"],
                type=click.IntRange(min=1, max=256),
                help="How many processes at once; default: one for each processor.",
            ),
            click.Option(
                ["--replay"],
                type=click.Path(exists=True, dir_okay=False, path_type=Path),
                metavar="FILE",
                help="Run a script, of a failure or any other, instead.",
            ),
            click.Option(
                ["--mutant"],
                metavar="NAME",
                default="",
                help="Have the engine make a mistake on purpose, of those in "
                "docs/testing.md, to see what the harness makes of it.",
            ),
            click.Option(
                ["--rewrite"],
                is_flag=True,
                help="With --replay: write what its commands print now into it.",
            ),
        ),
        run=_run_fuzz,
        show=lazily("lsmkv.cli.fuzz", "show"),
    ),
    *moving.COMMANDS,
)

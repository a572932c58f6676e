# SPDX-License-Identifier: Apache-2.0
"""Moving data: the commands that write a database into a file, and read it back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lsmkv.cli.command import Command, Place, Progress, Result, Stream, lazily

if TYPE_CHECKING:
    from rich.console import Console

_BATCH_BYTES = 4 << 20


def _run_export(
    progress: Progress,
    place: Place,
    *,
    output: str | None,
    report: Path | None,
    plot: Path | None,
    **arguments: Any,
) -> Result | Stream:
    """Export rows, or draw what the database is like."""
    if (output is not None) + (report is not None) + (plot is not None) != 1:
        raise click.UsageError("one of OUT, --report and --plot says what to write")
    if output is not None:
        from lsmkv.cli import export

        return export.run(progress, place, output=output, **arguments)
    if any(arguments.values()):
        raise click.UsageError("--report and --plot are of the whole database")
    from lsmkv.cli import report as report_

    return report_.run(progress, place, page=report, plot=plot)


def _show_export(result: Result | Stream, console: Console) -> None:
    from lsmkv.cli import export, report

    if isinstance(result, report.ReportResult):
        report.show(result, console)
    elif isinstance(result, export.ExportResult):
        export.show(result, console)


_FILE = click.Path(dir_okay=False, path_type=Path)

COMMANDS: tuple[Command, ...] = (
    Command(
        name="export",
        help=(
            "Write rows, as they are at this moment, into the file OUT, or - for "
            "standard output, which `import` reads. Or draw what the database is like: "
            "--report, --plot."
        ),
        parameters=(
            click.Argument(
                ["output"],
                metavar="[OUT]",
                required=False,
                type=click.Path(dir_okay=False, allow_dash=True),
            ),
            click.Option(
                ["--format", "file_format"],
                type=click.Choice(["jsonl", "parquet"]),
                help="JSON Lines, or Parquet, which needs the extra [parquet]; "
                "default: as the name of OUT ends.",
            ),
            click.Option(
                ["--all", "everything"],
                is_flag=True,
                help="All namespaces, not only one.",
            ),
            click.Option(["--prefix"], help="Only keys that begin with this."),
            click.Option(["--start"], help="Only keys from this one on."),
            click.Option(["--stop"], help="Only keys before this one."),
            click.Option(
                ["--resume"],
                is_flag=True,
                help="Go on with an export to OUT that was interrupted.",
            ),
            click.Option(
                ["--changed"],
                is_flag=True,
                help="With --resume: also if the database has changed since.",
            ),
            click.Option(["--force"], is_flag=True, help="Replace OUT."),
            click.Option(
                ["--report"],
                type=_FILE,
                metavar="HTML",
                help="Write a page of the state of the database: levels, sizes, times.",
            ),
            click.Option(
                ["--plot"],
                type=_FILE,
                metavar="SVG|PNG",
                help="Draw the same as a picture; needs the extra [plot].",
            ),
        ),
        run=_run_export,
        show=_show_export,
        examples=(
            ("backup.jsonl --all", "everything, as JSON Lines"),
            ("users.jsonl --prefix user/", "the keys that begin with user/"),
            ("--report state.html", "a page of what is inside"),
        ),
        opens="r",
        keyed=True,
    ),
    Command(
        name="import",
        help=(
            "Put the rows of the file IN, or - for standard input, which `export` "
            "wrote: into the namespaces that they come from, which are made if they "
            "are not there. The whole file is checked before the first row is put."
        ),
        parameters=(
            click.Argument(
                ["source"],
                metavar="IN",
                type=click.Path(dir_okay=False, allow_dash=True),
            ),
            click.Option(
                ["--resume"],
                is_flag=True,
                help="Go on with an import of IN that was interrupted.",
            ),
            click.Option(
                ["--start-over"],
                is_flag=True,
                help="Forget about an import that was interrupted.",
            ),
            click.Option(
                ["--batch-bytes"],
                type=click.IntRange(min=1, max=1 << 28),
                default=_BATCH_BYTES,
                show_default=True,
                help="About how much to write at a time, all of it or nothing.",
            ),
        ),
        run=lazily("lsmkv.cli.import_", "run"),
        show=lazily("lsmkv.cli.import_", "show"),
        examples=(
            ("backup.jsonl", "put what was exported"),
            ("backup.jsonl --resume", "go on after an interruption"),
        ),
        opens="rw",
        creates=True,
    ),
)

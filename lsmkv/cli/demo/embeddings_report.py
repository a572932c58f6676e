# SPDX-License-Identifier: Apache-2.0
"""How the result of `lsmkv demo vectors` looks in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.panel import Panel
from rich.table import Table

from lsmkv.cli.demo.report import checks_table, grid, verdict
from lsmkv.cli.render import duration, number, size

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from lsmkv.cli.demo.embeddings import VectorsResult


def show(result: VectorsResult, console: Console) -> None:
    """Write the report."""
    console.print()
    console.print(
        f"[bold]lsmkv {result.version}[/], the docstrings of {result.python} and "
        f"{result.model}"
    )
    for title, content in (
        ("what it did", _work(result)),
        ("batches of vectors", _gatherings(result)),
        ("checks", checks_table(result.checks)),
    ):
        console.print(Panel(content, title=title, title_align="left"))
    if result.kept:
        console.print(f"The database stays in {result.directory}", soft_wrap=True)
    console.print(verdict(result.checks))


def _work(result: VectorsResult) -> RenderableType:
    table = grid()
    table.add_row(
        "texts",
        f"{number(result.text_count)} different ones in "
        f"{number(result.docstring_count)} docstrings",
    )
    table.add_row("model", f"loaded in {duration(result.model_load_seconds)}")
    for title, done in (("first run", result.first), ("second run", result.second)):
        if done is not None:
            table.add_row(
                title,
                f"{duration(done.seconds)}, {done.hit_ratio:.1%} found, "
                f"{number(done.computed)} computed in {duration(done.model_seconds)}",
            )
    table.add_row("opened", f"in {duration(result.open_seconds)}, in between")
    table.add_row(
        "on disk",
        f"{size(result.disk_bytes)} for "
        f"{size(result.text_count * result.dim * 4)} of vectors",
    )
    table.add_row("nearest to", result.question)
    for answer in result.answers:
        table.add_row("", answer)
    return table


def _gatherings(result: VectorsResult) -> RenderableType:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    titles = ("vectors", "batches", "p50", "p99", "vectors/s", "numpy.take p50", "p99")
    for title in titles:
        table.add_column(title, justify="right")
    for each in result.gatherings:
        stored, memory = each.stored, each.memory
        table.add_row(
            number(each.rows),
            number(stored.count),
            duration(stored.p50),
            duration(stored.p99),
            number(each.rows / stored.p50 if stored.p50 else 0),
            duration(memory.p50),
            duration(memory.p99),
        )
    return table

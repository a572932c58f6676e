# SPDX-License-Identifier: Apache-2.0
"""How the demo's result looks in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from lsmkv.cli.render import duration, levels, number, size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, RenderableType

    from lsmkv.cli.demo.crash import Kill
    from lsmkv.cli.demo.run import Check, DemoResult, Latency


def show(result: DemoResult, console: Console) -> None:
    """Write the report."""
    console.print()
    console.print(
        f"[bold]lsmkv {result.version}[/] and the standard library of {result.python}"
    )
    for title, content in (
        ("what it did", _work(result)),
        ("single reads", _latencies(result)),
        ("the tree", levels(result.levels)),
        ("sessions with a time to live", _expiry(result)),
        ("processes killed while writing", kills_table(result.kills)),
        ("checks", checks_table(result.checks)),
    ):
        console.print(Panel(content, title=title, title_align="left"))
    if result.kept:
        console.print(f"The database stays in {result.directory}", soft_wrap=True)
    console.print(f"{verdict(result.checks)} ({duration(result.seconds['all'])})")


def verdict(checks: Sequence[Check]) -> str:
    """Say, in markup, whether all checks held."""
    failed = sum(not check.ok for check in checks)
    if failed:
        return f"[bold red]FAILED[/]: {failed} checks did not hold"
    return "[bold green]All checks held[/]"


def _rate(count: float, seconds: float) -> float:
    return count / seconds if seconds > 0 else 0.0


def grid() -> Table:
    """Return a table of titles and facts."""
    return Table(box=None, show_header=False, padding=(0, 2, 0, 0))


def _work(result: DemoResult) -> RenderableType:
    seconds = result.seconds
    count, total = result.record_count, result.record_bytes
    parsed = result.file_count - len(result.skipped)
    table = grid()
    table.add_row(
        "parsed",
        f"{number(parsed)} files in {duration(seconds['parse'])}{_skipped(result)}",
    )
    table.add_row(
        "records",
        f"{number(count)}, {size(total)}; the largest value "
        f"{size(result.value_bytes_max)}",
    )
    table.add_row(
        "large values",
        f"{number(result.large_count)} of {size(result.threshold)} and more: "
        f"{size(result.large_bytes)}, written once to files of their own "
        f"({size(result.segment_bytes)})",
    )
    fill, settle = seconds["fill"], seconds["settle"]
    table.add_row(
        "written",
        f"{number(_rate(count, fill))} records/s, {size(_rate(total, fill))}/s; "
        f"settled {duration(settle)} later",
    )
    table.add_row(
        "on disk",
        f"{size(result.disk_bytes)} with zstd, {result.disk_bytes / total:.0%} of "
        f"that; write amplification {result.write_amplification:.2f}",
    )
    table.add_row("opened", f"in {duration(seconds['open'])}")
    for title, name in (("get_many", "get_many"), ("in order", "scan")):
        rate = _rate(count, seconds[name])
        volume = size(_rate(total, seconds[name]))
        table.add_row(title, f"{number(rate)} records/s, {volume}/s")
    table.add_row(
        "one module",
        f"{result.module}*: {number(result.module_rows)} records in "
        f"{duration(seconds['prefix'])}",
    )
    if result.found_before:
        table.add_row(
            "before that", f"{number(result.found_before)} records of an earlier run"
        )
    return table


def _skipped(result: DemoResult) -> str:
    if not result.skipped:
        return ""
    return f"; {len(result.skipped)} hold no Python of this version"


def _latencies(result: DemoResult) -> RenderableType:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("", "reads", "p50", "p99", "longest"):
        table.add_column(title, justify="left" if title == "" else "right")
    rows: tuple[tuple[str, Latency | None], ...] = (
        ("cold: from disk, just opened", result.cold),
        ("hot: the same keys again", result.hot),
    )
    for title, latency in rows:
        if latency is not None:
            times = (latency.p50, latency.p99, latency.highest)
            table.add_row(title, number(latency.count), *map(duration, times))
    return table


def _expiry(result: DemoResult) -> RenderableType:
    found = result.expiry
    if found is None:
        return Text("none")
    table = grid()
    table.add_row(
        "expired", f"{found.expired} of {found.count}, in {duration(found.seconds)}"
    )
    table.add_row("stayed", f"{found.kept}, touched in time or put for good")
    table.add_row("too early, too late", f"{found.early}, {found.late}")
    return table


def kills_table(kills: Sequence[Kill]) -> Table:
    """Draw what killing did."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("killed after", "acknowledged", "found", "replayed", ""):
        table.add_column(title, justify="right")
    for kill in kills:
        table.add_row(
            duration(kill.seconds),
            number(kill.acknowledged),
            number(kill.found),
            number(kill.recovered),
            _mark(kill.ok),
        )
    return table


def checks_table(checks: Sequence[Check]) -> Table:
    """Draw what was checked."""
    table = grid()
    for check in checks:
        table.add_row(_mark(check.ok), Text(check.name), Text(check.detail))
    return table


def _mark(ok: bool) -> Text:
    return Text("ok", "green") if ok else Text("WRONG", "bold red")

# SPDX-License-Identifier: Apache-2.0
"""Draws the table of a run, or of two of them: before and after.

    python bench/compare.py build/bench.json
    python bench/compare.py before.json after.json

A cell is the median of the repetitions; behind it stands their spread, half of the
range between the lowest and the highest, in percent of the median.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lsmkv.cli.bench.workloads import ROWS, Row

Report = dict[str, Any]
Samples = dict[tuple[str, str], list[float]]

US = "lsmkv"
OWN = "its own"  # the figure itself, whatever the others reach


def samples_of(report: Report, name: str = "value") -> Samples:
    """Return the figures of each row and engine."""
    samples: Samples = defaultdict(list)
    for figures in report["figures"]:
        if name in figures:
            samples[figures["row"], figures["engine"]].append(figures[name])
    return samples


def short(value: float) -> str:
    """Write a figure with three digits."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g}"


def cell(values: Sequence[float]) -> str:
    """Write median and spread."""
    if not values:
        return "-"
    median = statistics.median(values)
    spread = (max(values) - min(values)) / 2 / median * 100 if median else 0.0
    return f"{short(median)} ±{spread:.0f}%"


def medians(samples: Samples, row: str) -> dict[str, float]:
    """Return the median of each engine that has the row."""
    return {
        engine: statistics.median(values)
        for (name, engine), values in samples.items()
        if name == row
    }


def ratio(row: Row, found: dict[str, float], against: str) -> float | None:
    """Return how many times one engine, or the best of the peers, lsmkv reaches."""
    if against == OWN:
        return found.get(US)
    peers = {engine: value for engine, value in found.items() if engine != US}
    if US not in found or not peers:
        return None
    if against == "best":
        return found[US] / (max if row.higher else min)(peers.values())
    return found[US] / peers[against] if against in peers else None


def verdict(row: Row, found: dict[str, float]) -> Text:
    """Say what the bar is and whether it is reached."""
    text = Text()
    for against, bar in row.bars.items():
        reached = ratio(row, found, against)
        sign = ">=" if row.higher else "<="
        style = "dim"
        if reached is not None:
            ok = reached >= bar if row.higher else reached <= bar
            style = "green" if ok else "red"
        text.append(f"{sign} {bar:g} {against}  ", style)
    return text


def table_of(report: Report) -> Table:
    """Draw one run."""
    samples = samples_of(report)
    engines = list(report["versions"])
    table = Table(header_style="bold")
    table.add_column("work")
    table.add_column("unit", style="dim")
    for engine in engines:
        version = report["versions"][engine]
        table.add_column(f"{engine}\n{version}", justify="right")
    table.add_column("times\nbest", justify="right")
    table.add_column("bar", min_width=28)
    for name, row in ROWS.items():
        found = medians(samples, name)
        if found:
            best = ratio(row, found, "best")
            table.add_row(
                row.title,
                row.unit,
                *(cell(samples.get((name, engine), [])) for engine in engines),
                "" if best is None else f"{best:.2f}",
                verdict(row, found),
            )
    return table


def latencies_of(report: Report) -> Table:
    """Draw the latencies of one run."""
    names = {"p50_us": "p50", "p99_us": "p99", "p999_us": "p99.9"}
    by_name = {name: samples_of(report, name) for name in names}
    engines = list(report["versions"])
    table = Table("latency, µs", "", *engines, header_style="bold")
    for row in ROWS:
        for name, title in names.items():
            found = medians(by_name[name], row)
            if found:
                cells = (
                    f"{found[engine]:.3g}" if engine in found else "-"
                    for engine in engines
                )
                first = ROWS[row].title if title == "p50" else ""
                table.add_row(first, title, *cells, end_section=title == "p99.9")
    return table


def change(before: Report, after: Report) -> Table:
    """Draw what became of lsmkv, and of the peers as a measure of the machine."""
    old, new = samples_of(before), samples_of(after)
    engines = [name for name in after["versions"] if name in before["versions"]]
    table = Table("work", "before", "after", header_style="bold")
    for engine in engines:
        table.add_column(f"{engine}\nafter / before", justify="right")
    for name, row in ROWS.items():
        if (name, US) in old and (name, US) in new:
            earlier, later = medians(old, name), medians(new, name)
            table.add_row(
                row.title,
                cell(old[name, US]),
                cell(new[name, US]),
                *(
                    f"{later[engine] / earlier[engine]:.2f}"
                    if engine in later and engine in earlier
                    else "-"
                    for engine in engines
                ),
            )
    return table


def describe(report: Report) -> str:
    """Say where and when it was measured."""
    machine, scale = report["machine"], report["scale"]
    commit = report["commit"][:12] + (" and changes" if report["dirty"] else "")
    repetitions = 1 + max(figures["repetition"] for figures in report["figures"])
    return (
        f"{machine['cpu']}, {machine['cores']} cores, "
        f"{machine['memory_bytes'] / 1e9:.0f} GB, {machine['file_system']}, "
        f"{machine['system']}, Python {machine['python']}\n"
        f"{scale['keys']:,} rows, {repetitions} repetitions, commit {commit}, "
        f"{report['started']}\n{report['command']}"
    )


def show(reports: Sequence[Report]) -> None:
    """Print the tables."""
    console = Console(width=None if Console().is_terminal else 160, highlight=False)
    for report in reports:
        console.print(describe(report), style="dim")
        console.print(table_of(report))
    latencies = latencies_of(reports[-1])
    if latencies.row_count:
        console.print(latencies)
    if len(reports) == 2:
        console.print(change(*reports))


def main() -> None:
    """Read the files that are named, and show them."""
    parser = argparse.ArgumentParser(description="Draw the table of a run, or two.")
    parser.add_argument("files", nargs="+", type=Path)
    files = parser.parse_args().files
    if len(files) > 2:
        parser.error("one file, or two: before and after")
    show([json.loads(file.read_text()) for file in files])


if __name__ == "__main__":
    main()

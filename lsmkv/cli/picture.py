# SPDX-License-Identifier: Apache-2.0
"""`lsmkv export DIR --plot`: what a database is like, as a picture.

Needs the extra [plot].
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lsmkv.cli import render
from lsmkv.cli.command import CommandError

if TYPE_CHECKING:
    from lsmkv.cli.facts import Facts

_KINDS = (".svg", ".png")
_COLOUR = "#0f766e"


def _need(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise CommandError(f"{error}: pip install 'lsmkv[plot]'") from error


def check(output: Path) -> None:
    """Refuse what cannot be drawn before anything is looked at."""
    if output.suffix not in _KINDS:
        raise click.UsageError(f"--plot {output}: it must end in .svg or .png")
    _need("matplotlib")


def draw(facts: Facts, output: Path) -> None:
    """Draw levels and histograms."""
    figure_ = _need("matplotlib.figure")
    levels = [
        (f"level {depth}", float(level.byte_count))
        for depth, level in enumerate(facts.stats.levels)
        if level.table_count
    ]
    about = "" if facts.exact else "about "
    with _need("matplotlib").rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": "lsmkv"}
    ):
        figure = figure_.Figure(figsize=(11, 7.5), layout="constrained")
        axes = figure.subplots(2, 2)
        figure.suptitle(
            f"{about}{render.number(facts.rows)} rows, "
            f"{render.size(facts.file_bytes)} on disk"
        )
        _bars(axes[0][0], "bytes by level", levels, render.size)
        _bars(axes[0][1], "rows by time left", list(facts.times.items()), render.number)
        _bars(axes[1][0], "sizes of keys", facts.keys.labels(), render.number)
        _bars(axes[1][1], "sizes of values", facts.values.labels(), render.number)
        figure.savefig(
            output, metadata={"Date": None} if output.suffix == ".svg" else None
        )


def _bars(axis: Any, title: str, rows: Sequence[tuple[str, float]], say: Any) -> None:
    """Draw rows from top to bottom, each with its figure."""
    axis.set_title(title, loc="left")
    drawn = axis.barh(range(len(rows)), [count for _, count in rows], color=_COLOUR)
    axis.bar_label(drawn, [say(count) for _, count in rows], padding=4)
    axis.set_yticks(range(len(rows)), [label for label, _ in rows])
    axis.invert_yaxis()
    axis.set_xticks([])
    axis.margins(x=0.15)
    for side in ("top", "right", "bottom"):
        axis.spines[side].set_visible(False)

# SPDX-License-Identifier: Apache-2.0
"""`lsmkv export DIR --report`: a page of what a database is like, in one file.

It has no script and fetches nothing: a policy in its head forbids both. Every text of
the database is shown as `lsmkv.cli.text` does, and escaped. Bars are drawn in tables
whose cells say the figures, so that the page reads as well without them.
"""

from __future__ import annotations

import datetime
import html
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from lsmkv.cli import facts as facts_
from lsmkv.cli import render, text
from lsmkv.cli.facts import Facts, Sizes, SpaceFacts
from lsmkv.cli.style import STYLE

if TYPE_CHECKING:
    from rich.console import Console

    from lsmkv.cli.command import Place, Progress

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportResult:
    """What was drawn.

    Attributes:
        ok: True.
        output: The file.
        rows: How many rows the database has; about, unless `exact`.
        sampled: How many were looked at.
        exact: Whether all were.
    """

    ok: bool
    output: str
    rows: int
    sampled: int
    exact: bool


def run(
    progress: Progress, place: Place, *, page: Path | None, plot: Path | None
) -> ReportResult:
    """Look at the database, and draw it as a page or a picture."""
    if plot is not None:
        from lsmkv.cli import picture

        picture.check(plot)
    facts = facts_.gather(progress, place)
    if plot is not None:
        picture.draw(facts, plot)
    if page is not None:
        page.write_text(write(facts), encoding="utf-8")
    return ReportResult(
        ok=True,
        output=str(page or plot),
        rows=facts.rows,
        sampled=facts.sampled,
        exact=facts.exact,
    )


def show(result: ReportResult, console: Console) -> None:
    """Write it for people."""
    if result.exact:
        what = f"all {render.number(result.rows)} rows"
    else:
        what = (
            f"{render.number(result.sampled)} of about {render.number(result.rows)} "
            f"rows"
        )
    console.print(f"{result.output}: {what}", soft_wrap=True, markup=False)


def write(facts: Facts) -> str:
    """Write the page."""
    name = _text(facts.directory)
    body = "\n".join(
        (
            _header(facts),
            _section("levels", "Levels", _LEVELS, _levels(facts)),
            _section("sizes", "Sizes", _sample_note(facts), _sizes(facts)),
            _section("times", "Times to live", _TIMES, _times(facts)),
            _section("spaces", "Namespaces", _SPACES, _spaces(facts)),
            _section("memory", "Memory", _MEMORY, _memory(facts)),
            _section("files", "Files", "", _files(facts)),
            _section("options", "Options", "", _options(facts)),
            _section("counters", "Counters", _COUNTERS, _counters(facts)),
        )
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{name} - lsmkv</title>
<style>{STYLE}</style>
</head>
<body>
<main>
{body}
</main>
<footer>lsmkv {_text(facts.version)}, database {facts.uuid}</footer>
</body>
</html>
"""


_LEVELS = (
    "Writes come in at level 0 and sink; the deeper, the older. The bars are drawn "
    "to scale, by bytes."
)
_TIMES = "When rows expire, counted from the moment of this page."
_SPACES = "Keyspaces of their own; what they take in tables is about."
_MEMORY = (
    "What the opening that looked at the database has taken. Another process that has "
    "it open has memory of its own."
)
_COUNTERS = "What the engine has done since it was opened to look at it."


def _text(value: str) -> str:
    """Escape a text that may hold anything."""
    return html.escape(text.escape(value.encode("utf-8", "surrogateescape")))


def _section(name: str, title: str, note: str, content: str) -> str:
    said = f'<p class="note">{note}</p>\n' if note else ""
    return (
        f'<section aria-labelledby="{name}">\n<h2 id="{name}">{title}</h2>\n'
        f"{said}{content}\n</section>"
    )


def _header(facts: Facts) -> str:
    moment = datetime.datetime.fromtimestamp(facts.time, datetime.UTC)
    about = "" if facts.exact else "about "
    tables = sum(level.table_count for level in facts.stats.levels)
    cards = (
        ("rows", "rows", about + render.number(facts.rows)),
        ("bytes", "on disk", render.size(facts.file_bytes)),
        ("tables", "tables", render.number(tables)),
        ("namespaces", "namespaces", render.number(len(facts.spaces) - 1)),
        ("sequence", "writes so far", render.number(facts.sequence)),
    )
    shown = "\n".join(
        f'<div class="card"><dt>{label}</dt><dd data-fact="{name}">{value}</dd></div>'
        for name, label, value in cards
    )
    return (
        f'<header>\n<p class="kind">lsmkv database</p>\n'
        f"<h1>{_text(facts.directory)}</h1>\n"
        f'<p class="note">as of <time datetime="{moment.isoformat()}">'
        f"{moment:%Y-%m-%d %H:%M:%S} UTC</time></p>\n<dl>\n{shown}\n</dl>\n</header>"
    )


def _bar(share: float, *, centred: bool = False, kind: str = "a") -> str:
    """Draw a share of the width of a cell."""
    width = 100 * min(max(share, 0.0), 1.0)
    start = (100 - width) / 2 if centred else 0
    return (
        f'<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" '
        f'aria-hidden="true"><rect class="track" width="100" height="10"/>'
        f'<rect class="{kind}" x="{start:.3f}" width="{width:.3f}" height="10"/></svg>'
    )


_Cells = Sequence[str]


def _table(caption: str, columns: _Cells, rows: Iterable[_Cells], name: str) -> str:
    """Draw a table: the first cell of each row names it, cells are markup."""
    head = "".join(f'<th scope="col">{column}</th>' for column in columns)
    lines = []
    for first, *others in rows:
        cells = "".join(
            f'<td class="draws">{cell}</td>'
            if cell.startswith("<svg")
            else f"<td>{cell}</td>"
            for cell in others
        )
        lines.append(f'<tr><th scope="row">{first}</th>{cells}</tr>')
    return (
        f'<div class="scrolls"><table data-table="{name}"><caption>{caption}</caption>'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n"
        + "\n".join(lines)
        + "\n</tbody></table></div>"
    )


def _levels(facts: Facts) -> str:
    levels = facts.stats.levels
    used = [depth for depth, level in enumerate(levels) if level.table_count]
    if not used:
        return "<p>There are no tables yet: everything is in the log.</p>"
    largest = max(level.byte_count for level in levels)
    rows = [
        (
            f"level {depth}",
            _bar(levels[depth].byte_count / largest, centred=True),
            render.size(levels[depth].byte_count),
            render.number(levels[depth].table_count),
            render.number(levels[depth].entry_count),
            render.number(levels[depth].tombstone_count),
        )
        for depth in range(used[-1] + 1)
    ]
    columns = ("level", "", "bytes", "tables", "records", "deletions")
    note = (
        f"<p>Tables and large values take "
        f'<strong data-fact="space-amplification">'
        f"{facts.stats.space_amplification:.2f}</strong> times the bytes of what the "
        f"last level holds.</p>"
    )
    return _table("The tree, level by level", columns, rows, "levels") + note


def _histogram(
    caption: str, first: str, counts: Sequence[tuple[str, float]], name: str
) -> str:
    total = sum(count for _, count in counts)
    most = max((count for _, count in counts), default=0.0)
    rows = (
        (
            label,
            _bar(count / most if most else 0.0),
            render.number(count),
            f"{count / total:.1%}" if total else "",
        )
        for label, count in counts
    )
    return _table(caption, (first, "", "rows", "share"), rows, name)


def _sample_note(facts: Facts) -> str:
    if facts.exact:
        return f"Of all {render.number(facts.rows)} rows."
    return (
        f"Of a sample: {render.number(facts.sampled)} of about "
        f"{render.number(facts.rows)} rows were looked at, in "
        f"{facts_.RUNS} runs that lie about evenly among those of each large "
        f"namespace, and the figures scaled up."
    )


def _sizes(facts: Facts) -> str:
    def column(what: str, sizes: Sizes) -> str:
        mean = sizes.total / facts.rows if facts.rows else 0.0
        return (
            f"<div>{_histogram(f'Sizes of {what}', 'size', sizes.labels(), what)}"
            f"<p>{render.size(sizes.total)} in all, {render.size(mean)} on "
            f"average, the largest {render.size(sizes.largest)}.</p></div>"
        )

    if not facts.rows:
        return "<p>There are no rows.</p>"
    return (
        f'<div class="pair">{column("keys", facts.keys)}'
        f"{column('values', facts.values)}</div>"
    )


def _times(facts: Facts) -> str:
    counts = list(facts.times.items())
    if not facts.rows:
        return "<p>There are no rows.</p>"
    return _histogram("Rows by the time they have left", "expires", counts, "times")


def _spaces(facts: Facts) -> str:
    most = max((each.key_bytes + each.value_bytes for each in facts.spaces), default=0)

    def cells(each: SpaceFacts) -> _Cells:
        held = each.key_bytes + each.value_bytes
        name = _text(each.name) if each.space else "<em>the database's own</em>"
        return (
            name,
            _bar(held / most if most else 0.0),
            _kind(each),
            render.number(each.rows),
            render.size(held),
            render.size(each.file_bytes),
        )

    columns = ("namespace", "", "kind", "rows", "keys and values", "in tables")
    rows = map(cells, facts.spaces)
    return _table("What each namespace holds", columns, rows, "namespaces")


def _kind(each: SpaceFacts) -> str:
    """Say what a namespace is."""
    if each.space is None:
        return "rows"
    said = []
    if each.space.vectors is not None:
        schema = each.space.vectors
        said.append(f"vectors {schema.dim} x {schema.dtype}, {schema.metric}")
    options = each.space.options
    if "max_bytes" in options:
        said.append(f"cache of {render.size(options['max_bytes'])}")
    if "default_ttl_ms" in options:
        said.append(f"expire after {options['default_ttl_ms'] / 1000:,.0f} s")
    return _text(", ".join(said) or "rows")


def _memory(facts: Facts) -> str:
    memory = facts.memory
    parts = (
        ("memtables", memory.memtable_bytes),
        ("block cache", memory.block_bytes),
        ("filters", memory.filter_bytes),
        ("indexes", memory.index_bytes),
    )
    rows = [
        (name, _bar(size / memory.budget_bytes, kind="b"), render.size(size))
        for name, size in parts
    ]
    rows.append(("budget", _bar(1.0, kind="b"), render.size(memory.budget_bytes)))
    capacity = render.size(facts.stats.cache_capacity)
    return (
        _table("Of the budget for memory", ("what", "", "bytes"), rows, "memory")
        + f"<p>The block cache may hold {capacity}.</p>"
    )


def _files(facts: Facts) -> str:
    largest = max((size for _, size in facts.files.values()), default=0)
    rows = (
        (
            kind,
            _bar(size / largest if largest else 0.0, kind="b"),
            render.number(count),
            render.size(size),
        )
        for kind, (count, size) in facts.files.items()
    )
    return _table(
        "What lies in the directory", ("kind", "", "files", "bytes"), rows, "files"
    )


def _options(facts: Facts) -> str:
    rows = ((name, _text(str(value))) for name, value in facts.options.items())
    return _folded(
        _table("Options of the database", ("option", "value"), rows, "options")
    )


def _counters(facts: Facts) -> str:
    return _folded(
        _table("Counters", ("counter", "value"), _plain_counters(facts), "counters")
    )


def _plain_counters(facts: Facts) -> Iterator[_Cells]:
    for each in fields(facts.stats):
        value = getattr(facts.stats, each.name)
        if isinstance(value, int | float | str):
            shown = f"{value:,}" if type(value) is int else str(value)
            yield each.name, _text(shown)


def _folded(content: str) -> str:
    return f"<details open><summary>show or hide</summary>{content}</details>"

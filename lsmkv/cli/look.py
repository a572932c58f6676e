# SPDX-License-Identifier: Apache-2.0
"""Commands that look at the state of an open database: its figures, levels, tables."""

from __future__ import annotations

import dataclasses
import inspect
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import click
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

import lsmkv
from lsmkv.cli import render, text, values
from lsmkv.cli.command import Command, Place, Progress

if TYPE_CHECKING:
    from rich.console import Console

_COLUMNS = ("table", "level", "size", "records", "deleted", "writes")
_TO = " … "  # between the first key and the last
_GAP = 2  # between columns
_KEYS_MIN = 20  # columns of the keys of a table

# What belongs together; bytes and times are known by their names. What is 0 is left
# out, so that a database that was just opened is not a page of zeros.
GROUPS: dict[str, tuple[str, ...]] = {
    "state": ("state", "sequence", "snapshot_count", "zstd"),
    "on disk": (
        "log_bytes",
        "segment_count",
        "segment_bytes",
        "segment_live_bytes",
    ),
    "in memory": (
        "memtable_bytes",
        "memtable_count",
        "cache_bytes",
        "cache_capacity",
        "table_bytes",
        "open_tables",
    ),
    "written": (
        "write_count",
        "write_group_count",
        "user_bytes_written",
        "log_bytes_written",
        "flush_bytes_written",
        "compact_bytes_written",
        "segment_bytes_written",
        "sync_count",
        "stall_count",
        "stall_us",
    ),
    "read": ("cache_misses", "compact_bytes_read"),
    "in the background": (
        "flush_count",
        "compact_count",
        "trivial_move_count",
        "relocated_bytes",
        "warm_bytes",
        "warm_total_bytes",
        "warming",
    ),
    "expired": ("expired_count", "expired_table_count", "clock_jumps"),
    "at this opening": ("recovered_records", "recovered_dropped_bytes"),
}


@dataclass(frozen=True, slots=True)
class Figures:
    """What the engine has counted.

    Attributes:
        ok: True.
        stats: Of `DB.stats`.
        memory: Of `DB.memory`.
    """

    ok: bool
    stats: lsmkv.Stats
    memory: lsmkv.Memory


@dataclass(frozen=True, slots=True)
class Exposition:
    """The same as text for Prometheus.

    Attributes:
        ok: True.
        text: The text.
    """

    ok: bool
    text: str


@dataclass(frozen=True, slots=True)
class Level:
    """A level of the tree.

    Attributes:
        level: Its number.
        tables: How many files it has.
        bytes: Their size.
        records: In them, deletions and overwritten values included.
        tombstones: Deletions of single keys among them.
        range_deletes: Pieces of deletions of ranges.
        large_value_bytes: What they point to in files of large values.
        expired_tables: Those in which everything has expired.
        half_expired_tables: Those in which half of the bytes have, all included.
        expires_at: When all of the level has expired, in seconds since 1970; None:
            some of it never does.
    """

    level: int
    tables: int
    bytes: int
    records: int
    tombstones: int
    range_deletes: int
    large_value_bytes: int
    expired_tables: int
    half_expired_tables: int
    expires_at: float | None


@dataclass(frozen=True, slots=True)
class Tree:
    """The tree of tables.

    Attributes:
        ok: True.
        levels: Those in use.
        log_bytes: Of logs that are still needed.
        segment_count: Files of large values.
        segment_bytes: Their size.
        segment_live_bytes: What tables point to in them.
        write_amplification: Bytes written for each that was given, since the opening;
            0.0: nothing was.
        space_amplification: Bytes on disk for each of the last level.
        read_amplification: Blocks read for each lookup since the opening.
        now: When this was, in seconds since 1970.
    """

    ok: bool
    levels: list[Level]
    log_bytes: int
    segment_count: int
    segment_bytes: int
    segment_live_bytes: int
    write_amplification: float
    space_amplification: float
    read_amplification: float
    now: float


@dataclass(frozen=True, slots=True)
class Tables:
    """The live tables.

    Attributes:
        ok: True.
        tables: In the order in which a lookup asks them.
        now: When this was, in seconds since 1970.
    """

    ok: bool
    tables: list[lsmkv.TableInfo]
    now: float


@dataclass(frozen=True, slots=True)
class Option:
    """An option.

    Attributes:
        name: Its name.
        value: What is in force.
        default: What it is where nobody says otherwise.
        remembered: Whether the database keeps it.
        about: What it is for.
    """

    name: str
    value: int | float | str | bool
    default: str
    remembered: bool
    about: str


@dataclass(frozen=True, slots=True)
class OptionList:
    """All options.

    Attributes:
        ok: True.
        options: In the order of `lsmkv.Options`.
    """

    ok: bool
    options: list[Option]


def stats(
    progress: Progress, place: Place, *, prometheus: bool
) -> Figures | Exposition:
    """Tell what the engine has counted."""
    del progress
    found = place.db.stats()
    if prometheus:
        return Exposition(True, found.prometheus())
    return Figures(True, found, place.db.memory())


def show_stats(result: Figures | Exposition, console: Console) -> None:
    """Write it in groups, without what is 0; or the text as it is."""
    if isinstance(result, Exposition):
        console.file.write(result.text)
        render.flush(console)
        return
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name in ("", "value", "about"):
        table.add_column(name, justify="right" if name == "value" else "left")
    for title, rows in _groups(result.stats):
        table.add_row(Text(title, "bold"))
        for name, value, about in rows:
            table.add_row(Text(f"  {name}"), value, Text(about, "dim"))
    render.whole(console, table)


def _groups(found: lsmkv.Stats) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    fields = {field.name: field for field in dataclasses.fields(found)}
    for title, names in GROUPS.items():
        rows = [
            (
                name.removesuffix("_us"),
                _figure(name, getattr(found, name)),
                _sentence(fields[name].metadata["help"]),
            )
            for name in names
            if getattr(found, name)
        ]
        if title == "on disk":
            total = sum(level.byte_count for level in found.levels)
            count = sum(level.table_count for level in found.levels)
            about = f"Size of the {render.plural(count, 'table')}."
            rows.insert(0, ("tables", render.size(total), about))
        if rows:
            yield title, rows
    lookups = [
        (
            text.show(name.encode()) if name else "(the database's own)",
            render.number(each.hits + each.misses),
            about,
        )
        for name, each in found.namespaces.items()
        if each.hits + each.misses
        for about in [f"{each.hit_ratio:.1%} found, {render.size(each.read_bytes)}."]
    ]
    if lookups:
        yield "lookups", lookups
    took = [
        (
            name,
            render.number(each.count),
            f"half in {render.duration(each.p50)}, 99 of 100 in "
            f"{render.duration(each.p99)}, all in {render.duration(each.max)}.",
        )
        for name, each in found.latencies.items()
        if each.count
    ]
    if took:
        yield "how long it took", took


def _figure(name: str, value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes"
    assert isinstance(value, int)
    if name.endswith("_us"):
        return render.duration(value * 1e-6)
    if "bytes" in name or name == "cache_capacity":
        return render.size(value)
    return render.number(value)


def _sentence(about: str) -> str:
    """Return the first part of what something says of itself."""
    if about.startswith('"'):  # a list of what there is
        return ""
    return about.split(";")[0].split(": ")[0].removesuffix(".") + "."


def levels(progress: Progress, place: Place) -> Tree:
    """Add up the tables of each level."""
    del progress
    found, tables, now = place.db.stats(), place.db.tables(), time.time()
    by_level: dict[int, list[lsmkv.TableInfo]] = {}
    for table in tables:
        by_level.setdefault(table.level, []).append(table)
    return Tree(
        ok=True,
        levels=[_level(level, each, now) for level, each in by_level.items()],
        log_bytes=found.log_bytes,
        segment_count=found.segment_count,
        segment_bytes=found.segment_bytes,
        segment_live_bytes=found.segment_live_bytes,
        write_amplification=found.write_amplification,
        space_amplification=found.space_amplification,
        read_amplification=found.read_amplification,
        now=now,
    )


def _level(level: int, tables: list[lsmkv.TableInfo], now: float) -> Level:
    ends = [table.expire_all_at for table in tables]
    known = [end for end in ends if end is not None]
    halves = [table.expire_half_at for table in tables]
    return Level(
        level=level,
        tables=len(tables),
        bytes=sum(table.byte_count for table in tables),
        records=sum(table.entry_count for table in tables),
        tombstones=sum(table.tombstone_count for table in tables),
        range_deletes=sum(table.range_delete_count for table in tables),
        large_value_bytes=sum(sum(table.segments.values()) for table in tables),
        expired_tables=sum(end <= now for end in known),
        half_expired_tables=sum(half is not None and half <= now for half in halves),
        expires_at=max(known) if len(known) == len(ends) else None,
    )


def show_levels(result: Tree, console: Console) -> None:
    """Draw the levels, and tell what they cost."""
    if not result.levels:
        render.write(console, "no tables yet")
    drawn = [
        lsmkv.LevelStats(table_count=0, byte_count=0, entry_count=0, tombstone_count=0)
    ] * (1 + max((level.level for level in result.levels), default=-1))
    for level in result.levels:
        drawn[level.level] = lsmkv.LevelStats(
            table_count=level.tables,
            byte_count=level.bytes,
            entry_count=level.records,
            tombstone_count=level.tombstones,
        )
    remarks = {each.level: [_remark(each, result.now)] for each in result.levels}
    render.whole(console, render.levels(drawn, remarks))
    for line in _costs(result):
        render.write(console, line)


def _remark(level: Level, now: float) -> str:
    said = []
    if level.tombstones:
        said.append(render.plural(level.tombstones, "deletion"))
    if level.range_deletes:
        said.append(render.plural(level.range_deletes, "range delete"))
    if level.large_value_bytes:
        said.append(f"points to {render.size(level.large_value_bytes)}")
    if level.expired_tables:
        said.append(f"{level.expired_tables} expired")
    if level.half_expired_tables > level.expired_tables:
        said.append(f"{level.half_expired_tables - level.expired_tables} half expired")
    if level.expires_at is not None and level.expires_at > now:
        said.append(f"gone in {render.span(level.expires_at - now)}")
    return ", ".join(said)


def _costs(tree: Tree) -> Iterator[str]:
    if tree.segment_count:
        live = tree.segment_live_bytes / max(tree.segment_bytes, 1)
        yield (
            f"large values: {render.size(tree.segment_bytes)} in "
            f"{render.plural(tree.segment_count, 'file')}, {live:.0%} live"
        )
    yield f"logs still needed: {render.size(tree.log_bytes)}"
    found = [
        ("space", tree.space_amplification),
        ("write", tree.write_amplification),
        ("read", tree.read_amplification),
    ]
    factors = ", ".join(
        f"{name} {factor:.2f}" if factor else f"{name} -" for name, factor in found
    )
    yield f"amplification: {factors} (writes and reads since this opening)"


def tables(progress: Progress, place: Place) -> Tables:
    """List the live tables."""
    del progress
    return Tables(True, place.db.tables(), time.time())


def show_tables(result: Tables, console: Console) -> None:
    """Write a line for each; what is too wide are the keys."""
    if not result.tables:
        render.write(console, "no tables yet")
        return
    width, _ = render.room(console)
    rows = [_figures(table) for table in result.tables]
    remarks = [_table_remark(table, result.now) for table in result.tables]
    taken = [max(map(len, cells)) for cells in zip(_COLUMNS, *rows, strict=True)]
    room = None
    if width is not None:
        rest = sum(taken) + max(map(len, remarks)) + _GAP * (len(taken) + 2)
        room = max(width - rest, _KEYS_MIN)
    drawing = Table(box=None, padding=(0, _GAP, 0, 0))
    for name, least in zip(_COLUMNS, taken, strict=True):
        justify: Literal["left", "right"] = "left" if name == "table" else "right"
        drawing.add_column(name, justify=justify, no_wrap=True, min_width=least)
    drawing.add_column("keys", no_wrap=True)
    drawing.add_column("", no_wrap=True)
    for table, cells, remark in zip(result.tables, rows, remarks, strict=True):
        keys = Text(_keys(table, room))
        drawing.add_row(Text(cells[0], "cyan"), *cells[1:], keys, remark)
    render.whole(console, drawing)


def _figures(table: lsmkv.TableInfo) -> tuple[str, ...]:
    return (
        table.file,
        str(table.level),
        render.size(table.byte_count),
        render.number(table.entry_count),
        render.number(table.tombstone_count),
        f"{table.sequence_min}-{table.sequence_max}",
    )


def _keys(table: lsmkv.TableInfo, room: int | None) -> str:
    """Write from where to where it goes, in so many columns."""
    first, last = _key(table.first), _key(table.last)
    if table.first.namespace_id == table.last.namespace_id:
        last = text.show(table.last.key)
    if table.last_excluded:
        last = f"before {last}"
    if room is not None:
        # Each has half of it, and what the other one does not need.
        half = (room - len(_TO)) // 2
        first = values.cut(first, max(half, room - len(_TO) - cell_len(last)))
        last = values.cut(last, room - len(_TO) - cell_len(first))
    return first + _TO + last


def _key(bound: lsmkv.TableKey) -> str:
    shown = text.show(bound.key)
    if bound.namespace == "":
        return shown
    if bound.namespace_id == 0:
        return f"(engine) {shown}"
    if bound.namespace is None:
        return f"#{bound.namespace_id}: {shown}"
    return f"{text.escape(bound.namespace.encode())}: {shown}"


def _table_remark(table: lsmkv.TableInfo, now: float) -> str:
    said = []
    if table.range_delete_count:
        said.append(render.plural(table.range_delete_count, "range delete"))
    pointed = sum(table.segments.values())
    if pointed:
        files = render.plural(len(table.segments), "file")
        said.append(f"{render.size(pointed)} in {files}")
    if table.expire_all_at is not None and table.expire_all_at <= now:
        said.append("expired")
    elif table.expire_half_at is not None and table.expire_half_at <= now:
        said.append("half expired")
    elif table.expire_all_at is not None:
        said.append(f"gone in {render.span(table.expire_all_at - now)}")
    return ", ".join(said)


def options(progress: Progress, place: Place) -> OptionList:
    """List the options in force."""
    del progress
    found, known = place.db.options, _documentation()
    return OptionList(
        True,
        [
            _option(field.name, getattr(found, field.name), known.get(field.name, ""))
            for field in dataclasses.fields(lsmkv.Options)
        ],
    )


def _documentation() -> dict[str, str]:
    """Return what the documentation of `lsmkv.Options` says of each."""
    # Under -OO there is none.
    _, _, attributes = (inspect.getdoc(lsmkv.Options) or "").partition("Attributes:\n")
    found = re.findall(r"^    (\w+): (.*(?:\n     .*)*)", attributes, re.MULTILINE)
    return {name: " ".join(about.split()) for name, about in found}


def _option(name: str, value: Any, about: str) -> Option:
    default = re.search(r"Default:? (.*?)\.?$", about)
    named = re.search(r'"(\w+)" \(the default\)', about)
    return Option(
        name=name,
        value=value,
        default=(default or named or ["", ""])[1].strip('"'),
        remembered="; remembered" in about,
        about=re.split(r"[.;:] |; remembered", about)[0].removesuffix("."),
    )


def show_options(result: OptionList, console: Console) -> None:
    """Write a table of them."""
    drawing = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("option", "value", "default", "about"):
        drawing.add_column(name, no_wrap=name in ("option", "value"))
    for each in result.options:
        drawing.add_row(
            Text(each.name, "cyan"),
            _value(each),
            Text(each.default),
            Text(each.about + (" (remembered)" if each.remembered else "")),
        )
    render.whole(console, drawing)


def _value(option: Option) -> str:
    if isinstance(option.value, bool):
        return "on" if option.value else "off"
    if isinstance(option.value, int) and option.name.endswith("_bytes"):
        mib, rest = divmod(option.value, 1 << 20)
        return str(option.value) if rest or not mib else f"{mib} MiB"
    return str(option.value)


def _command(name: str, run: Any, show: Any, about: str, **more: Any) -> Command:
    return Command(name=name, help=about, run=run, show=show, opens="r", **more)


COMMANDS: Sequence[Command] = (
    _command(
        "stats",
        stats,
        show_stats,
        "Show what the engine has counted, without what is 0; what was done counts "
        "from the opening of the database.",
        parameters=(
            click.Option(
                ["--prometheus"], is_flag=True, help="The text that Prometheus reads."
            ),
        ),
        examples=(("", "in groups"), ("--prometheus", "for a scrape")),
    ),
    _command(
        "levels",
        levels,
        show_levels,
        "Draw the tree: files, size, records, deletions and expiry of each level, and "
        "what it costs in space, writes and reads.",
        examples=(("", "the whole tree"),),
    ),
    _command(
        "tables",
        tables,
        show_tables,
        "List the live tables in the order in which a lookup asks them: level, size, "
        "records, deletions, range of keys, numbers of writes, expiry, large values.",
        examples=(("", "all of them"),),
    ),
    _command(
        "options",
        options,
        show_options,
        "List all options: what is in force, the default, and what they are for.",
        examples=(("", "all of them"),),
    ),
)

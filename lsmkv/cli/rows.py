# SPDX-License-Identifier: Apache-2.0
"""Commands about keys and what they hold: get, put, del, scan, count, ttl, touch."""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import click
from rich.cells import cell_len
from rich.text import Text

import lsmkv
from lsmkv.cli import render, text, values
from lsmkv.cli.command import Command, CommandError, Place, Progress, Stream
from lsmkv.ttl import Default
from lsmkv.vector_reader import VectorSchema

if TYPE_CHECKING:
    from rich.console import Console

    from lsmkv import arrays
    from lsmkv.keyspace import Keyspace
    from lsmkv.ttl import Ttl

_BATCH = 64  # rows of a scan that have their values below each other
_UNITS = {"": 1, "ms": 1e-3, "s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, slots=True)
class Row:
    """A key and its value; None: it has none."""

    key: bytes
    value: values.Value | None


@dataclass(frozen=True, slots=True)
class Key:
    """A key alone."""

    key: bytes


@dataclass(frozen=True, slots=True)
class Rows:
    """What was found under the keys that were asked for.

    Attributes:
        ok: Whether all of them have a value.
        rows: One for each.
    """

    ok: bool
    rows: list[Row]


class RawRows(Rows):
    """The same, to be written as the bytes that they are."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Written:
    """What was written.

    Attributes:
        ok: Whether it was.
        key: The key.
        size: Bytes of the value.
    """

    ok: bool
    key: bytes
    size: int


@dataclass(frozen=True, slots=True)
class Deleted:
    """What was deleted.

    Attributes:
        ok: Whether every key that was named was there.
        count: How many keys had a value; of a range, about.
        exact: Whether that is exact.
        missing: The named ones that had none.
    """

    ok: bool
    count: int
    exact: bool
    missing: list[bytes]


@dataclass(frozen=True, slots=True)
class Count:
    """How many keys there are.

    Attributes:
        ok: True.
        count: The number.
        exact: Whether they were counted one by one.
    """

    ok: bool
    count: int
    exact: bool


@dataclass(frozen=True, slots=True)
class Left:
    """How long a key stays.

    Attributes:
        key: The key.
        found: Whether it has a value.
        seconds: What is left of its time; None: it stays.
    """

    key: bytes
    found: bool
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Times:
    """How long keys stay.

    Attributes:
        ok: Whether all of them have a value.
        keys: One for each.
    """

    ok: bool
    keys: list[Left]


class Time(click.ParamType):  # type: ignore[type-arg]
    """A time to live: 90, 90s, 5m, 2h, 30d, or never."""

    name = "time"

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Ttl:
        """Return seconds; None is never."""
        if isinstance(value, Default):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d*)?)(ms|[smhd]?)|never", str(value))
        if match is None:
            self.fail(
                f"{value!r} is no time: 90, 90s, 5m, 2h, 30d or never", param, ctx
            )
        return float(match[1]) * _UNITS[match[2]] if match[1] else None


def schema_of(space: Keyspace) -> VectorSchema | None:
    """Return what the rows of a namespace are, if they are numbers."""
    if not isinstance(space, lsmkv.Namespace):
        return None
    return VectorSchema._from_engine(space._options())


def bounds_of(prefix: str | None, start: str | None, stop: str | None) -> arrays.Bounds:
    """Return the arguments of a scan for those that were typed."""
    typed = {"prefix": prefix, "start": start, "stop": stop}
    found = {name: text.parse(each) for name, each in typed.items() if each is not None}
    return cast("arrays.Bounds", found)


def get(progress: Progress, place: Place, *, keys: Sequence[str], raw: bool) -> Rows:
    """Look keys up."""
    del progress
    space = place.rows
    names = [text.parse(key) for key in keys]
    schema = None if raw else schema_of(space)
    rows = [
        Row(name, None if found is None else _read(found, schema, raw))
        for name, found in zip(names, space.get_many(names), strict=True)
    ]
    kind = RawRows if raw else Rows
    return kind(all(row.value is not None for row in rows), rows)


def _read(data: bytes, schema: VectorSchema | None, raw: bool) -> values.Value:
    return data if raw else values.read(data, schema)


def show_get(result: Rows, console: Console) -> None:
    """Write a value alone in as many lines as it needs, several as a table."""
    if isinstance(result, RawRows):
        output = sys.stdout.buffer
        for row in result.rows:
            assert isinstance(row.value, bytes | None)
            output.write(row.value or b"")
        output.flush()
    elif len(result.rows) == 1 and result.rows[0].value is not None:
        width, height = render.room(console)
        render.write(console, values.lines(result.rows[0].value, width, height))
    else:
        show_rows((row for row in result.rows if row.value is not None), console)
    _tell_missing(row.key for row in result.rows if row.value is None)


def _tell_missing(keys: Iterator[bytes]) -> None:
    for key in keys:
        click.echo(f"not found: {text.show(key)}", err=True)


def show_rows(rows: Iterator[Row], console: Console) -> None:
    """Write a line for each row; in a pipe with a tab between key and value."""
    width, _ = render.room(console)
    if width is None:
        lines = (f"{text.show(row.key)}\t{_one_line(row, None)}\n" for row in rows)
        console.file.writelines(lines)
    while width is not None and (batch := list(itertools.islice(rows, _BATCH))):
        cells = [text.show(row.key) for row in batch]
        column = min(max(map(cell_len, cells)), width // 2)
        for cell, row in zip(cells, batch, strict=True):
            shown = values.cut(cell, column)
            blank = " " * (column - cell_len(shown) + 2)
            value = _one_line(row, width - column - 2)
            render.write(console, Text.assemble((shown, "cyan"), blank, value))
    render.flush(console)


def _one_line(row: Row, width: int | None) -> str:
    return "" if row.value is None else values.line(row.value, width)


def put(
    progress: Progress,
    place: Place,
    *,
    key: str,
    value: str,
    ttl: Ttl,
    sync: bool,
) -> Written:
    """Store a value."""
    del progress
    space, name = place.rows, text.parse(key)
    data = _take(value, schema_of(space))
    space.put(name, data, ttl=ttl, sync=True if sync else None)
    return Written(True, name, len(data))


def _take(typed: str, schema: VectorSchema | None) -> bytes:
    """Return the value that was typed, or given to the standard input."""
    if typed == "-":
        data = sys.stdin.buffer.read()
    elif schema is not None and typed.startswith("["):
        data = values.type_numbers(typed, schema)
    else:
        data = text.parse(typed)
    if schema is not None and len(data) != schema.row_bytes:
        raise CommandError(
            f"a row here is {schema.row_bytes} bytes ({schema}), this has {len(data)}: "
            "type the numbers, [1, 0.5, ...]"
        )
    return data


def show_put(result: Written, console: Console) -> None:
    """Say that it is done."""
    render.write(
        console, f"stored {text.show(result.key)} ({render.size(result.size)})"
    )


def delete(
    progress: Progress,
    place: Place,
    *,
    keys: Sequence[str],
    prefix: str | None,
    bounds: tuple[str, str] | None,
    yes: bool,
) -> Deleted:
    """Delete keys, or all in a range."""
    del progress
    if sum(map(bool, (keys, prefix is not None, bounds))) != 1:
        raise click.UsageError("give keys, or --prefix, or --range, one of them")
    space = place.rows
    if keys:
        names = list(dict.fromkeys(map(text.parse, keys)))
        missing = [name for name in names if name not in space]
        space.delete_many(names)
        return Deleted(not missing, len(names) - len(missing), True, missing)
    start, stop = _range_of(prefix, bounds)
    count = space.approximate_count(start, stop)
    _confirm(f"about {render.plural(count, 'key')}", yes)
    space.delete_range(start, stop)
    return Deleted(True, count, False, [])


def _range_of(
    prefix: str | None, bounds: tuple[str, str] | None
) -> tuple[bytes | None, bytes | None]:
    if prefix is not None:
        from lsmkv._scan import narrow

        found: tuple[bytes, bytes | None] = narrow(None, None, text.parse(prefix))
        return found
    assert bounds is not None
    start, stop = map(text.parse, bounds)
    return start, stop or None


def _confirm(what: str, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"this deletes {what}: say --yes if that is meant")
    if not click.confirm(f"Delete {what}?", err=True):
        raise CommandError("nothing was deleted")


def show_delete(result: Deleted, console: Console) -> None:
    """Say how many keys are gone."""
    about = "" if result.exact else "about "
    render.write(console, f"deleted {about}{render.plural(result.count, 'key')}")
    _tell_missing(iter(result.missing))


def scan(
    progress: Progress,
    place: Place,
    *,
    prefix: str | None,
    start: str | None,
    stop: str | None,
    reverse: bool,
    limit: int | None,
    keys_only: bool,
) -> Stream:
    """Go through rows in the order of their keys."""
    del progress
    space, bounds = place.rows, bounds_of(prefix, start, stop)
    bounds["reverse"] = reverse
    if keys_only:
        names = space.keys(**bounds)
        return Stream(Key(name) for name in itertools.islice(names, limit))
    schema = schema_of(space)
    found = itertools.islice(space.items(**bounds), limit)
    return Stream(Row(key, values.read(data, schema)) for key, data in found)


def show_scan(result: Stream, console: Console) -> None:
    """Write a line for each row."""
    first = next(result.items, None)
    items = itertools.chain([first] if first is not None else [], result.items)
    if isinstance(first, Key):
        if console.is_terminal:
            for item in items:
                render.write(console, text.show(item.key))
        else:
            console.file.writelines(f"{text.show(item.key)}\n" for item in items)
        render.flush(console)
    else:
        show_rows(items, console)


def count(
    progress: Progress,
    place: Place,
    *,
    prefix: str | None,
    start: str | None,
    stop: str | None,
    approximate: bool,
) -> Count:
    """Count keys."""
    del progress
    space, bounds = place.rows, bounds_of(prefix, start, stop)
    if not approximate:
        return Count(True, sum(1 for _ in space.keys(**bounds)), True)
    first, end = bounds.get("start"), bounds.get("stop")
    if prefix is not None:
        from lsmkv._scan import narrow

        first, end = narrow(first, end, text.parse(prefix))
    return Count(True, space.approximate_count(first, end), False)


def show_count(result: Count, console: Console) -> None:
    """Write the number."""
    about = "" if result.exact else "about "
    render.write(console, f"{about}{render.plural(result.count, 'key')}")


def ttl(progress: Progress, place: Place, *, keys: Sequence[str]) -> Times:
    """Tell how long keys stay."""
    del progress
    return _times(place.rows, [text.parse(key) for key in keys])


def touch(progress: Progress, place: Place, *, keys: Sequence[str], ttl: Ttl) -> Times:
    """Give keys another time."""
    del progress
    space, names = place.rows, [text.parse(key) for key in keys]
    for name in names:
        space.touch(name, ttl)
    return _times(space, names)


def _times(space: Keyspace, names: list[bytes]) -> Times:
    found = [_left(space, name) for name in names]
    return Times(all(each.found for each in found), found)


def _left(space: Keyspace, name: bytes) -> Left:
    try:
        return Left(name, True, space.ttl(name))
    except KeyError:
        return Left(name, False, None)


def show_times(result: Times, console: Console) -> None:
    """Write a line for each key."""
    found = [each for each in result.keys if each.found]
    cells = [text.show(each.key) for each in found]
    column = max(map(cell_len, cells), default=0)
    for cell, each in zip(cells, found, strict=True):
        blank = " " * (column - cell_len(cell) + 2)
        left = "stays" if each.seconds is None else f"{render.span(each.seconds)} left"
        render.write(console, Text.assemble((cell, "cyan"), blank, left))
    _tell_missing(each.key for each in result.keys if not each.found)


_KEYS = click.Argument(["keys"], metavar="KEY...", nargs=-1, required=True)
_TTL = click.Option(
    ["--ttl"],
    type=Time(),
    default=lsmkv.DEFAULT,
    metavar="TIME",
    help="How long it stays: 90, 90s, 5m, 2h, 30d or never; default: as the namespace "
    "has it.",
)
BOUNDS = (
    click.Option(["--prefix"], metavar="KEY", help="Keys that begin with this."),
    click.Option(["--start"], metavar="KEY", help="Keys from this one on."),
    click.Option(["--stop"], metavar="KEY", help="Keys before this one."),
)

COMMANDS: tuple[Command, ...] = (
    Command(
        name="get",
        help=(
            "Show the values of keys. Ends with status 1 if one has none. On a "
            "terminal long values are cut; in a pipe they are whole."
        ),
        parameters=(
            _KEYS,
            click.Option(
                ["--raw"],
                is_flag=True,
                help="Write the bytes of the values as they are, and nothing else.",
            ),
        ),
        run=get,
        show=show_get,
        examples=(
            ("user/1", "the value of a key"),
            ("user/1 user/2", "of several"),
            ("photo --raw", "its bytes as they are"),
        ),
        opens="r",
        keyed=True,
    ),
    Command(
        name="put",
        help="Store a value under a key, instead of any that is there.",
        parameters=(
            click.Argument(["key"], metavar="KEY"),
            click.Argument(["value"], metavar="VALUE|-"),
            _TTL,
            click.Option(
                ["--sync"], is_flag=True, help="Wait until it survives a power loss."
            ),
        ),
        run=put,
        show=show_put,
        examples=(
            ("user/1 Ada", "store a value"),
            ('user/1 "two words" --ttl 5m', "for five minutes"),
            ('apple "[1, 0.5, 0, 0]"', "numbers, in a namespace of vectors"),
            ("photo -", "what comes from the standard input"),
        ),
        opens="rw",
        keyed=True,
    ),
    Command(
        name="del",
        help=(
            "Delete keys, or all in a range. Ends with status 1 if a key that is named "
            "was not there."
        ),
        parameters=(
            click.Argument(["keys"], metavar="KEY...", nargs=-1),
            click.Option(["--prefix"], metavar="KEY", help="All that begin with this."),
            click.Option(
                ["--range", "bounds"],
                nargs=2,
                metavar="START STOP",
                help='All from START on and before STOP; "": to the end.',
            ),
            click.Option(["--yes"], is_flag=True, help="Do not ask about a range."),
        ),
        run=delete,
        show=show_delete,
        examples=(
            ("user/1 user/2", "two keys"),
            ("--prefix user/", "all that begin so, having asked"),
            ("--range a m --yes", "all from a to before m"),
        ),
        opens="rw",
        keyed=True,
    ),
    Command(
        name="scan",
        help=(
            "Show rows in the order of their keys. In a pipe there is a tab between "
            "key and value."
        ),
        parameters=(
            *BOUNDS,
            click.Option(
                ["--reverse"], is_flag=True, help="From the last to the first."
            ),
            click.Option(
                ["--limit"], type=click.IntRange(min=0), help="At most so many."
            ),
            click.Option(["--keys", "keys_only"], is_flag=True, help="Keys alone."),
        ),
        run=scan,
        show=show_scan,
        examples=(
            ("", "everything"),
            ("--prefix user/ --limit 10", "the first ten that begin so"),
            ("--start m --reverse --keys", "keys from the last down to m"),
        ),
        opens="r",
        keyed=True,
    ),
    Command(
        name="count",
        help="Count keys.",
        parameters=(
            *BOUNDS,
            click.Option(
                ["--approximate"],
                is_flag=True,
                help="Estimate it from what the tables say, at once.",
            ),
        ),
        run=count,
        show=show_count,
        examples=(
            ("--prefix user/", "how many begin so"),
            ("--approximate", "about how many there are"),
        ),
        opens="r",
        keyed=True,
    ),
    Command(
        name="ttl",
        help="Show how long keys stay. Ends with status 1 if one has no value.",
        parameters=(_KEYS,),
        run=ttl,
        show=show_times,
        examples=(("user/1", "how long it stays"),),
        opens="r",
        keyed=True,
    ),
    Command(
        name="touch",
        help="Have keys stay for another time. Ends with status 1 if one has no value.",
        parameters=(_KEYS, _TTL),
        run=touch,
        show=show_times,
        examples=(
            ("user/1 --ttl 2h", "two hours from now on"),
            ("user/1 --ttl never", "for good"),
        ),
        opens="rw",
        keyed=True,
    ),
)

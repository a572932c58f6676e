# SPDX-License-Identifier: Apache-2.0
"""Commands about namespaces and the vectors in them."""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

import lsmkv
from lsmkv.cli import nearest, render, text, values
from lsmkv.cli.command import Command, CommandError, Place, Progress
from lsmkv.cli.rows import schema_of

if TYPE_CHECKING:
    from rich.console import Console

    from lsmkv.vector_reader import VectorSchema


@dataclass(frozen=True, slots=True)
class Space:
    """A namespace.

    Attributes:
        name: Its name; "" is the database's own.
        rows: How many keys it has, about.
        bytes: What it takes in tables, and a cache in its files.
        options: Those of its own that were given.
        vectors: What its rows are, if they are numbers.
    """

    name: str
    rows: int
    bytes: int
    options: dict[str, Any]
    vectors: VectorSchema | None


@dataclass(frozen=True, slots=True)
class Spaces:
    """All namespaces, and what was published.

    Attributes:
        ok: True.
        namespaces: The database's own first, the others in the order of their names.
        published: Versions by name.
    """

    ok: bool
    namespaces: list[Space]
    published: list[lsmkv.Version]


@dataclass(frozen=True, slots=True)
class Vector:
    """A row of numbers.

    Attributes:
        ok: Whether the key has one.
        key: The key.
        row: The numbers; None: it has none.
        norm: Its length.
        whole: Whether all numbers are to be shown.
    """

    ok: bool
    key: bytes
    row: values.Value | None
    norm: float | None
    whole: bool


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The rows that are nearest to one.

    Attributes:
        ok: True.
        key: Whose neighbours they are.
        metric: By which they are near.
        searched: How many rows were compared.
        nearest: The nearest first.
        ids: Whether keys are shown as numbers.
    """

    ok: bool
    key: bytes
    metric: str
    searched: int
    nearest: list[nearest.Neighbour]
    ids: bool


def namespaces(progress: Progress, place: Place) -> Spaces:
    """List the namespaces."""
    del progress
    db = place.db
    sizes = db.stats().namespaces
    found = [_space(db, "", {}, sizes[""].bytes)]
    for name, options in db.namespaces().items():
        given = {
            field: value
            for field, value in dataclasses.asdict(options).items()
            if value is not None
        }
        # One that was made or dropped in between has no size, or no rows.
        with contextlib.suppress(KeyError, lsmkv.InvalidArgumentError):
            found.append(_space(db, name, given, sizes[name].bytes))
    return Spaces(True, found, db.versions())


def _space(db: lsmkv.DB, name: str, options: dict[str, Any], size: int) -> Space:
    space = db.namespace(name, create=False) if name else db
    if isinstance(space, lsmkv.Namespace) and "max_bytes" in options:
        size += space.cache_stats().file_bytes
    return Space(name, space.approximate_count(), size, options, schema_of(space))


def show_namespaces(result: Spaces, console: Console) -> None:
    """Draw a table of them, and one of what was published."""
    rows = [
        (
            text.show(space.name.encode()) if space.name else "(the database's own)",
            render.number(space.rows),
            render.size(space.bytes),
            _remarks(space),
        )
        for space in result.namespaces
    ]
    render.whole(console, render.listing(("namespace", "rows", "size", ""), rows))
    if result.published:
        render.write(console, "")
        versions = [
            (
                text.show(f"{each.name}/{each.version}".encode()),
                render.number(each.rows),
                render.size(each.nbytes),
                "current" if each.current else "",
            )
            for each in result.published
        ]
        columns = ("published", "rows", "size", "")
        render.whole(console, render.listing(columns, versions))


def _remarks(space: Space) -> str:
    schema, said = space.vectors, []
    if schema is not None:
        said.append(f"{schema.dtype}[{schema.dim}] {schema.metric}")
    for name, value in space.options.items():
        said.append(f"{name}={_option(name, value)}")
    return ", ".join(said)


def _option(name: str, value: Any) -> str:
    if name in ("default_ttl", "default_stale"):
        return render.span(value)
    return render.size(value) if name.endswith("_bytes") else str(value)


def vectors(
    progress: Progress,
    place: Place,
    *,
    key: str,
    by_id: bool,
    whole: bool,
    nearest_count: int | None,
) -> Vector | Neighbours:
    """Show a row, or its neighbours."""
    schema = schema_of(place.rows)
    if schema is None:
        raise CommandError(_no_vectors(place))
    name = _key_of(key, by_id)
    data = place.rows.get(name)
    if data is None:
        return Vector(False, name, None, None, whole)
    row = values.read(data, schema)
    if not isinstance(row, values.Array):
        raise CommandError(
            f"the value of {text.show(name)} has {len(data)} bytes, a row here has "
            f"{schema.row_bytes}"
        )
    if nearest_count is None:
        return Vector(True, name, row, row.norm, whole)
    rows = place.db.vectors(place.namespace, create=False)
    total = rows.approximate_count()
    with progress.step("searching", total, stays=False) as advance:
        search = nearest.Search(schema, name, data, nearest_count)
        for chunk_keys, chunk in rows.items(chunk=search.chunk_rows):
            search.add(chunk_keys, chunk)
            advance(len(chunk_keys))
    return Neighbours(True, name, schema.metric, search.searched, search.found(), by_id)


def _no_vectors(place: Place) -> str:
    there = [
        name
        for name in place.db.namespaces()
        if schema_of(place.db.namespace(name, create=False)) is not None
    ]
    if not there:
        return f"there are no vectors in {place.db.path}: try lsmkv namespaces"
    names = ", ".join(text.show(name.encode()) for name in there)
    return (
        f"the vectors in {place.db.path} are {names}: say which with --namespace, or "
        "`use` in the shell"
    )


def _key_of(typed: str, by_id: bool) -> bytes:
    if not by_id:
        return text.parse(typed)
    if not typed.isdecimal() or int(typed) >= 2**64:
        raise click.UsageError(f"{typed!r} is no number from 0 to 2**64 - 1")
    return int(typed).to_bytes(8, "big")


def show_vectors(result: Vector | Neighbours, console: Console) -> None:
    """Write the row, or a table of neighbours."""
    if isinstance(result, Neighbours):
        rows = [
            (_named(each.key, result.ids), values.number(each.value), "")
            for each in result.nearest
        ]
        columns = ("key", nearest.TITLES[result.metric], "")
        render.whole(console, render.listing(columns, rows))
        return
    if not isinstance(result.row, values.Array):
        click.echo(f"not found: {text.show(result.key)}", err=True)
        return
    width, _ = render.room(console)
    render.write(console, values.line(result.row, width))
    if result.whole:
        render.write(console, values.all_numbers(result.row, width or 80))


def _named(key: bytes, ids: bool) -> str:
    return str(int.from_bytes(key, "big")) if ids and len(key) == 8 else text.show(key)


COMMANDS: tuple[Command, ...] = (
    Command(
        name="namespaces",
        help=(
            "List the namespaces: about how many rows they have, their size, what "
            "rows of vectors are, and options of their own; and what was published."
        ),
        run=namespaces,
        show=show_namespaces,
        examples=(("", "all of them"),),
        opens="r",
    ),
    Command(
        name="vectors",
        help=(
            "Show a row of a namespace of vectors: its type, shape, norm and first "
            "numbers; or the rows that are nearest to it by the metric of the "
            "namespace, having compared all. Ends with status 1 if there is no such "
            "row."
        ),
        parameters=(
            click.Argument(["key"], metavar="KEY"),
            click.Option(
                ["--id", "by_id"], is_flag=True, help="The key is a number: 42."
            ),
            click.Option(["--all", "whole"], is_flag=True, help="Show all numbers."),
            click.Option(
                ["--nearest", "nearest_count"],
                type=click.IntRange(min=1, max=10_000),
                metavar="K",
                help="Show the K nearest rows instead. Needs NumPy.",
            ),
        ),
        run=vectors,
        show=show_vectors,
        examples=(
            ("apple", "type, norm and the first numbers"),
            ("apple --all", "all of its numbers"),
            ("42 --id --nearest 10", "what is nearest to the row 42"),
        ),
        opens="r",
        keyed=True,
    ),
)

# SPDX-License-Identifier: Apache-2.0
"""Exports: the rows of a database, as it was at one moment, in a file."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lsmkv import _namespace
from lsmkv._scan import EntryScan, narrow
from lsmkv.cli import lines, render
from lsmkv.cli.command import CommandError, Stream
from lsmkv.cli.dump import (
    POSITION_SPACE,
    DamageError,
    Format,
    Head,
    Sink,
    Space,
    Summary,
    in_chunks,
    now,
    typed,
)
from lsmkv.cli.status import Status

if TYPE_CHECKING:
    from rich.console import Console

    from lsmkv import _core
    from lsmkv.cli.command import Place, Progress
    from lsmkv.keyspace import Keyspace
    from lsmkv.snapshot import Snapshot

PARTIAL = ".partial"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportResult:
    """What was written.

    Attributes:
        ok: True.
        output: The file.
        format: "jsonl" or "parquet".
        rows: How many rows it has.
        bytes: Its size.
        namespaces: Those that it has rows of; "" is the database's own keyspace.
        uuid: Of the database.
        sequence: The number of the newest write that it shows.
        check: Its running checksum at the end.
        resumed: How many rows an interrupted run had written.
        seconds: How long it took.
    """

    ok: bool
    output: str
    format: Format
    rows: int
    bytes: int
    namespaces: list[str]
    uuid: str
    sequence: int
    check: str
    resumed: int
    seconds: float


def run(
    progress: Progress,
    place: Place,
    *,
    output: str,
    file_format: Format | None,
    everything: bool,
    prefix: str | None,
    start: str | None,
    stop: str | None,
    resume: bool,
    changed: bool,
    force: bool,
) -> ExportResult | Stream:
    """Export what was asked for."""
    began = time.monotonic()
    if everything and place.namespace:
        raise click.UsageError("--all is all namespaces: leave out --namespace")
    chosen = file_format or ("parquet" if output.endswith(".parquet") else "jsonl")
    _check_output(output, chosen, resume=resume, force=force)
    selection = {
        "namespace": None if everything else place.namespace,
        "prefix": prefix,
        "start": start,
        "stop": stop,
    }
    with place.db.snapshot() as snapshot:
        rows = _Rows(place.db, snapshot, (typed(start), typed(stop), typed(prefix)))
        spaces = _spaces(snapshot, place, everything=everything)
        head = Head(
            uuid=place.db._uuid().hex(),
            sequence=snapshot._sequence(),
            time=now(),
            selection=selection,
            spaces=spaces,
        )
        names = [space.name for space in spaces]
        if everything or not place.namespace:
            names.insert(0, "")
        job = _Job(progress, rows, head, names)
        if output == "-":
            job.to_stdout()
            return Stream(iter(()))
        if chosen == "parquet":
            done, resumed = job.to_parquet(Path(output)), 0
        else:
            done, resumed = job.to_file(Path(output), resume=resume, changed=changed)
    return ExportResult(
        ok=True,
        output=output,
        format=chosen,
        rows=done.rows,
        bytes=Path(output).stat().st_size,
        namespaces=names,
        uuid=head.uuid,
        sequence=head.sequence,
        check=done.check,
        resumed=resumed,
        seconds=time.monotonic() - began,
    )


def _check_output(output: str, chosen: Format, *, resume: bool, force: bool) -> None:
    """Refuse what cannot be written to."""
    if output == "-":
        if resume or chosen == "parquet":
            raise click.UsageError("what is written to - is JSON Lines, from the start")
        return
    if chosen == "parquet" and resume:
        raise click.UsageError(
            "a Parquet file has its contents at the end, so an interrupted one is of "
            "no use: export again, or as JSON Lines"
        )
    if Path(output).exists() and not force:
        raise CommandError(f"{output} exists: --force replaces it", Status.USAGE)


def _spaces(snapshot: Snapshot, place: Place, *, everything: bool) -> tuple[Space, ...]:
    """Return the namespaces to export, without the database's own."""
    if not everything and not place.namespace:
        return ()
    found = _namespace.names(place.db, snapshot)
    if not everything:
        name = place.namespace
        if name not in found:
            place.rows  # noqa: B018  # says what there is instead
        return (Space.of_engine(name, found[name]),)
    return tuple(
        Space.of_engine(name, values)
        for name, values in found.items()
        if name != POSITION_SPACE
    )


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of a snapshot that were asked for."""

    db: Keyspace
    snapshot: Snapshot
    bounds: tuple[bytes | None, bytes | None, bytes | None]

    def _space(self, name: str) -> _core.Keyspace:
        if not name:
            return self.db
        return _namespace.Namespace(self.snapshot.db, name, {}, self.snapshot)

    def count(self, name: str) -> int:
        """Tell about how many there are of a keyspace."""
        start, stop, prefix = self.bounds
        if prefix is not None:
            start, stop = narrow(start, stop, prefix)
        return self._space(name).approximate_count(start, stop, snapshot=self.snapshot)

    def scan(self, name: str, after: bytes | None) -> EntryScan:
        """Read those of a keyspace, from behind a key if that is given."""
        start, stop, prefix = self.bounds
        where = (start if after is None else after + b"\0", stop, prefix)
        return EntryScan(self._space(name), where, False, self.snapshot)


@dataclass(frozen=True, slots=True)
class _Job:
    """An export, wherever it goes."""

    progress: Progress
    rows: _Rows
    head: Head
    names: list[str]

    def to_stdout(self) -> None:
        """Write JSON Lines for whoever reads them."""
        file = sys.stdout.buffer
        sink = lines.LinesSink(file)
        sink.begin(self.head)
        self._write(sink)
        file.flush()

    def to_parquet(self, output: Path) -> Summary:
        """Write a Parquet file."""
        from lsmkv.cli import parquet

        partial = _partial(output)
        alone = len(self.names) == 1 and self.head.spaces
        schema = self.head.spaces[0].vectors if alone else None
        with parquet.sink(partial, self.head, schema) as sink:
            done = self._write(sink)
        _put_in_place(partial, output)
        return done

    def to_file(
        self, output: Path, *, resume: bool, changed: bool
    ) -> tuple[Summary, int]:
        """Write JSON Lines, going on with those of an interrupted run if asked to.

        The rows that that one had written are returned as well.
        """
        partial = _partial(output)
        mark, last = None, None
        if resume and partial.exists():
            mark, last = self._find_end(partial, changed=changed)
        with partial.open("wb" if mark is None else "r+b") as file:
            if mark is None:
                sink = lines.LinesSink(file)
                sink.begin(self.head)
            else:
                file.truncate(file.seek(mark.offset))
                sink = lines.LinesSink(file, mark)
                sink.resume(self.head)
            before = 0 if mark is None else mark.rows
            done = self._write(sink, last, before)
        _put_in_place(partial, output)
        return done, before

    def _find_end(
        self, partial: Path, *, changed: bool
    ) -> tuple[lines.Mark | None, tuple[str, bytes] | None]:
        """Return where an interrupted export ends, and its last row.

        None where it has not come as far as the first rows.
        """
        with partial.open("rb") as file:
            try:
                source = lines.LinesSource(file, str(partial))
            except DamageError:
                return None, None
            with self.progress.step("checking what is there") as advance:
                mark, last, sequence = source.last_whole(advance)
        told = source.head
        if told.uuid != self.head.uuid or told.selection != self.head.selection:
            raise CommandError(
                f"{partial} was begun from another database, or for other rows: give "
                f"the same ones, or leave out --resume to start again"
            )
        if sequence != self.head.sequence and not changed:
            raise CommandError(
                f"the database has changed since {partial} was begun (write "
                f"{sequence:,}, now {self.head.sequence:,}), so the rest would show a "
                f"later moment: --changed goes on all the same; leave out --resume to "
                f"start again"
            )
        if told.spaces != self.head.spaces:
            raise CommandError(
                f"the namespaces have changed since {partial} was begun: leave out "
                f"--resume to start again"
            )
        return mark, last

    def _write(
        self, sink: Sink, last: tuple[str, bytes] | None = None, before: int = 0
    ) -> Summary:
        """Write all rows, those behind the last one that is there."""
        space, after = last or (self.names[0] if self.names else "", None)
        total = sum(map(self.rows.count, self.names))
        with self.progress.step("exporting", max(total, before)) as advance:
            advance(before)
            for name in self.names[self.names.index(space) :] if self.names else ():
                with self.rows.scan(name, after) as scan:
                    for rows in in_chunks(scan):
                        sink.add(name, rows)
                        advance(len(rows))
                after = None
        return sink.finish()


def _partial(output: Path) -> Path:
    return output.with_name(output.name + PARTIAL)


def _put_in_place(partial: Path, output: Path) -> None:
    """Give a file that is whole its name, durably."""
    _sync(partial)
    partial.replace(output)
    _sync(output.parent)


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def show(result: ExportResult | Stream, console: Console) -> None:
    """Write it for people."""
    if isinstance(result, Stream):
        return
    rate = result.rows / result.seconds if result.seconds else 0.0
    console.print(
        f"{render.number(result.rows)} rows, {render.size(result.bytes)}, in "
        f"{result.output} ({render.duration(result.seconds)}, "
        f"{render.number(rate)} rows/s)",
        soft_wrap=True,
        markup=False,
    )
    if result.resumed:
        console.print(f"{render.number(result.resumed)} of them were there before")

# SPDX-License-Identifier: Apache-2.0
"""`lsmkv table`, `wal`, `manifest`, `segments`: files decoded, whole or damaged.

No database is opened, so they work where none can be. What the MANIFEST beside a file
knows of it, is used where it can be read: the file's id, its size, whether it is live.
"""

from __future__ import annotations

import dataclasses
import datetime
import shlex
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import lsmkv
from lsmkv.cli import render, text
from lsmkv.cli.command import Command, CommandError, Stream
from lsmkv.cli.status import Status

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from lsmkv.cli.command import Progress
    from lsmkv.inspection import FileType

BRIEF = 48  # bytes of a value that are shown
_TIMES = {"time", "expires_at", "fresh_until", "expire_all_at", "expire_half_at"}
_TIMES |= {"expire_min", "expire_max"}
_ALWAYS = {"number", "sequence", "level", "offset", "segment", "last_sequence"}
_ALWAYS |= {"block_offset"}
_CODECS = {0: "none", 1: "zstd"}
_NUMBERED = ("MANIFEST-*", "*.log", "*.tbl", "*.seg")
_HIDDEN = {"payload_size"}  # as good as the size


@dataclasses.dataclass(frozen=True, slots=True)
class Piece:
    """A part of a file (`lsmkv.Part`), and the file; or the last one, of kind `end`."""

    file: str
    kind: str
    name: str
    offset: int
    size: int
    facts: Mapping[str, Any]


@dataclasses.dataclass(slots=True)
class Known:
    """What a MANIFEST says of the files beside it.

    Attributes:
        manifest: The name of the one in force, "" if nothing tells.
        ids: The ids of files, by number.
        sizes: The sizes of tables and segments, by number.
        tables: The tables that are live, by number.
        sealed: Logs that are segments, by number.
        first_log: Logs with lower numbers are obsolete.
    """

    manifest: str = ""
    ids: dict[int, str] = dataclasses.field(default_factory=dict)
    sizes: dict[int, int] = dataclasses.field(default_factory=dict)
    tables: set[int] = dataclasses.field(default_factory=set)
    sealed: set[int] = dataclasses.field(default_factory=set)
    first_log: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Topic:
    """What one of the commands is about.

    Attributes:
        what: How its files are called.
        types: The types of files that it shows; the first is assumed of a file of which
            nothing tells the type.
        find: Lists its files in a directory, of which something is known.
    """

    what: str
    types: tuple[FileType, ...]
    find: Callable[[Path, Known], list[Path]]


def _number(path: Path) -> int:
    digits = path.stem.removeprefix("MANIFEST-")
    return int(digits) if digits.isascii() and digits.isdecimal() else 0


def _numbered(directory: Path, *patterns: str) -> list[Path]:
    """The files with names of these forms, by number."""
    found = [path for pattern in patterns for path in directory.glob(pattern)]
    return sorted((path for path in found if _number(path)), key=_number)


def _find_logs(directory: Path, known: Known) -> list[Path]:
    del known
    return _numbered(directory, "*.log")


def _find_manifests(directory: Path, known: Known) -> list[Path]:
    """CURRENT, the MANIFEST in force, and others that lie there."""
    current = directory / "CURRENT"
    manifests = _numbered(directory, "MANIFEST-*")
    manifests.sort(key=lambda path: path.name != known.manifest)
    return [*([current] if current.exists() else []), *manifests]


def _find_segments(directory: Path, known: Known) -> list[Path]:
    sealed = [p for p in _numbered(directory, "*.log") if _number(p) in known.sealed]
    found = [*sealed, *_numbered(directory, "*.seg", "*.cache")]
    return sorted(found, key=_number)


def _find_tables(directory: Path, known: Known) -> list[Path]:
    del known
    example = next(iter(_numbered(directory, "*.tbl")), directory / "000001.tbl")
    raise CommandError(
        f"{directory} is a directory: name one of its tables, as in\n"
        f"lsmkv table {shlex.quote(str(example))}\n"
        f"All of them: lsmkv tables {shlex.quote(str(directory))}",
        Status.USAGE,
    )


TABLES = Topic("table", ("table",), _find_tables)
LOGS = Topic("log", ("log",), _find_logs)
MANIFESTS = Topic("MANIFEST", ("manifest", "current"), _find_manifests)
SEGMENTS = Topic("segment", ("values", "cache", "log"), _find_segments)
_COMMANDS = {
    "table": "table",
    "log": "wal",
    "manifest": "manifest",
    "current": "manifest",
    "values": "segments",
    "cache": "segments",
}


def _know(directory: Path) -> Known:
    """Read the MANIFEST in force, or else the newest, as far as it can be read."""
    known = Known()
    manifests = _numbered(directory, "MANIFEST-*")
    try:
        for part in lsmkv.inspect(directory / "CURRENT"):
            if "manifest" in part.facts:
                known.manifest = f"MANIFEST-{int(part.facts['manifest']):06}"
    except (lsmkv.Error, OSError):
        pass
    name = known.manifest or next((p.name for p in reversed(manifests)), "")
    try:
        for part in lsmkv.inspect(directory / name, type="manifest") if name else ():
            _learn(known, part.name, part.facts)
    except (lsmkv.Error, OSError):
        pass
    return known


def _learn(known: Known, name: str, facts: Mapping[str, Any]) -> None:
    number = facts.get("number", 0)
    if "file_id" in facts and name != "manifest":
        known.ids[number] = facts["file_id"]
    if "file_size" in facts:
        known.sizes[number] = facts["file_size"]
    match name:
        case "first live log":
            known.first_log = max(known.first_log, number)
        case "added table":
            known.tables.add(number)
        case "deleted table":
            known.tables.discard(number)
        case "segment" if facts["type"] == "sealed log":
            known.sealed.add(number)


def _state(path: Path, known: Known) -> str:
    """What part a file has in its database, in a word; "" if that is not known."""
    number = _number(path)
    if not known.manifest or not number:
        return ""
    if path.name.startswith("MANIFEST-"):
        return "in force" if path.name == known.manifest else "not in force"
    if path.suffix == ".tbl":
        return "live" if number in known.tables else "not live"
    if path.suffix == ".log" and number < known.first_log:
        return "sealed: a segment" if number in known.sealed else "obsolete"
    return "live" if path.suffix == ".log" or number in known.ids else "not live"


class _Walk:
    """Goes through files; what it has seen makes the last piece."""

    def __init__(self, topic: Topic, entries: bool, limit: int | None) -> None:
        self.topic = topic
        self.entries = entries
        self.limit = limit
        self.files = 0
        self.damaged: list[Piece] = []
        self.stream = Stream(iter(()))

    def begin(self, paths: list[Path], known: Known, *, alone: bool) -> Stream:
        self.stream.items = self._all(paths, known, alone)
        return self.stream

    def _all(self, paths: list[Path], known: Known, alone: bool) -> Iterator[Piece]:
        for path in paths:
            self.files += 1
            try:
                yield from self._limited(self._file(path, known, alone))
            except (lsmkv.Error, OSError) as error:
                if alone:
                    raise
                yield self._damage(path, "file", 0, str(error))
        facts: dict[str, Any] = {
            "files": self.files,
            "damaged_places": len(self.damaged),
            "damaged_bytes": sum(piece.size for piece in self.damaged),
            "damaged_files": len({piece.file for piece in self.damaged}),
        }
        if self.damaged and (known.manifest or _numbered(paths[0].parent, *_NUMBERED)):
            facts["next"] = f"lsmkv doctor {shlex.quote(str(paths[0].parent))}"
        yield Piece("", "end", self.topic.what, 0, 0, facts)

    def _limited(self, pieces: Iterator[Piece]) -> Iterator[Piece]:
        """Leave out what is beyond the limit of a file, but no damage."""
        count = left_out = 0
        for piece in pieces:
            inside = piece.kind not in ("file", "damage")
            count += inside
            if inside and self.limit is not None and count > self.limit:
                left_out += 1
            else:
                yield piece
        if left_out:
            facts = {"count": left_out}
            yield Piece("", "left out", "", 0, 0, facts)

    def _damage(self, path: Path, name: str, offset: int, problem: str) -> Piece:
        piece = Piece(path.name, "damage", name, offset, 0, {"problem": problem})
        return self._note(piece)

    def _note(self, piece: Piece) -> Piece:
        self.damaged.append(piece)
        self.stream.ok = False
        return piece

    def _file(self, path: Path, known: Known, alone: bool) -> Iterator[Piece]:
        number = _number(path)
        expected = known.ids.get(number, "0")
        found = lsmkv.inspect(
            path,
            entries=self.entries,
            type=self.topic.types[0],
            file_id=int(expected, 16),
            sealed=number in known.sealed and number < known.first_log,
        )
        size = 0
        for part in found:
            facts = dict(part.facts)
            if part.kind == "file":
                self._check_type(path, part.name, alone)
                size = part.size
                state = _state(path, known)
                facts |= {"state": state} if state else {}
            piece = Piece(
                path.name, part.kind, part.name, part.offset, part.size, facts
            )
            yield self._note(piece) if part.kind == "damage" else piece
            if part.kind == "file" and number in known.ids:
                yield from self._compare(piece, path, expected)
        if size < known.sizes.get(number, 0) and path.suffix != ".cache":
            problem = f"{known.sizes[number]:,} bytes expected, as the MANIFEST says"
            yield self._damage(path, "end of the file", size, problem)

    def _compare(self, piece: Piece, path: Path, expected: str) -> Iterator[Piece]:
        """Say whether it is another file than the MANIFEST means."""
        found = piece.facts.get("file_id", expected)
        if found != expected:
            problem = f"file id {found}, the MANIFEST says {expected}: another file"
            yield self._damage(path, "header", 0, problem)

    def _check_type(self, path: Path, found: str, alone: bool) -> None:
        if not alone or found in self.topic.types:
            return
        name = shlex.quote(str(path))
        hint = f"lsmkv {_COMMANDS[found]} {name}" if found in _COMMANDS else ""
        raise CommandError(
            f"{path} is of type {found}" + (f": {hint}" if hint else ""), Status.USAGE
        )


def _run(
    topic: Topic,
    progress: Progress,
    path: Path,
    *,
    entries: bool,
    limit: int | None,
) -> Stream:
    """Show one file, or all of a topic in a directory."""
    del progress
    walk = _Walk(topic, entries, limit)
    if not path.is_dir():
        return walk.begin([path], _know(path.parent), alone=True)
    known = _know(path)
    paths = topic.find(path, known)
    if not paths and not known.manifest and not _numbered(path, "*.tbl", "*.log"):
        raise CommandError(f"{path} is not an lsmkv database", Status.UNUSABLE)
    return walk.begin(paths, known, alone=False)


def _moment(milliseconds: int) -> str:
    try:
        moment = datetime.datetime.fromtimestamp(milliseconds / 1000, datetime.UTC)
    except (OverflowError, ValueError, OSError):
        return f"{milliseconds} ms"
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _brief(data: bytes) -> str:
    """A value as it is typed, or its beginning."""
    if len(data) <= BRIEF:
        return text.show(data)
    return f"{text.show(data[:BRIEF])}... ({render.number(len(data))} bytes)"


def _fact(name: str, value: object) -> str:
    if isinstance(value, bytes):
        return _brief(value)
    if isinstance(value, int) and name in _TIMES:
        return _moment(value)
    if isinstance(value, int) and name == "codec":
        return _CODECS.get(value, str(value))
    return str(value)


def _words(facts: Mapping[str, Any]) -> str:
    """All that is known of a piece but what goes without saying."""
    found, namespace = [], 1
    for name, value in facts.items():
        words = name.replace("_", " ")
        if name.endswith("namespace"):
            namespace = value
            if "key" not in facts and name == "namespace":
                found.append(f"namespace {value}")
        elif isinstance(value, bytes) and name != "value":
            where = f" of namespace {namespace}" if namespace != 1 else ""
            found.append(f"{words} {_brief(value)}{where}")
        elif (value or name in _ALWAYS) and name not in _HIDDEN:
            found.append(f"{words} {_fact(name, value)}")
    return "  ".join(found)


def _line(piece: Piece) -> Text:
    """Write a piece as a line."""
    from rich.text import Text

    facts = dict(piece.facts)
    where = f"{piece.offset:>10} {piece.offset:>#9x} {piece.size:>8}  "
    match piece.kind:
        case "file":
            state = facts.pop("state", "")
            line = f"{piece.file}: {piece.name}, {render.number(piece.size)} bytes"
            line += f", {state}" if state else ""
            return Text(f"{line}\n  {_words(facts)}", style="bold")
        case "damage":
            line = f"{where}DAMAGED {piece.name}: {facts['problem']}"
            return Text(line, style="bold red")
        case "rest":
            return Text(f"{where}{piece.name}: {facts['problem']}", style="dim")
        case "entry" | "field":
            return Text(f"{'':31}{piece.name}  {_words(facts)}".rstrip())
        case "left out":
            return Text(f"{'':31}and {render.number(facts['count'])} more")
        case "end":
            return _summary(piece)
        case _:
            return Text(f"{where}{piece.name}  {_words(facts)}".rstrip())


def _summary(piece: Piece) -> Text:
    from rich.text import Text

    facts = piece.facts
    count = facts["files"]
    files = f"{count} {'file' if count == 1 else 'files'}"
    if not facts["damaged_places"]:
        return Text(f"{files}, no damage")
    places = facts["damaged_places"]
    what = f"{places} {'place' if places == 1 else 'places'}"
    size = render.number(facts["damaged_bytes"])
    line = Text(f"{files}: DAMAGED in {what}, {size} bytes", style="bold red")
    if "next" in facts:
        line.append(
            f"\nWhat is lost by that, and what to do: {facts['next']}", "default"
        )
    return line


def _show(stream: Stream, console: Console) -> None:
    """Write the pieces as they come."""
    for piece in stream.items:
        console.print(_line(piece), soft_wrap=True)


def _command(name: str, topic: Topic, what: str, about: str) -> Command:
    return Command(
        name=name,
        help=f"{about} Goes on behind what is damaged, and marks it: then the status "
        "is 1. Nothing is opened, so it works on files of a database that cannot be.",
        parameters=(
            click.Argument(
                ["path"],
                metavar=what,
                type=click.Path(exists=True, path_type=Path),
            ),
            click.Option(["--entries"], is_flag=True, help="Show each version, too."),
            click.Option(
                ["--limit"],
                type=click.IntRange(min=0),
                metavar="N",
                help="Show at most N pieces of a file; damage always.",
            ),
        ),
        run=partial(_run, topic),
        show=_show,
    )


COMMANDS: tuple[Command, ...] = (
    _command("table", TABLES, "FILE", "Decode a table, block by block."),
    _command(
        "wal", LOGS, "FILE|DIR", "Decode a log, or those of a database, batch by batch."
    ),
    _command(
        "manifest",
        MANIFESTS,
        "FILE|DIR",
        "Decode a MANIFEST, or those of a database, edit by edit.",
    ),
    _command(
        "segments",
        SEGMENTS,
        "FILE|DIR",
        "Decode a file that large or cached values lie in, or those of a database.",
    ),
)

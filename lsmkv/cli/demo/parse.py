# SPDX-License-Identifier: Apache-2.0
"""Source files to records, with `ast`.

A file gives up to three texts for itself and for every class and function in it: its
source, its signature and its docstring, in this order. The key of a text is the
qualified name, as Python writes it, and the kind of text:

    json.decoder.JSONDecoder.decode#signature

The value is one line that says what and where it is, and then the text, in UTF-8:

    function json/decoder.py 332 340
    def decode(self, s, _w=WHITESPACE.match)

This module is also the program of the parsing processes. It writes messages to standard
output, each a list of fields: a count, then every field's size and bytes; all numbers
are u32, little-endian.
"""

from __future__ import annotations

import ast
import gc
import os
import struct
import sys
import sysconfig
import tokenize
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

FOREIGN = {"site-packages", "dist-packages", "__pycache__"}

# What reading and parsing raise for files that hold no valid Python: the tests of the
# standard library come with such files.
UNPARSABLE = (SyntaxError, ValueError, LookupError, RecursionError, MemoryError)

RECORD = b"record"  # qualified name, kind of text, value
FILE = b"file"  # index, why it was skipped or nothing; ends the records of the file

# Where statements hold statements, in the order of the source.
PARTS = ("body", "handlers", "cases", "orelse", "finalbody")

_U32 = struct.Struct("<I")

_Node = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
_KINDS: dict[type[ast.AST], str] = {
    ast.Module: "module",
    ast.ClassDef: "class",
    ast.FunctionDef: "function",
    ast.AsyncFunctionDef: "function",
}


class Text(NamedTuple):
    """One text of a definition.

    Attributes:
        name: Qualified name of the definition.
        kind: "source", which every definition has and which comes first, "signature"
            or "docstring".
        value: What is stored, see `frame`.
    """

    name: str
    kind: str
    value: bytes


class Framed(NamedTuple):
    """What a value says: which definition, in which lines of which file, and a text."""

    definition: str
    path: str
    first_line: int
    last_line: int
    text: str


def frame(content: Framed) -> bytes:
    """Return a value."""
    head = f"{content.definition} {content.path} {content.first_line}"
    # Docstrings may hold lone surrogates.
    return f"{head} {content.last_line}\n{content.text}".encode(errors="surrogatepass")


def unframe(value: bytes) -> Framed:
    """Return what a value says; ValueError if it is none of ours."""
    head, newline, text = value.decode(errors="surrogatepass").partition("\n")
    definition, _, rest = head.partition(" ")
    path, *lines = rest.rsplit(" ", 2)
    if not newline or len(lines) != 2:
        raise ValueError(f"not a value of the demo: {value[:60]!r}")
    return Framed(definition, path, int(lines[0]), int(lines[1]), text)


def library() -> Path:
    """Return the directory of the standard library."""
    return Path(sysconfig.get_path("stdlib"))


def source_files(root: Path) -> list[Path]:
    """Return the source files of the standard library, always in the same order."""
    return [
        path
        for path in sorted(root.rglob("*.py"))
        if FOREIGN.isdisjoint(path.relative_to(root).parts)
    ]


def module_name(path: Path, root: Path) -> str:
    """Return the name that a source file is imported under."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and parts[1:] else parts)


def parse_file(path: Path, root: Path) -> Iterator[Text]:
    """Yield the texts of a source file; raises one of UNPARSABLE, or OSError."""
    with tokenize.open(path) as file:
        source = file.read()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = ast.parse(source)
    lines = source.split("\n")  # the lines that ast counts
    where = path.relative_to(root).as_posix()
    waiting: list[tuple[ast.AST, str]] = [(tree, module_name(path, root))]
    while waiting:
        node, name = waiting.pop()
        inner = name
        if isinstance(node, _Node):
            yield from _texts(node, name, where, lines)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                inner = f"{name}.<locals>"
        for part in reversed(PARTS):
            for child in reversed(getattr(node, part, ())):
                is_named = isinstance(child, _Node)
                waiting.append((child, f"{inner}.{child.name}" if is_named else inner))


def _texts(node: _Node, name: str, where: str, lines: list[str]) -> Iterator[Text]:
    first, last = 1, len(lines)
    if not isinstance(node, ast.Module):
        first = min([node.lineno, *(item.lineno for item in node.decorator_list)])
        last = node.end_lineno or node.lineno
    texts = {
        "source": "\n".join(lines[first - 1 : last]),
        "signature": _signature(node),
        "docstring": ast.get_docstring(node, clean=False),
    }
    for kind, text in texts.items():
        if text is not None:
            content = Framed(_KINDS[type(node)], where, first, last, text)
            yield Text(name, kind, frame(content))


def _signature(node: _Node) -> str | None:
    match node:
        case ast.Module():
            return None
        case ast.ClassDef():
            bases = [ast.unparse(base) for base in (*node.bases, *node.keywords)]
            return f"class {node.name}({', '.join(bases)})"
        case _:
            start = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
            end = f" -> {ast.unparse(node.returns)}" if node.returns else ""
            return f"{start} {node.name}({ast.unparse(node.args)}){end}"


def send(stream: IO[bytes], *fields: bytes) -> None:
    """Write a message."""
    stream.write(_U32.pack(len(fields)))
    for field in fields:
        stream.write(_U32.pack(len(field)))
        stream.write(field)


def receive(stream: IO[bytes]) -> Iterator[list[bytes]]:
    """Yield messages until the other end closes the stream."""
    while head := stream.read(_U32.size):
        fields = []
        for _ in range(_U32.unpack(head)[0]):
            [length] = _U32.unpack(stream.read(_U32.size))
            fields.append(stream.read(length))
        yield fields


def _main(share: int, shares: int) -> None:
    """Parse every `shares`-th file of the standard library, from number `share` on."""
    gc.disable()  # syntax trees are large, short-lived and without cycles
    root = library()
    out = sys.stdout.buffer
    for index, path in list(enumerate(source_files(root)))[share::shares]:
        skipped = ""
        try:
            texts = list(parse_file(path, root))
        except (OSError, *UNPARSABLE) as error:
            texts, skipped = [], f"{type(error).__name__}: {error}"
        for text in texts:
            send(out, RECORD, text.name.encode(), text.kind.encode(), text.value)
        send(out, FILE, _U32.pack(index), skipped.encode(errors="replace"))
        out.flush()


if __name__ == "__main__":
    try:
        _main(int(sys.argv[1]), int(sys.argv[2]))
    except (BrokenPipeError, KeyboardInterrupt):  # the demo is gone
        os._exit(1)  # without another attempt to write

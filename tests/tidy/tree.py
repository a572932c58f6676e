# SPDX-License-Identifier: Apache-2.0
"""The project's own files, and C source taken apart far enough to measure it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[2]
SKIPPED = re.compile(
    r"\.git|build|dist|wheelhouse|__pycache__|\..+_cache|\.hypothesis|.+\.egg-info"
    r"|v[0-9]+"  # golden databases
)
BINARY = {".so", ".gz", ".zip", ".png", ".bin", ".ldb", ".log"}

_NOT_CODE = re.compile(
    r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.DOTALL
)
_DIRECTIVE = re.compile(r"^[ \t]*#(?:.*\\\n)*.*$", re.MULTILINE)
_BLOCK_HEAD = re.compile(r"(?:[;{}:]|\belse|\bdo|\b(?!return\b|sizeof\b)\w+ ?\x01)$")


@dataclass(frozen=True, slots=True)
class Function:
    """A C function that is defined here."""

    name: str
    line: int
    line_count: int
    parameter_count: int
    nesting: int
    is_static: bool


@dataclass(frozen=True)
class Source:
    """A text file of the project; the path is relative to its root."""

    path: PurePosixPath
    text: str

    @property
    def is_c(self) -> bool:
        """Say whether this is C, a header included."""
        return self.path.suffix in {".c", ".h"}

    @property
    def is_cython(self) -> bool:
        """Say whether this is Cython."""
        return self.path.suffix in {".pyx", ".pxd"}

    @property
    def is_python(self) -> bool:
        """Say whether this is Python, a stub included."""
        return self.path.suffix in {".py", ".pyi"}

    @property
    def layer(self) -> str | None:
        """Name the folder of csrc/ that this is in."""
        parts = self.path.parts
        return parts[1] if parts[0] == "csrc" and len(parts) > 2 else None

    @cached_property
    def code(self) -> str:
        """C without comments and literals, every character still in its place."""
        return _NOT_CODE.sub(_blank, self.text)

    @cached_property
    def functions(self) -> list[Function]:
        """The C functions defined in this file."""
        return list(_functions(_DIRECTIVE.sub(_blank, self.code)))

    @property
    def includes(self) -> list[tuple[int, str]]:
        """The line and the name of every include in quotes."""
        found = re.finditer(r'^#include "([^"]+)"', self.text, flags=re.MULTILINE)
        return [(self.line_at(match.start()), match[1]) for match in found]

    def line_at(self, offset: int) -> int:
        """Return the number of the line that this offset is in."""
        return self.text.count("\n", 0, offset) + 1


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match[0])


def _closing(code: str, at: int) -> int:
    """Return the offset of the bracket that closes the one at `at`."""
    pairs = {"(": 1, "{": 1, ")": -1, "}": -1}
    depth = 0
    for offset in range(at, len(code)):
        depth += pairs.get(code[offset], 0)
        if depth == 0:
            return offset
    raise ValueError(f"unbalanced brackets from offset {at}")


def _functions(code: str) -> Iterator[Function]:
    at = 0
    while (brace := code.find("{", at)) >= 0:
        start = max(code.rfind(end, 0, brace) for end in ";}{") + 1
        head = code[start:brace]
        end = _closing(code, brace) if head.strip() != "extern" else brace
        name = re.search(r"\b(?:LSM_TEST\(|(?!__attribute__))(\w+) ?[()]", head)
        if name is not None and re.search(r"(\)|\b[A-Z_]+)\s*$", head):
            opening = start + name.end() - 1
            first = start + len(head) - len(head.lstrip())
            yield Function(
                name=name[1],
                line=code.count("\n", 0, first) + 1,
                line_count=code.count("\n", first, end) + 1,
                parameter_count=_count_parameters(
                    code[opening + 1 : _closing(code, opening)]
                ),
                nesting=_nesting(code[brace + 1 : end]),
                is_static=re.search(r"\bstatic\b", head) is not None,
            )
        at = end + 1


def _count_parameters(parameters: str) -> int:
    previous = ""
    while previous != parameters:
        previous, parameters = parameters, re.sub(r"\([^()]*\)", "", parameters)
    named = parameters.split(",")
    return sum(part.strip() not in {"", "void", "..."} for part in named)


def _nesting(body: str) -> int:
    """Count the deepest blocks inside blocks; initialisers are none."""
    kinds: list[bool] = []
    deepest = 0
    for match in re.finditer(r"[{}]", body):
        if match[0] == "}":
            kinds.pop()
            continue
        before = body[: match.start()].rstrip()
        if before.endswith(")"):
            before = _before_brackets(before) + "\x01"
        is_block = before == "" or _BLOCK_HEAD.search(before) is not None
        kinds.append(is_block and all(kinds))
        deepest = max(deepest, sum(kinds))
    return deepest


def _before_brackets(text: str) -> str:
    """Cut the round brackets that `text` ends with."""
    depth = 0
    for offset in range(len(text) - 1, -1, -1):
        depth += {")": 1, "(": -1}.get(text[offset], 0)
        if depth == 0:
            return text[:offset]
    return ""


@cache
def sources() -> tuple[Source, ...]:
    """Read every text file of the project."""
    return tuple(
        Source(PurePosixPath(path.relative_to(ROOT).as_posix()), path.read_text())
        for path in sorted(_walk())
        if path.suffix not in BINARY
    )


def _walk() -> Iterator[Path]:
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [
            name
            for name in folders
            if SKIPPED.fullmatch(name) is None
            and not Path(folder, name, "pyvenv.cfg").exists()
        ]
        yield from (Path(folder, name) for name in names if name != ".git")

# SPDX-License-Identifier: Apache-2.0
"""The rules of form, each a function from one file to what breaks it there.

Rules about the tree as a whole are in test_tidy.py.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

from tidy.tree import Source

Rule = Callable[[Source], Iterator[tuple[int, str]]]

FILE_LINES_MAX = 800
FUNCTION_LINES_MAX = 70
PARAMETERS_MAX = 6
NESTING_MAX = 4
WIDTH_MAX = 88

# Lower folders know nothing of higher ones; those of one rank nothing of each other.
RANKS = {
    "include": -1,
    "base": 0,
    "env": 1,
    "format": 2,
    "wal": 3,
    "table": 3,
    "segment": 3,
    "db": 4,
    "api": 5,
}

ALLOCATION = (
    r"malloc|calloc|realloc|free|reallocarray|aligned_alloc|posix_memalign|memalign"
    r"|strdup|strndup|asprintf|vasprintf"
)
BANNED = (
    r"strcpy|strncpy|strcat|strncat|stpcpy|sprintf|vsprintf|gets|strtok"
    r"|printf|fprintf|vprintf|vfprintf|puts|putchar|perror"
    r"|rand|srand|random|srandom|drand48|time|clock|gmtime|localtime"
    r"|assert|exit|system|alloca|atoi|atol|atoll|setjmp|longjmp"
)
ALLOCATOR = "csrc/base/alloc.c"


def layers(source: Source) -> Iterator[tuple[int, str]]:
    """A file includes its own folder and lower ones."""
    if not source.is_c or source.layer is None:
        return
    for line, name in source.includes:
        folder = PurePosixPath(name).parts[0] if "/" in name else ""
        if source.layer == "include":  # wherever users keep the folder
            if folder:
                yield line, f'"{name}" is not beside this header'
        elif folder not in RANKS:
            yield line, f'"{name}" is not "layer/file.h"'
        elif folder != source.layer and RANKS[folder] >= RANKS[source.layer]:
            yield line, f"{folder}/ is not below {source.layer}/"


def calls(source: Source) -> Iterator[tuple[int, str]]:
    """The engine calls nothing that bypasses its allocator, env, or bounds."""
    if not source.is_c or source.layer is None:
        return
    banned = BANNED if str(source.path) == ALLOCATOR else f"{BANNED}|{ALLOCATION}"
    for match in re.finditer(rf"(?<![\w.>])({banned})\s*\(", source.code):
        yield source.line_at(match.start()), f"{match[1]}() is banned here"
    for match in re.finditer(r"#include <assert\.h>", source.text):
        yield source.line_at(match.start()), "assert.h is banned"


def conditionals(source: Source) -> Iterator[tuple[int, str]]:
    """Only base/ and env/ know which platform or build this is."""
    if not source.is_c or source.layer in {None, "base", "env"}:
        return
    if source.path.name == "lsmkv_base.h":  # for C++ too
        return
    guard = re.search(r"^#ifndef (LSM\w*_H)\n#define \1$", source.text, re.MULTILINE)
    directives = r"^[ \t]*#[ \t]*(if|ifdef|ifndef|elif)\b.*"
    for match in re.finditer(directives, source.text, re.MULTILINE):
        if guard is None or match.start() != guard.start():
            yield source.line_at(match.start()), f"{match[0]}: only in base/ and env/"


def errors(source: Source) -> Iterator[tuple[int, str]]:
    """Only env/ sees errno."""
    if not source.is_c or source.layer in {None, "env"}:
        return
    for match in re.finditer(r"\berrno\b|<errno\.h>", source.code):
        yield source.line_at(match.start()), "errno: only in env/"


def names(source: Source) -> Iterator[tuple[int, str]]:
    """What other files can see is called lsm_ or lsmkv_, and nothing else is."""
    if not source.is_c or source.layer is None:
        return
    for function in source.functions:
        is_prefixed = re.match(r"lsm(kv)?_", function.name) is not None
        is_shared = not function.is_static or source.path.suffix == ".h"
        if is_prefixed != is_shared:
            yield function.line, f"{function.name}: lsm_ is for what is shared"
    for match in re.finditer(r"\btypedef\b[^;{]*\b(\w+_t);|\} (\w+_t);", source.code):
        yield source.line_at(match.start()), f"{match[1] or match[2]}: no _t"


def function_shape(source: Source) -> Iterator[tuple[int, str]]:
    """Functions stay short, shallow and with few parameters."""
    if source.is_c:
        yield from _c_function_shape(source)
    elif source.is_python:
        yield from _python_function_shape(source)
    elif source.is_cython:
        yield from _cython_function_shape(source)


def _c_function_shape(source: Source) -> Iterator[tuple[int, str]]:
    for function in source.functions:
        if function.line_count > FUNCTION_LINES_MAX:
            yield function.line, f"{function.name} has {function.line_count} lines"
        if function.parameter_count > PARAMETERS_MAX:
            count = function.parameter_count
            yield function.line, f"{function.name} has {count} parameters"
        if function.nesting > NESTING_MAX:
            yield function.line, f"{function.name} nests {function.nesting} deep"


def _python_function_shape(source: Source) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(source.text)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        line_count = (node.end_lineno or node.lineno) - node.lineno + 1
        if line_count > FUNCTION_LINES_MAX:
            yield node.lineno, f"{node.name} has {line_count} lines"
        if source.path.parts[0] == "tests":  # fixtures and examples come as parameters
            continue
        positional = len(node.args.posonlyargs) + len(node.args.args)
        if positional > PARAMETERS_MAX:
            yield node.lineno, f"{node.name} has {positional} positional parameters"


def _cython_function_shape(source: Source) -> Iterator[tuple[int, str]]:
    lines = source.text.splitlines()
    head = re.compile(r"(\s*)(?:def|cdef|cpdef)\s(?!class\b)[^=]*?(\w+)\(")
    for start, line in enumerate(lines):
        match = head.match(line)
        if match is None:
            continue
        end = start + 1
        inside = re.compile(match[1] + r"(\s+\S|\)|\s*$)")
        while end < len(lines) and inside.match(lines[end]):
            end += 1
        while not lines[end - 1].strip():
            end -= 1
        if end - start > FUNCTION_LINES_MAX:
            yield start + 1, f"{match[2]} has {end - start} lines"


def cython_memory(source: Source) -> Iterator[tuple[int, str]]:
    """Nothing of which Cython 3.3 makes C that crashes where an allocation fails.

    It gives back an item twice that a list in brackets has no room for, and takes the
    traceback of an exception that is kept, or left by `return`, for one that is there.
    """
    if not source.is_cython:
        return
    for what in (
        r"\[[^\]\n]+ for \w+[^\]\n]* in ",
        r"^\s+except .* as \w+:",
        r"^\s+with contextlib",
    ):
        for match in re.finditer(what, source.text, re.MULTILINE):
            yield source.line_at(match.start()), "crashes without memory"


def file_shape(source: Source) -> Iterator[tuple[int, str]]:
    """Files are short, and fit the width of two side by side."""
    if not (source.is_c or source.is_python or source.is_cython):
        return
    lines = source.text.splitlines()
    if len(lines) > FILE_LINES_MAX:
        yield len(lines), f"{len(lines)} lines, the limit is {FILE_LINES_MAX}"
    for number, line in enumerate(lines, 1):
        if len(line) > WIDTH_MAX:
            yield number, f"{len(line)} columns, the limit is {WIDTH_MAX}"


def comments(source: Source) -> Iterator[tuple[int, str]]:
    """Comments have no rulers, and name an issue where something is left to do."""
    for number, line in enumerate(source.text.splitlines(), 1):
        if re.search(r"\b(TOD[O]|FIXM[E]|XX[X]|HAC[K])\b(?!\(#\d+\))", line):
            yield number, "left to do, and no issue named"
        if source.path.suffix != ".md" and re.search(
            r"(?:/\*|//|#|^ \*)\s?\s?\w*\s?[-=*#~_]{4}", line
        ):
            yield number, "a ruler: a file that needs one is two files"


def heads(source: Source) -> Iterator[tuple[int, str]]:
    """Every source names its licence first, then says what it is."""
    is_script = source.path.parts[0] == ".ci" or source.path.name == "Makefile"
    if not (source.is_c or source.is_python or source.is_cython or is_script):
        return
    top = "\n".join(source.text.splitlines()[:2])
    if "SPDX-License-Identifier: Apache-2.0" not in top:
        yield 1, "no SPDX line at the top"
    elif source.is_c and not re.match(r"/\* SPDX.*\n \*\n \* \w", source.text):
        yield 1, "the SPDX line is not followed by what the file is"


def places(source: Source) -> Iterator[tuple[int, str]]:
    """No file knows where it was written."""
    private = re.compile(r"(?<![\w.])/(wor[k]|far[m]|tm[p])\b|\.\./share[d]|[d]esign/")
    for number, line in enumerate(source.text.splitlines(), 1):
        if private.search(line):
            yield number, "names a place outside the project"


RULES: tuple[Rule, ...] = (
    cython_memory,
    layers,
    calls,
    conditionals,
    errors,
    names,
    function_shape,
    file_shape,
    comments,
    heads,
    places,
)

# SPDX-License-Identifier: Apache-2.0
"""Goal: the tree keeps the form that docs/style.md describes.

Method: every rule of rules.py over every file; every rule once over a line that breaks
it, so that none is blind; then what only the tree as a whole can tell.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import PurePosixPath

import pytest

from harness import build
from tidy import rules
from tidy.tree import ROOT, Source, sources

C_HEAD = "/* SPDX-License-Identifier: Apache-2.0\n *\n * What it is.\n */\n"


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
def test_every_file_keeps(rule: rules.Rule) -> None:
    breaches = [
        f"{source.path}:{line}: {text}"
        for source in sources()
        for line, text in rule(source)
    ]
    assert not breaches, "\n".join(["", *breaches])


def body(lines: int) -> str:
    return "static int f(void) {\n" + "    g();\n" * lines + "}\n"


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        (rules.layers, "csrc/env/x.c", '#include "format/ikey.h"\n'),
        (rules.layers, "csrc/wal/x.c", '#include "table/cache.h"\n'),
        (rules.layers, "csrc/db/x.c", '#include "write.h"\n'),
        (rules.layers, "csrc/include/x.h", '#include "include/write.h"\n'),
        (rules.calls, "csrc/db/x.c", "    p = malloc(1);\n"),
        (rules.calls, "csrc/base/alloc.c", "    strcpy(a, b);\n"),
        (rules.calls, "csrc/db/x.c", "#include <assert.h>\n"),
        (rules.conditionals, "csrc/db/x.c", "#ifdef __linux__\n#endif\n"),
        (rules.errors, "csrc/db/x.c", "    return errno;\n"),
        (rules.names, "csrc/db/x.c", "void flush(void) {\n}\n"),
        (rules.names, "csrc/db/x.c", "static void lsm_flush(void) {\n}\n"),
        (rules.names, "csrc/db/x.h", "typedef uint8_t level_t;\n"),
        (rules.names, "csrc/db/x.h", "typedef struct {\n    int a;\n} level_t;\n"),
        (rules.function_shape, "csrc/db/x.c", body(69)),
        (rules.function_shape, "tests/c/x.c", "int f(int a, b, c, d, e, f, g) {\n}\n"),
        (
            rules.function_shape,
            "csrc/db/x.c",
            "int f(void) { if (a) { for (;;) { do { while (b) { if (c) { }}}}}}",
        ),
        (rules.function_shape, "lsmkv/x.py", "def f():\n" + "    g()\n" * 70),
        (rules.function_shape, "lsmkv/x.py", "def f(a, b, c, d, e, f, g): ...\n"),
        (rules.function_shape, "lsmkv/x.pyx", "cdef int f():\n" + "    g()\n" * 70),
        (rules.cython_memory, "lsmkv/x.pyx", "    a = [f(x) for x in y]\n"),
        (rules.cython_memory, "lsmkv/x.pyx", "    except Error as error:\n"),
        (rules.cython_memory, "lsmkv/x.pyx", "    with contextlib.suppress(E):\n"),
        (rules.file_shape, "csrc/db/x.c", "\n" * 801),
        (rules.file_shape, "lsmkv/x.pyx", "x = 1" + " " * 84 + "\n"),
        (rules.comments, "docs/x.md", "TO" + "DO: more\n"),
        (rules.comments, "csrc/db/x.c", "/* ==" + "== section ==== */\n"),
        (rules.comments, "lsmkv/x.py", "# --" + "--\n"),
        (rules.heads, "csrc/db/x.c", "int a;\n"),
        (rules.heads, "csrc/db/x.c", "/* SPDX-License-Identifier: Apache-2.0 */\n"),
        (rules.places, "docs/x.md", "see ../share" + "d/notes\n"),
        (rules.places, "docs/x.md", "in /wor" + "k/main\n"),
    ],
)
def test_rule_finds_a_breach(rule: rules.Rule, path: str, text: str) -> None:
    assert list(rule(Source(PurePosixPath(path), text)))


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        (rules.layers, "csrc/db/x.c", '#include "db/db.h"\n#include "env/env.h"\n'),
        (rules.layers, "csrc/include/x.h", '#include "write.h"\n'),
        (rules.calls, "csrc/db/x.c", "    env->time(); /* malloc( */ lsm_free(p);\n"),
        (
            rules.conditionals,
            "csrc/db/x.h",
            "#ifndef LSM_X_H\n#define LSM_X_H\n#endif\n",
        ),
        (rules.errors, "csrc/db/x.c", "    err->os_errno = 0;\n"),
        (rules.names, "csrc/db/x.h", "static inline int lsm_a(void) {\n}\n"),
        (rules.function_shape, "csrc/db/x.c", body(68)),
        (
            rules.function_shape,
            "lsmkv/x.pyx",
            "cdef class A(B):\n" + "    def f(self):\n        g()\n" * 40,
        ),
        (
            rules.function_shape,
            "csrc/db/x.c",
            "int f(int (*a)(int, int, int), b, c, d, e, f) {\n"
            "if (a) { for (;;) { do { while (b) { x = (y){{{0}}}; }}}}}",
        ),
        (rules.comments, "csrc/db/x.c", "/* TO" + "DO(#12): more */\n"),
        (rules.heads, "csrc/db/x.c", C_HEAD),
    ],
)
def test_rule_accepts(rule: rules.Rule, path: str, text: str) -> None:
    assert not list(rule(Source(PurePosixPath(path), text)))


def c_files() -> dict[str, Source]:
    return {str(source.path): source for source in sources() if source.is_c}


def test_each_c_file_includes_its_own_header_first() -> None:
    files = c_files()
    first = {path: source.includes[:1] for path, source in files.items()}
    wrong = [
        path
        for path, source in files.items()
        if source.layer is not None
        and path.endswith(".c")
        and f"{path[:-2]}.h" in files
        and [name for _, name in first[path]] != [f"{path[5:-2]}.h"]
    ]
    assert not wrong


def test_names_of_c_files_are_unique() -> None:
    places = defaultdict(list)
    for path in c_files():
        places[PurePosixPath(path).name].append(path)
    assert not [paths for paths in places.values() if len(paths) > 1]


def test_every_header_is_included() -> None:
    included = {
        PurePosixPath(name).name
        for source in c_files().values()
        for _, name in source.includes
    }
    included.add("analyzer.h")  # by the command line of lint
    headers = {path for path in c_files() if path.endswith(".h")}
    assert not {path for path in headers if PurePosixPath(path).name not in included}


def test_every_c_file_is_compiled() -> None:
    folders = ["c", "crash", "fuzz"]
    tests = [path for name in folders for path in build.TESTS.glob(f"{name}/*.c")]
    compiled = {
        path.relative_to(ROOT).as_posix()
        for path in [*build.engine_sources(), *tests, build.FAILING]
    }
    found = {path for path in c_files() if path.endswith(".c")}
    assert found == compiled
    assert "ENGINE := $(sort $(wildcard csrc/*/*.c))" in (ROOT / "Makefile").read_text()


def test_every_python_file_is_run_or_named_by_another() -> None:
    python = [source for source in sources() if source.is_python or source.is_cython]
    collected = re.compile(r"(test_.*|conftest|__init__|__main__|setup)\.py")
    dead = []
    for source in python:
        if collected.fullmatch(source.path.name):
            continue
        word = re.compile(rf"\b{source.path.stem}\b")
        others = (other for other in sources() if other.path != source.path)
        if not any(
            word.search(other.text)
            for other in others
            if other.path.suffix != ".md" and other.path.stem != source.path.stem
        ):
            dead.append(str(source.path))
    assert not dead


def test_make_and_the_test_harness_compile_with_the_same_warnings() -> None:
    makefile = (ROOT / "Makefile").read_text()
    match = re.search(r"^WARNINGS = ((?:.*\\\n)*.*)$", makefile, flags=re.MULTILINE)
    assert match is not None
    assert match[1].replace("\\\n", " ").split() == list(build.WARNINGS)


def test_the_gate_runs_the_commands_that_the_readme_gives() -> None:
    gate = (ROOT / ".ci" / "run").read_text()
    readme = (ROOT / "README.md").read_text()
    commands = re.findall(r'^\w+_COMMAND="(.+)"$', gate, flags=re.MULTILINE)
    assert len(commands) == 2
    assert not [command for command in commands if command not in readme]

# SPDX-License-Identifier: Apache-2.0
"""Goal: the Python side declares exactly the C interface, and maps all of it.

Method: read the names out of the headers and out of the Cython declarations.
"""

import re
from pathlib import Path

import pytest

import lsmkv
from lsmkv import _base, errors

ROOT = Path(__file__).parents[2]
HEADERS = ROOT / "csrc" / "include"
DECLARATIONS = ROOT / "lsmkv" / "_capi.pxd"
PREPROCESSOR = {"LSMKV_API", "LSMKV_LINKAGE", "LSMKV_MUST_CHECK"}


def header_text() -> str:
    """Return all public headers, without comments, guards and includes."""
    text = "".join(path.read_text() for path in sorted(HEADERS.glob("*.h")))
    text = re.sub(r"^#(?:ifndef|define) \w+_H$|^#include.*", "", text, flags=re.M)
    return re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)


def statuses() -> list[tuple[str, int, str]]:
    found = re.findall(r'X\((\w+), (\d+), "([^"]+)"\)', header_text())
    return [(name, int(number), text) for name, number, text in found]


def test_the_declarations_name_what_the_header_names() -> None:
    text = re.sub(r"#define LSMKV_STATUS_\w+", "", header_text())
    names = set(re.findall(r"\b(?:lsmkv|LSMKV)_\w+", text))
    names = {name for name in names if not name.startswith("LSMKV_STATUS_")}
    names |= {f"LSMKV_{name}" for name, _, _ in statuses()}
    names -= PREPROCESSOR | {"LSMKV_"}
    text = re.sub(r"#.*", "", DECLARATIONS.read_text())
    declared = set(re.findall(r"\b(?:lsmkv|LSMKV)_\w+", text))
    assert declared == names


def test_the_declarations_have_every_field_of_every_struct() -> None:
    header = {
        name: {
            re.sub(
                r".*?\(\*(\w+)\).*|.*?(\w+)(?:\[\w+\])?$", r"\1\2", " ".join(f.split())
            )
            for f in body.split(";")
            if f.strip()
        }
        for name, body in re.findall(
            r"typedef struct (\w+) \{(.*?)\} \1;", header_text(), flags=re.DOTALL
        )
    }
    declared = {}
    for name, body in re.findall(
        r"ctypedef struct (\w+):\n(.*?)(?=\n\n|\n    \w)",
        re.sub(r",\n\s+", ", ", DECLARATIONS.read_text()),
        flags=re.DOTALL,
    ):
        lines = [line.strip() for line in body.splitlines()]
        declared[name] = {
            re.sub(r".*?\(\*(\w+)\).*|.*?(\w+)(?:\[\w+\])?$", r"\1\2", line)
            for line in lines
            if line != "pass"
        }
    declared = {name: body for name, body in declared.items() if body}
    assert len(header) > 10
    assert declared == header


def test_every_status_that_is_an_error_has_its_exception() -> None:
    answers = {"OK", "NOT_FOUND", "WOULD_BLOCK"}
    names = {name for name, _, _ in statuses()}
    assert set(errors.BY_STATUS) == names - answers


def test_limits_are_those_of_the_header() -> None:
    assert _base.KEY_SIZE_MAX == 65535
    assert _base.VALUE_SIZE_MAX == 1 << 30
    assert _base.BATCH_SIZE_MAX == (1 << 30) + (1 << 20)


def test_versions_agree() -> None:
    declared = re.search(
        r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), flags=re.MULTILINE
    )
    assert declared is not None
    assert lsmkv.__version__ == _base.version() == declared[1]


@pytest.mark.parametrize("name", lsmkv.__all__)
def test_everything_public_is_documented(name: str) -> None:
    thing = getattr(lsmkv, name)
    assert thing.__doc__
    if isinstance(thing, type):
        for attribute, value in vars(thing).items():
            if not attribute.startswith("_") and callable(value):
                assert value.__doc__, f"{name}.{attribute}"

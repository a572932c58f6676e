# SPDX-License-Identifier: Apache-2.0
"""Goal: what the documents point to is there.

Method: every relative link, its heading included, and every file named in code style,
looked up in the tree; every document reached from the README.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

import pytest

from tidy.tree import ROOT, Source, sources

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FILE = re.compile(
    r"`((?:csrc|lsmkv|tests|docs|bench|base|env|format|wal|table|segment|db|api)/"
    r"[\w./-]*\.(?:c|h|py|pyx|pxd|pyi|md|txt))`"
)


def documents() -> dict[str, Source]:
    return {str(s.path): s for s in sources() if s.path.suffix == ".md"}


def prose(text: str) -> str:
    """Drop the blocks of code."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(text: str) -> set[str]:
    """Return the headings as links name them."""
    headings = re.findall(r"^#+ (.+)$", prose(text), flags=re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.strip().replace(" ", "-") for heading in plain}


def links(source: Source) -> Iterator[tuple[str, str]]:
    """Yield the file and the heading that each relative link names."""
    for target in LINK.findall(prose(source.text)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, heading = target.partition("#")
        place = source.path.parent / name if name else source.path
        parts: list[str] = []
        for part in place.parts:
            if part == ".." and parts:
                parts.pop()
            else:
                parts.append(part)
        yield str(PurePosixPath(*parts)), heading


def broken_links(source: Source) -> list[str]:
    known = documents() | {str(source.path): source}
    broken = []
    for name, heading in links(source):
        if name not in known and not (ROOT / name).exists():
            broken.append(f"{source.path}: {name}")
        elif heading and heading not in anchors(known[name].text):
            broken.append(f"{source.path}: {name}#{heading}")
    return broken


def missing_files(source: Source) -> list[str]:
    named = FILE.findall(source.text)
    return [
        f"{source.path}: {name}"
        for name in named
        if not (ROOT / name).exists() and not (ROOT / "csrc" / name).exists()
    ]


def test_links_lead_somewhere() -> None:
    assert not [
        link for source in documents().values() for link in broken_links(source)
    ]


def test_files_named_in_documents_exist() -> None:
    assert not [
        name for source in documents().values() for name in missing_files(source)
    ]


@pytest.mark.parametrize("target", ["gone.md", "#no-such-heading", "../LICENSE/x"])
def test_a_broken_link_is_found(target: str) -> None:
    text = f"# A heading\n\n[a](#a-heading) and [b]({target})\n"
    assert len(broken_links(Source(PurePosixPath("docs/x.md"), text))) == 1


def test_a_missing_file_is_found() -> None:
    text = "see `db/write.c` and `db/no_such_file.c`\n"
    source = Source(PurePosixPath("docs/x.md"), text)
    assert missing_files(source) == ["docs/x.md: db/no_such_file.c"]


def test_every_document_is_reached_from_the_readme() -> None:
    known = documents()
    reached: set[str] = set()
    waiting = ["README.md"]
    while waiting:
        name = waiting.pop()
        if name in known and name not in reached:
            reached.add(name)
            waiting += [target for target, _ in links(known[name])]
    assert set(known) == reached

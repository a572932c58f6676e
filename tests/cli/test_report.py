# SPDX-License-Identifier: Apache-2.0
"""Goal: the page of a report shows the figures of the database, in a real browser,
whatever its keys and names are; it fetches nothing and runs nothing.

Method: the document that Chromium makes of the page is read as XML-like events and
compared with what the database says; names that would be elements or scripts if they
were not escaped; pictures of the page, wide and narrow, light and dark, are looked at
for whether anything is drawn. Without a Chromium this part is skipped, unless
LSMKV_NEED_CHROMIUM is set.
"""

from __future__ import annotations

import html.parser
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import lsmkv
from cli.moved import call, done, refused
from lsmkv.cli import facts, render
from lsmkv.cli.command import Place

HOSTILE = (
    "</style><script>document.title='owned'</script>",
    "<img src=x onerror=alert(1)>",
    "\"'><b>&amp;",
    "\u202egnp.exe\x00",
)
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "a <i>place & more"
    with lsmkv.open(path, memtable_bytes=1 << 16, table_bytes=1 << 16) as db:
        for number in range(2000):
            db.put(b"key/%06d" % number, os.urandom(number % 300))
        db.compact()
        for number in range(100):
            db.put(b"timed/%d" % number, b"x", ttl=500, stale=10)
            db.put(b"far/%d" % number, b"x" * 5000, ttl=1e9)
        for name in HOSTILE:
            db.namespace(name, ttl=60).put(b"<script>", b"<script>")
        db.namespace("cached", max_bytes=1 << 20).put(b"k", b"v")
        db.vectors("emb", dim=4).put_many([b"a"], np.zeros((1, 4), "f4"))
        db.flush()
    return path


@pytest.fixture(scope="module")
def page(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "state.html"
    said = done("export", database, "--report", path)
    assert said == {
        "ok": True,
        "output": str(path),
        "rows": 2206,
        "sampled": 2206,
        "exact": True,
    }
    return path


class Document(html.parser.HTMLParser):
    """The tables, facts and elements of a document."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.facts: dict[str, str] = {}
        self.tables: dict[str, list[list[str]]] = {}
        self.texts: dict[str, str] = {}
        self._fact = self._tag = ""
        self._rows: list[list[str]] = []
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        found: dict[str, Any] = dict(attrs)
        self._fact = found.get("data-fact", "")
        self._tag = tag
        if tag == "table":
            self._rows = self.tables[found["data-table"]] = []
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("th", "td"):
            self._rows[-1].append("")
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("th", "td"):
            self._open.pop()
        self._fact = self._tag = ""

    def handle_data(self, data: str) -> None:
        if self._fact:
            self.facts[self._fact] = data
        if self._open:
            self._rows[-1][-1] += data
        if self._tag in ("title", "h1"):
            self.texts[self._tag] = data


def check_figures(document: Document, database: Path) -> None:
    """Compare the figures of a page with what the database says itself."""
    with lsmkv.open(database, mode="r") as db:
        stats, spaces = db.stats(), db.namespaces()
        counts = {"": sum(1 for _ in db)}
        sizes = [len(value) for value in db.values()]
        for name in spaces:
            sizes += map(len, db.namespace(name, create=False).values())
            counts[name] = sum(1 for _ in db.namespace(name, create=False))
    assert document.facts["rows"] == render.number(len(sizes))
    assert document.facts["namespaces"] == str(len(spaces)) == "6"
    assert document.facts["sequence"] == render.number(stats.sequence)
    tables = sum(level.table_count for level in stats.levels)
    assert document.facts["tables"] == render.number(tables)
    shown = document.tables["levels"][1:]
    assert len(shown) == 1 + max(i for i, x in enumerate(stats.levels) if x.byte_count)
    for (name, _, size, count, records, deletions), level in zip(
        shown, stats.levels, strict=False
    ):
        assert name.startswith("level ")
        assert size == render.size(level.byte_count)
        assert count == render.number(level.table_count)
        assert records == render.number(level.entry_count)
        assert deletions == render.number(level.tombstone_count)
    values = {row[0]: row[2] for row in document.tables["values"][1:]}
    between = sum(128 <= size < 256 for size in sizes)
    assert values["128 B to 255 B"] == render.number(between)
    assert values["4 KiB to 7 KiB"] == "100"
    assert sum(int(n.replace(",", "")) for n in values.values()) == len(sizes)
    times = {row[0]: row[2] for row in document.tables["times"][1:]}
    assert times["within an hour"] == "100"
    assert times["within a minute"] == str(len(HOSTILE))
    assert times["later"] == "100"
    assert times["never"] == "2,002"
    found = {row[0]: row[3] for row in document.tables["namespaces"][1:]}
    assert found.pop("the database's own") == render.number(counts.pop(""))
    assert sorted(found.values()) == sorted(map(render.number, counts.values()))
    assert set(HOSTILE[:3]) < set(found)


def check_harmless(document: Document) -> None:
    """See that nothing of the database became an element, and nothing is fetched."""
    wanted = {"html", "head", "meta", "title", "style", "body", "main", "footer"}
    wanted |= {"header", "section", "h1", "h2", "p", "dl", "div", "dt", "dd", "time"}
    wanted |= {"table", "caption", "thead", "tbody", "tr", "th", "td", "svg", "rect"}
    wanted |= {"details", "summary", "em", "strong"}
    assert set(document.tags) == wanted
    assert document.tags.count("em") == 1
    names = {name for name, _ in document.attributes}
    assert not names & {"src", "href", "srcset", "action", "data"}
    assert not [name for name in names if name.startswith("on")]


def test_the_page_has_the_figures_of_the_database(page: Path, database: Path) -> None:
    document = Document(page.read_text())
    check_figures(document, database)
    check_harmless(document)
    assert document.texts["h1"] == str(database)
    assert not re.search(r"url\(|@import|https?:", page.read_text())


def test_the_page_can_be_read_aloud(page: Path) -> None:
    text = page.read_text()
    document = Document(text)
    assert '<html lang="en">' in text
    assert document.tags.count("h1") == document.tags.count("main") == 1
    assert document.tags.count("caption") == document.tags.count("table")
    sections = re.findall(r'<section aria-labelledby="(\w+)">\n<h2 id="(\w+)">', text)
    assert len(sections) == document.tags.count("section") == 8
    assert all(named == own for named, own in sections)
    assert text.count('aria-hidden="true"') == document.tags.count("svg")
    assert text.count('scope="col"') + text.count('scope="row"') == text.count("<th ")


def test_a_large_database_is_sampled_and_the_page_says_so(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with lsmkv.open(tmp_path / "db") as db:
        for number in range(40_000):
            db.put(b"%08d" % (number * 7), b"x" * (10 if number % 4 else 100))
        db.flush()
    with lsmkv.open(tmp_path / "db", mode="r") as db:
        found = facts.gather(render.progress(silent=True), Place(db), 4000)
        assert not found.exact
        assert 3000 < found.sampled <= 4000 + facts.RUNS
        assert found.rows == pytest.approx(40_000, rel=0.05)
        small = dict(found.values.labels())["8 B to 15 B"]
        assert small == pytest.approx(30_000, rel=0.1)
        monkeypatch.setattr(facts, "SAMPLE_BYTES", 1 << 16)
        found = facts.gather(render.progress(silent=True), Place(db))
        assert not found.exact
        assert found.sampled < 40_000
    monkeypatch.setattr(facts, "SAMPLE_ROWS", 4000)
    monkeypatch.setattr(facts.gather, "__defaults__", (4000,))
    result = call("export", tmp_path / "db", "--report", tmp_path / "page.html")
    assert re.search(r"[\d,]+ of about [\d,]+ rows", result.stdout)
    text = (tmp_path / "page.html").read_text()
    assert "Of a sample" in text
    assert 'data-fact="rows">about ' in text


def test_an_empty_database_has_a_page(tmp_path: Path) -> None:
    lsmkv.open(tmp_path / "db").close()
    done("export", tmp_path / "db", "--report", tmp_path / "page.html")
    document = Document((tmp_path / "page.html").read_text())
    assert document.facts["rows"] == "0"
    assert "namespaces" in document.tables


def test_the_same_figures_are_drawn_as_pictures(database: Path, tmp_path: Path) -> None:
    done("export", database, "--plot", tmp_path / "state.svg")
    drawn = (tmp_path / "state.svg").read_text()
    for text in ("bytes by level", "sizes of keys", "within an hour", ">100<"):
        assert text in drawn
    done("export", database, "--plot", tmp_path / "state.png")
    assert (tmp_path / "state.png").read_bytes().startswith(b"\x89PNG")


def test_missing_matplotlib_is_named(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    why = refused("export", database, "--plot", tmp_path / "state.svg")
    assert "pip install 'lsmkv[plot]'" in why


def browse(page: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Open a page in Chromium."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        assert not os.environ.get("LSMKV_NEED_CHROMIUM"), "there is no Chromium"
        pytest.skip("there is no Chromium: apt-get install chromium-headless-shell")
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        # Whatever is asked of the network would go here, where nobody answers.
        server = f"--proxy-server=http://127.0.0.1:{proxy.getsockname()[1]}"
        done = subprocess.run(
            [
                program,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-background-networking",
                "--enable-logging=stderr",
                "--hide-scrollbars",
                "--virtual-time-budget=2000",
                f"--user-data-dir={page.parent / 'profile'}",
                server,
                *options,
                page.as_uri(),
            ],
            capture_output=True,
            text=True,
            timeout=100,
            check=True,
        )
        proxy.setblocking(False)
        with pytest.raises(BlockingIOError):
            proxy.accept()
    assert "CONSOLE" not in done.stderr
    return done


def test_a_browser_shows_the_figures_and_runs_nothing(
    page: Path, database: Path
) -> None:
    document = Document(browse(page, "--dump-dom").stdout)
    check_figures(document, database)
    check_harmless(document)
    assert document.texts["title"] == f"{database} - lsmkv"


def colours(picture: Path) -> dict[object, int]:
    """Count the colours of a picture."""
    with Image.open(picture) as image:
        found = image.convert("RGB").getcolors(1 << 20)
    assert found is not None
    return {colour: count for count, colour in found}


@pytest.mark.parametrize(
    ("scheme", "width", "ground", "bar"),
    [
        (1, 1100, "f6f7f9", "0f766e"),
        (0, 1100, "0f1419", "2dd4bf"),
        (1, 400, "f6f7f9", "0f766e"),
    ],
    ids=["light", "dark", "narrow"],
)
def test_a_browser_draws_the_page(
    page: Path, tmp_path: Path, scheme: int, width: int, ground: str, bar: str
) -> None:
    picture = tmp_path / "page.png"
    browse(
        page,
        f"--blink-settings=preferredColorScheme={scheme}",
        f"--window-size={width},700",
        f"--screenshot={picture}",
    )
    found = colours(picture)
    assert sum(found.values()) == width * 700
    assert found[tuple(bytes.fromhex(ground))] > 0.03 * width * 700
    assert found[tuple(bytes.fromhex(bar))] > 200
    assert len(found) > 20

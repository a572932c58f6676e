# SPDX-License-Identifier: Apache-2.0
"""Prints which lines and branches of the engine a coverage build has reached.

    python3 tests/c_coverage.py [--misses [PART]]

Reads what the programs in build/coverage left; `make coverage` runs them before. Ends
with what lies below its limit, and with status 1 if anything does. There is one for the
branches of each file that reads bytes from the disk or recovers a database, and one for
those of the engine together. --misses lists each line with a branch never taken, of the
files whose path has PART in it.

A branch is one way out of a condition, as gcc compiles it without optimisation: each
operand of && and || has two. Those of assertions are left out, for one of theirs is
never to be taken, and so is the success of LSM_TRY(fail...()), the mistake of a mutant
with the conditions that only it comes to, and what was not taken on a line that is
marked:

    LSM_TRY(encode(&edit)); /* unreachable: the caller reserved the room */

A marker that stands alone is that of the next line. One without a reason, or of a line
that has no branch or all of them taken, is refused. Every other branch counts, those
behind failed allocations included.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "coverage"
# What decodes bytes from the disk, and what recovers a database from them.
_DECODERS = """
format/batch format/block format/block_frame format/bloom format/cache_frame
format/codec format/edit format/publish_record
format/filename format/footer format/hotlist format/ikey format/record
format/segment_shares format/space wal/wal_reader table/table_reader
table/table_salvage table/salvage_search segment/cache_segment segment/segment
segment/segment_files db/follow db/manifest_follow db/manifest_load db/recover
db/repair_source db/repair_scan db/repair_system db/view
"""
DECODERS_LEAST = 99
ENGINE_LEAST = 97
_ASSERTION = re.compile(r"\bLSM_(?:DEBUG_)?ASSERT\(")
_MUTANT = re.compile(r"!?\bLSM_MUTANT\(")
_TOKEN = re.compile(r"&&|\|\||[()?:,;]")
_FAILURE = re.compile(r"^ *LSM_TRY\((?:lsm_)?fail\w*\(")  # which answers nothing else
_MARKER = re.compile(r"/\*\s*unreachable\b(.*?)\*/", re.DOTALL)


class MarkerError(Exception):
    """A marker that says nothing, or what is not so."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.line = line


@dataclass
class Tally:
    """What was reached of one file."""

    name: str
    lines: int = 0
    lines_hit: int = 0
    branches: int = 0
    branches_hit: int = 0
    misses: dict[int, int] = field(default_factory=dict)  # line: branches
    marked: dict[int, str] = field(default_factory=dict)  # line: reason

    @property
    def share(self) -> float:
        """Percent of the branches that were taken."""
        return _percent(self.branches_hit, self.branches)

    def __str__(self) -> str:
        lines = _percent(self.lines_hit, self.lines)
        return (
            f"{lines:6.1f}% of {self.lines:5} lines "
            f"{self.share:6.1f}% of {self.branches:5} branches  {self.name}"
        )


def _percent(hit: int, total: int) -> float:
    return 100 * hit / total if total else 100.0


def assertion_lines(text: str) -> set[int]:
    """Number the lines that assertions lie on, from 1."""
    found: set[int] = set()
    for match in _ASSERTION.finditer(text):
        depth, end = 1, match.end()
        while depth > 0:
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            end += 1
        first = text.count("\n", 0, match.start()) + 1
        found.update(range(first, first + text.count("\n", match.start(), end) + 1))
    return found


def mistake_lines(text: str) -> dict[int, int]:
    """Count per line, from 1, the branches that only a mutant takes.

    They are one of its own and both of each condition that && puts behind it.
    """
    found: dict[int, int] = {}
    for match in _MUTANT.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        found[line] = found.get(line, 0) + 1
        if match[0].startswith("!"):
            continue
        depth = 0
        for token in _TOKEN.finditer(text, text.index(")", match.end()) + 1):
            depth += {"(": 1, ")": -1}.get(token[0], 0)
            if depth < 0 or (depth == 0 and token[0] in ("||", "?", ":", ",", ";")):
                break
            if token[0] in ("&&", "||"):
                behind = len(text[token.end() :]) - len(text[token.end() :].lstrip())
                line = text.count("\n", 0, token.end() + behind) + 1
                found[line] = found.get(line, 0) + 2
    return found


def marked_lines(text: str) -> dict[int, str]:
    """Find the lines that markers are for, from 1, and the reasons they give."""
    found: dict[int, str] = {}
    for match in _MARKER.finditer(text):
        reason = re.match(r":\s+(\w.*)", " ".join(match[1].split()))
        line = text.count("\n", 0, match.start()) + 1
        if reason is None:
            raise MarkerError(line, "a marker without a reason")
        before = text[text.rfind("\n", 0, match.start()) + 1 : match.start()]
        if not before.strip():
            line += match[0].count("\n") + 1
        found[line] = reason[1]
    return found


def tally_of(name: str, text: str, lines: list[dict[str, Any]]) -> Tally:
    """Add up the lines of one file as gcov tells them."""
    tally = Tally(name)
    skipped = assertion_lines(text)
    mistakes = mistake_lines(text)
    marked = marked_lines(text)
    texts = text.splitlines()
    for line in lines:
        number = line["line_number"]
        tally.lines += 1
        tally.lines_hit += line["count"] > 0
        taken = [branch["count"] > 0 for branch in line["branches"]]
        if number in skipped:
            continue
        if sum(taken) == 1 and _FAILURE.match(texts[number - 1]):
            taken = [True]
        for _ in range(min(mistakes.get(number, 0), taken.count(False))):
            taken.remove(False)
        missing = len(taken) - sum(taken)
        tally.branches_hit += sum(taken)
        if number in marked and missing:
            tally.marked[number] = marked[number]
            tally.branches += sum(taken)
        else:
            tally.branches += len(taken)
            tally.misses |= {number: missing} if missing else {}
    for number in marked.keys() - tally.marked.keys():
        raise MarkerError(number, "a marker of a line that misses no branch")
    return tally


def read_tallies(sources: list[PurePosixPath]) -> Iterator[Tally]:
    """Ask gcov, which answers with a line of JSON for each source."""
    command = ["gcov", "--branch-probabilities", "--json-format", "--stdout"]
    command += [str(BUILD / source.with_suffix(".o")) for source in sources]
    output = subprocess.run(
        command, cwd=ROOT, check=True, text=True, capture_output=True
    )
    for source, answer in zip(sources, output.stdout.splitlines(), strict=True):
        (lines,) = (
            file["lines"]
            for file in json.loads(answer)["files"]
            if file["file"] == str(source)
        )
        try:
            yield tally_of(str(source), (ROOT / source).read_text(), lines)
        except MarkerError as error:
            raise SystemExit(f"{source}:{error.line}: {error}") from None


def total_of(tallies: list[Tally], name: str) -> Tally:
    """Add up what was reached."""
    total = Tally(name)
    for tally in tallies:
        total.lines += tally.lines
        total.lines_hit += tally.lines_hit
        total.branches += tally.branches
        total.branches_hit += tally.branches_hit
    return total


def print_misses(tally: Tally) -> None:
    """Show each line that has a branch never taken."""
    text = (ROOT / tally.name).read_text().splitlines()
    for number, count in sorted(tally.misses.items()):
        print(f"{tally.name}:{number}: {count} not taken: {text[number - 1].strip()}")


def below(tallies: list[Tally], least: float) -> list[str]:
    """Say of those under a limit how far they are."""
    return [
        f"{tally.name}: {tally.share:.1f}% of the branches, not {least:g}%"
        for tally in tallies
        if tally.share < least
    ]


def main() -> int:
    """Print the figures; 1 if any is below its limit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--misses", nargs="?", const="", metavar="PART")
    arguments = parser.parse_args()
    sources = sorted(
        PurePosixPath(path.relative_to(ROOT)) for path in ROOT.glob("csrc/*/*.c")
    )
    tallies = list(read_tallies(sources))
    names = [f"csrc/{name}.c" for name in _DECODERS.split()]
    decoders = [tally for tally in tallies if tally.name in names]
    if len(decoders) != len(names):
        parser.error("a decoder is not compiled")
    if arguments.misses is not None:
        for tally in tallies:
            if arguments.misses in tally.name:
                print_misses(tally)
    marks = [
        f"{tally.name}:{number}: unreachable: {reason}"
        for tally in tallies
        for number, reason in sorted(tally.marked.items())
    ]
    print(*marks, f"{len(marks)} lines marked\n", *tallies, sep="\n")
    folders = sorted({source.parent for source in sources})
    for folder in folders:
        inside = [t for t in tallies if PurePosixPath(t.name).parent == folder]
        print(total_of(inside, f"{folder}/"))
    engine = total_of(tallies, "csrc/")
    print(engine, "\nrecovery and decoders:", *decoders, sep="\n")
    print(total_of(decoders, "recovery and decoders"))
    missing = below(decoders, DECODERS_LEAST) + below([engine], ENGINE_LEAST)
    print(*(missing or ["no figure below its limit"]), sep="\n")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())

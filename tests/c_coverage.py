# SPDX-License-Identifier: Apache-2.0
"""Prints which lines and branches of the engine a coverage build has reached.

    python3 tests/c_coverage.py [--limit PERCENT] [--misses]

Reads what the programs in build/coverage left; `make coverage` runs them before. Ends
with the files that read bytes from the disk and lie below the limit, and with status 1
if there are any. --misses lists, for those, each line with a branch never taken.

A branch is one way out of a condition, as gcc compiles it without optimisation: each
operand of && and || has two. Those of assertions are left out, for one of theirs is
never to be taken; every other one counts, those behind failed allocations included.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "coverage"
# What decodes bytes from the disk, and what recovers a database from them.
_DECODERS = """
format/batch format/block format/block_frame format/bloom format/cache_frame
format/codec format/edit format/publish_record
format/filename format/footer format/ikey format/record format/segment_shares
format/space wal/wal_reader table/table_reader table/table_salvage
table/salvage_search segment/segment segment/segment_files
db/manifest_load db/recover db/repair_source db/repair_scan db/view
"""
_ASSERTION = re.compile(r"\bLSM_(?:DEBUG_)?ASSERT\(")


@dataclass
class Tally:
    """What was reached of one file."""

    name: str
    lines: int = 0
    lines_hit: int = 0
    branches: int = 0
    branches_hit: int = 0
    misses: dict[int, int] = field(default_factory=dict)  # line: branches

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


def read_tally(source: PurePosixPath) -> Tally:
    """Ask gcov about one source file."""
    command = ["gcov", "--branch-probabilities", "--json-format", "--stdout"]
    command.append(str(BUILD / source.with_suffix(".o")))
    output = subprocess.run(
        command, cwd=ROOT, check=True, text=True, capture_output=True
    )
    skipped = assertion_lines((ROOT / source).read_text())
    tally = Tally(str(source))
    for file in json.loads(output.stdout)["files"]:
        if file["file"] != str(source):
            continue
        for line in file["lines"]:
            tally.lines += 1
            tally.lines_hit += line["count"] > 0
            taken = [branch["count"] > 0 for branch in line["branches"]]
            if line["line_number"] in skipped:
                continue
            tally.branches += len(taken)
            tally.branches_hit += sum(taken)
            if not all(taken):
                tally.misses[line["line_number"]] = len(taken) - sum(taken)
    return tally


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


def main() -> int:
    """Print the figures; 1 if a decoder lies below the limit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--limit", type=float, default=95.0)
    parser.add_argument("--misses", action="store_true")
    arguments = parser.parse_args()
    sources = sorted(
        PurePosixPath(path.relative_to(ROOT)) for path in ROOT.glob("csrc/*/*.c")
    )
    tallies = [read_tally(source) for source in sources]
    names = [f"csrc/{name}.c" for name in _DECODERS.split()]
    decoders = [tally for tally in tallies if tally.name in names]
    if len(decoders) != len(names):
        parser.error("a decoder is not compiled")
    print(*tallies, total_of(tallies, "csrc"), sep="\n")
    print("\nrecovery and decoders:", *decoders, sep="\n")
    print(total_of(decoders, "recovery and decoders"))
    below = [tally for tally in decoders if tally.share < arguments.limit]
    for tally in below:
        if arguments.misses:
            print_misses(tally)
    names = [tally.name for tally in below]
    print(f"below {arguments.limit:g}%:", *(names or ["none"]))
    return 1 if below else 0


if __name__ == "__main__":
    sys.exit(main())

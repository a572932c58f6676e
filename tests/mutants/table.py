# SPDX-License-Identifier: Apache-2.0
"""Which test kills which mutant, and how many cases that takes.

    python -m mutants.table --measure [NAME...]   run them and print what they took
    python -m mutants.table --write               put the table into docs/testing.md

The mutants themselves are in csrc/base/mutant.h, each with what it breaks. Commands of
the crash program are pieces of those that test_crash.py runs on the engine as it is,
and unit tests are all run by test_c.py: the same command passes without the mutant.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.build import ASAN, CSRC, ROOT, TSAN, build_stress, build_unit
from harness.crash import SANITIZER_ENVIRONMENT

HEADER = CSRC / "base" / "mutant.h"
DOCUMENT = ROOT / "docs" / "testing.md"
BEGIN = "<!-- mutants: python -m mutants.table --write -->\n"
END = "<!-- end of mutants -->\n"

# What the crash program draws may change, and then another case is the first to find a
# mutant: most of all where it was found at once.
BUDGET_FACTOR = 10
BUDGET_MIN = 5_000
BUDGET_MAX = 20_000
SECONDS_MAX = 120

# As in test_crash.py.
SIM_FIRST = 1_000_000
SIM_LAST = 1_000_199
STRIDES = {"steps": 1, "errors": 47, "damage": 67, "alloc": 13}

WORKLOADS = (
    "fill and flush",
    "overwrite and compact",
    "batches",
    "manifest rollover",
    "delete and reopen",
    "sync mixes",
    "restarts",
    "look around",
    "expire",
    "checkpoints",
    "range deletes",
    "repairs",
    "caches",
    "publishes",
)


@dataclass(frozen=True, slots=True)
class Mutant:
    """A mistake: where its like was made, and the check that must notice it."""

    name: str
    origin: str
    killer: str
    """sim, faults; steps, errors, damage or alloc with a workload; a C unit test; or
    stress, under the thread sanitizer."""
    found: str
    """What the failed check prints, as a regular expression: a mutant that merely
    breaks something else does not count."""
    cases: int
    """Crash states and runs of a workload until it was found, when it was added."""

    @property
    def budget(self) -> int:
        """How many cases it may take."""
        return min(max(BUDGET_FACTOR * self.cases, BUDGET_MIN), BUDGET_MAX)

    def command(self, folder: Path) -> list[str]:
        """Build the program that kills it; `folder` is for the program's files."""
        select = ["--mutant", self.name]
        kind, _, workload = self.killer.partition(": ")
        if kind == "stress":
            files = ["--dir", str(folder), "--seconds", "30"]
            return [str(build_stress(TSAN)), *select, *files]
        crash = [sys.executable, "-m", "lsmkv.fuzz.programs", "crash", *select]
        if kind in {"sim", "faults"}:
            return [*crash, kind, "--seeds", f"{SIM_FIRST}..{SIM_LAST}"]
        if kind in STRIDES:
            number = str(WORKLOADS.index(workload))
            return [*crash, kind, "--workload", number, "--stride", str(STRIDES[kind])]
        return [str(build_unit(ASAN)), *select, kind]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run with a mutant ended."""

    killed: bool
    cases: int
    output: str


def run(mutant: Mutant, folder: Path) -> Outcome:
    """Run the check that must kill the mutant."""
    done = subprocess.run(
        mutant.command(folder),
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=SECONDS_MAX,
        env={**os.environ, **SANITIZER_ENVIRONMENT},
    )
    output = done.stdout + done.stderr
    told = output.partition("the last operations:")[0]
    killed = done.returncode > 0 and re.search(mutant.found, told, re.DOTALL)
    counts = re.search(r"after (\d+) crash states and (\d+) runs", output)
    cases = int(counts[1]) + int(counts[2]) if counts else 1
    return Outcome(bool(killed), cases, output)


def effects() -> dict[str, str]:
    """Return what each mutant of the header breaks."""
    text = HEADER.read_text().replace("\\\n", " ")
    pairs = re.findall(r'\bX\((\w+),\s*((?:"(?:[^"]|\\")*"\s*)+)\)', text)
    return {name: "".join(re.findall(r'"([^"]*)"', texts)) for name, texts in pairs}


def document(mutants: Iterable[Mutant]) -> str:
    """Return the table in the form of the document."""
    lines = ["| Mutant | What it does | Like | Killed by | Cases |"]
    lines.append("| --- | --- | --- | --- | ---: |")
    broken = effects()
    for mutant in mutants:
        name = f"`{mutant.name}`"
        killer = mutant.killer.replace("_", " ")
        cells = [name, broken[mutant.name], mutant.origin, killer, f"{mutant.cases:,}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def split_document() -> tuple[str, str, str]:
    """Return what stands before the table in docs/testing.md, the table, the rest."""
    before, begin, rest = DOCUMENT.read_text().partition(BEGIN)
    table, end, after = rest.partition(END)
    return before + begin, table, end + after


MUTANTS = (
    Mutant(
        "SYNC_SKIPS_OLDER_LOGS",
        "LevelDB #193, RocksDB #10560",
        "sim",
        "open after a crash: CORRUPTION",
        21,
    ),
    Mutant(
        "SYNC_LEAVES_ACTIVE_LOG",
        "Badger #1847",
        "sim",
        "recovered the state after commit",
        2612,
    ),
    Mutant("LOG_NAMES_NOT_SYNCED", "durability.md", "sim", "the log is missing", 6),
    Mutant(
        "LOGS_NOT_RECORDED",
        "durability.md",
        "damage: sync mixes",
        "the open shows no state",
        13367,
    ),
    Mutant(
        "FAILED_SYNC_NOT_FINAL",
        "RocksDB #12995, fsyncgate",
        "errors: sync mixes",
        "has not poisoned",
        741,
    ),
    Mutant(
        "EIGHTH_SYNC_DOES_NOTHING",
        "RocksDB #10460",
        "sim",
        "open after a crash: CORRUPTION",
        12,
    ),
    Mutant(
        "MARK_BEFORE_SYNC",
        "file-format.md",
        "sim",
        "damaged record: the file was synced up to",
        464,
    ),
    Mutant(
        "SEALED_LOG_NOT_SYNCED",
        "Badger #1954",
        "sim",
        r"CORRUPTION: .*\.log|verify found",
        1195,
    ),
    Mutant(
        "PUBLISHED_BEFORE_INSERTED", "concurrency.md", "stress", "FAILED|data race", 1
    ),
    Mutant(
        "FAILED_WRITE_SHOWS",
        "durability.md",
        "errors: sync mixes",
        "recovered the state after commit",
        764,
    ),
    Mutant(
        "FULL_DISK_IS_FINAL",
        "RocksDB #919, #11643",
        "a_full_disk_in_a_large_batch_loses_that_batch_alone",
        "DISK_FULL",
        1,
    ),
    Mutant(
        "CONDITION_NOT_CHECKED",
        "concurrency.md",
        "a_put_since_a_snapshot_loses_to_whatever_came_after_it",
        "OK, expected NOT_FOUND",
        1,
    ),
    Mutant(
        "FRESH_MANIFEST_NOT_SYNCED", "durability.md", "sim", "CORRUPTION: MANIFEST-", 2
    ),
    Mutant("CURRENT_NOT_SYNCED", "LevelDB #75", "sim", "CORRUPTION: CURRENT", 2),
    Mutant(
        "NO_DIR_SYNC_AFTER_RENAME",
        "RocksDB #10573",
        "sim",
        "CURRENT names it|another state after a power failure",
        315,
    ),
    Mutant(
        "LOG_DROPPED_BEFORE_EDIT_SYNC",
        "durability.md",
        "sim",
        "open after a crash: CORRUPTION",
        25,
    ),
    Mutant(
        "INPUTS_DROPPED_BEFORE_EDIT_SYNC",
        "durability.md",
        "sim",
        "missing file: the MANIFEST names it",
        86,
    ),
    Mutant(
        "REWRITE_FORGETS_CACHES",
        "Pebble 819cf246c",
        "an_evicted_value_never_returns",
        "is dropped, but is not there",
        1,
    ),
    Mutant(
        "REWRITE_FORGETS_LOGS",
        "durability.md",
        "a_rewritten_manifest_still_tells_which_logs_must_be_there",
        "OK, expected CORRUPTION",
        1,
    ),
    Mutant("TABLE_NOT_SYNCED", "Badger #1625", "sim", r"CORRUPTION: .*\.tbl", 6),
    Mutant(
        "NO_DIR_SYNC_AFTER_TABLE",
        "RocksDB #5435",
        "sim",
        "missing file: the MANIFEST names it",
        98,
    ),
    Mutant(
        "SYNC_ERROR_IGNORED",
        "RocksDB #2495",
        "errors: fill and flush",
        "CORRUPTION: .*tbl",
        751,
    ),
    Mutant(
        "COMPACTION_IGNORES_SNAPSHOTS",
        "architecture.md",
        "sim",
        "get_many: |a snapshot|scan: ",
        690,
    ),
    Mutant(
        "TOMBSTONE_DROPPED_ABOVE_LAST", "Badger #1587, LevelDB #178", "sim", "state", 30
    ),
    Mutant(
        "EXPIRED_DROPPED_ABOVE_LAST",
        "architecture.md",
        "an_expired_newest_version_never_lets_an_older_one_show",
        "expiry_shows",
        1,
    ),
    Mutant(
        "EXPIRED_TABLE_DROPPED_OVER_OLDER",
        "architecture.md",
        "a_dead_table_that_hides_older_data_is_not_dropped_unread",
        "expired_table_count",
        1,
    ),
    Mutant("KEY_SPLIT_OVER_TABLES", "LevelDB #320", "sim", "overlap", 994),
    Mutant(
        "READ_ERROR_ENDS_COMPACTION",
        "RocksDB #11782",
        "errors: overwrite and compact",
        "is missing",
        75,
    ),
    Mutant("RANGE_DELETE_HIDES_NEWER", "Pebble fd5c12919", "sim", "state|missing", 84),
    Mutant("RANGE_DELETE_NOT_CUT", "architecture.md", "sim", "overlap", 920),
    Mutant(
        "RANGE_DELETE_DROPPED_ABOVE_LAST",
        "architecture.md",
        "sim",
        "state|is there",
        876,
    ),
    Mutant(
        "NEWEST_MEMTABLE_FLUSHED_FIRST",
        "RocksDB #10921",
        "sim",
        "state|share sequences|missing",
        24,
    ),
    Mutant(
        "REPLAY_GOES_ON_BEHIND_A_HOLE",
        "RocksDB #7701",
        "sim",
        "not the state after any commit",
        1858,
    ),
    Mutant(
        "BAD_RECORD_SKIPPED",
        "RocksDB #7701, LevelDB #1287",
        "sim",
        "verify found|state",
        589,
    ),
    Mutant(
        "LOG_CHECKSUM_NOT_CHECKED",
        "LevelDB #251",
        "sim",
        "malformed batch|state|expected sequence",
        293,
    ),
    Mutant(
        "FAILED_WRITE_REPLAYED",
        "durability.md",
        "recovery_drops_what_lies_behind_the_beginning_of_the_next_log",
        "the log holds s",
        1,
    ),
    Mutant(
        "MISSING_LOG_PASSED_OVER",
        "file-format.md",
        "recovery_misses_a_log_that_the_manifest_knows_as_synced",
        "OK, expected CORRUPTION",
        1,
    ),
    Mutant(
        "FOREIGN_LOG_ACCEPTED",
        "RocksDB #12591",
        "log_of_another_database_or_place_is_corruption_and_no_torn_file",
        "OK, expected CORRUPTION",
        1,
    ),
    Mutant(
        "FILE_SIZES_NOT_CHECKED",
        "file-format.md",
        "a_table_file_that_is_missing_or_has_another_size_is_corruption",
        "OK, expected CORRUPTION",
        1,
    ),
    Mutant(
        "OPEN_UNDONE_AFTER_RENAME",
        "Badger #1465",
        "errors: restarts",
        "missing file: the MANIFEST names it",
        808,
    ),
    Mutant("FILE_NUMBERS_REUSED", "RocksDB #14209", "sim", "File exists", 3),
    Mutant(
        "TIME_FORGOTTEN_AT_OPEN",
        "durability.md",
        "sim",
        "not the state after any commit|is there|time",
        312,
    ),
    Mutant(
        "CLOCK_FOLLOWS_EVERY_JUMP",
        "YugabyteDB #10872",
        "a_wall_clock_that_jumps_more_than_a_day_is_counted_and_not_followed",
        "expiry_shows",
        1,
    ),
    Mutant("UNFINISHED_PUBLISH_KEPT", "durability.md", "sim", "interrupted publish", 5),
    Mutant("SHORT_READ_IS_END", "LevelDB #1285", "sim", "CORRUPTION", 10),
    Mutant("EINTR_NOT_RETRIED", "LevelDB #1285", "sim", "Interrupted system call", 14),
    Mutant(
        "CREATE_TAKES_OVER_FILES",
        "RocksDB #14209",
        "a_missing_file_is_not_found_and_an_existing_one_is_not_created_posix",
        "OK, expected IO_ERROR",
        1,
    ),
    Mutant(
        "MERGE_HIDES_READ_ERRORS",
        "RocksDB #11782",
        "errors: overwrite and compact",
        "scan: ",
        37,
    ),
    Mutant(
        "TURN_LEAVES_OTHERS",
        "LevelDB #200",
        "sim",
        "directions differ|cursor|get and scan differ",
        19,
    ),
    Mutant(
        "GET_MANY_IGNORES_RANGE_DELETES",
        "architecture.md",
        "delete_range_hides_what_index_and_filter_would_have_answered",
        "found is 1",
        1,
    ),
    Mutant("FILTER_MISSES_KEYS", "file-format.md", "sim", "state|missing", 248),
    Mutant(
        "SLOT_IGNORES_SNAPSHOT",
        "file-format.md",
        "sim",
        "verify found|wrong bytes|is there|missing",
        587,
    ),
    Mutant(
        "STALE_BLOCK_SLOT", "file-format.md", "sim", "state|missing|wrong bytes", 248
    ),
    Mutant("GET_IGNORES_EXPIRY", "durability.md", "sim", "there by get|is there", 28),
    Mutant(
        "GET_MANY_IGNORES_EXPIRY",
        "durability.md",
        "sim",
        "which is gone|is there|reading namespaces: NOT_FOUND",
        28,
    ),
    Mutant(
        "SCAN_IGNORES_EXPIRY",
        "durability.md",
        "sim",
        "not the state after any commit|scan",
        28,
    ),
    Mutant(
        "BACKWARD_SCAN_IGNORES_SNAPSHOT",
        "architecture.md",
        "sim",
        "cursor|directions|wrong bytes|scan",
        1062,
    ),
    Mutant("GET_MANY_IGNORES_SNAPSHOT", "architecture.md", "sim", "get_many: ", 8),
    Mutant(
        "ROWS_IGNORE_SNAPSHOT",
        "architecture.md",
        "rows_come_back_from_tables",
        "test_rows",
        1,
    ),
    Mutant(
        "TOUCH_REVIVES_EXPIRED",
        "durability.md",
        "a_wall_clock_a_little_ahead_is_followed",
        "expiry_shows",
        1,
    ),
    Mutant(
        "LAST_KEY_OF_TABLE_MISSED",
        "architecture.md",
        "sim",
        "lacks row|state|missing",
        67,
    ),
    Mutant(
        "OVERLAP_NOT_CHECKED",
        "Pebble fd5c12919",
        "a_table_that_breaks_an_invariant_is_refused_by_name",
        "OK, expected CORRUPTION",
        1,
    ),
    Mutant(
        "SEGMENT_DROPPED_WHILE_POINTED",
        "architecture.md",
        "sim",
        "which is not there",
        8,
    ),
    Mutant(
        "LOG_UNLINKED_WHILE_POINTED",
        "Badger #1090",
        "sim",
        "missing file: (the MANIFEST names it|large values lie in it)",
        1064,
    ),
    Mutant(
        "FLUSHED_MEMTABLE_LEAKED",
        "architecture.md",
        "sim",
        "allocations were not given back",
        107,
    ),
    Mutant(
        "READERS_NOT_AWAITED",
        "concurrency.md",
        "a_reader_inside_keeps_what_was_retired_after_it_entered",
        "released",
        1,
    ),
    Mutant(
        "SECOND_CHANCE_RESURRECTS",
        "Badger #2286",
        "cache_second_chance_is_not_for_what_was_read_and_then_deleted",
        "get|reinserted",
        1,
    ),
    Mutant(
        "CACHE_CAP_IGNORED",
        "durability.md",
        "cache_segments_never_pass_the_cap_during_a_load",
        "the cap is",
        1,
    ),
    Mutant(
        "BLOCK_CACHE_GROWS",
        "architecture.md",
        "cache_holds_what_fits_and_never_more",
        "lsm_cache_used",
        1,
    ),
    Mutant(
        "SCAN_LEAVES_NAMESPACE",
        "architecture.md",
        "sim",
        "never written|shows a row of",
        298,
    ),
    Mutant(
        "NAMESPACE_ID_REUSED",
        "durability.md",
        "ids_of_namespaces_are_never_used_again",
        "space->id > last",
        1,
    ),
    Mutant(
        "DROP_LEAVES_ROWS",
        "durability.md",
        "a_drop_takes_everything_before_it_and_refuses_everything_behind_it",
        "entries is",
        1,
    ),
    Mutant(
        "PUBLISH_TABLES_BEFORE_RECORD",
        "durability.md",
        "sim",
        "above the last one|publish",
        6168,
    ),
    Mutant(
        "FAILED_PUBLISH_SWITCHES",
        "architecture.md",
        "a_publish_that_lacks_memory_at_any_point_leaves_nothing_behind",
        "count is 0",
        1,
    ),
    Mutant(
        "SWITCH_NOT_SYNCED",
        "durability.md",
        "a_crash_in_a_publish_leaves_nothing_of_it",
        "space != NULL",
        1,
    ),
    Mutant(
        "ROLLBACK_KEEPS_VERSION",
        "architecture.md",
        "handles_follow_and_snapshots_stay",
        "shows",
        1,
    ),
    Mutant(
        "CHECKPOINT_FORGETS_SEGMENTS",
        "RocksDB #13884",
        "steps: checkpoints",
        "missing file: the MANIFEST names it",
        5108,
    ),
    Mutant(
        "REPAIR_FORGETS_LARGE_VALUES",
        "RocksDB #13884",
        "steps: repairs",
        "is not the state",
        1507,
    ),
    Mutant(
        "VALUE_CHECKSUM_NOT_CHECKED",
        "file-format.md",
        "sim",
        "the cache shows wrong bytes",
        390,
    ),
    Mutant(
        "BLOCK_CHECKSUM_NOT_CHECKED",
        "file-format.md",
        "damage: delete and reopen",
        "misses bit",
        243,
    ),
    Mutant(
        "INTEGER_KEYS_CUT",
        "architecture.md",
        "numbers_are_keys_of_eight_bytes_in_their_order",
        "test_rows",
        1,
    ),
    Mutant(
        "FOLLOWER_SHOWS_HALF_A_BATCH",
        "concurrency.md",
        "sim",
        "recovered the state after commit",
        16,
    ),
)


def main() -> None:
    """Measure, or write the document's table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--measure", nargs="*", metavar="NAME")
    asked = parser.parse_args()
    if asked.write:
        before, _, after = split_document()
        DOCUMENT.write_text(before + document(MUTANTS) + after)
    for mutant in MUTANTS if asked.measure is not None else ():
        if asked.measure and mutant.name not in asked.measure:
            continue
        begun = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            outcome = run(mutant, Path(folder))
        seconds = time.monotonic() - begun
        said = outcome.output[outcome.output.find("FAILED") :][:200]
        word = "killed" if outcome.killed else "SURVIVED"
        print(f"{word} {mutant.name} cases={outcome.cases} {seconds:.2f}s {said!r}")


if __name__ == "__main__":
    main()

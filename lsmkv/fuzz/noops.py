# SPDX-License-Identifier: Apache-2.0
"""What may be done to a database at any time without anybody's noticing.

A `Unit` is a command as it is run plainly, and as it is run with something that must
make no difference before it. OPTION_SETS are the options under which that is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from random import Random

from lsmkv.fuzz.drawn import KEYS, Standing
from lsmkv.fuzz.engine import MODES
from lsmkv.fuzz.notation import show
from lsmkv.fuzz.session import TINY

KIB, MIB = 1 << 10, 1 << 20
# Directories that are left behind take memory.
DIRECTORIES_MAX = 12
# Reads that a follower and a reader can answer as well.
SHARED_READS = frozenset({"get", "view", "get_many", "scan", "ttl"})
# Of a hundred commands so many are followed by a row's being read in every way.
AGREE_PERCENT = 20


@dataclass(frozen=True, slots=True)
class OptionSet:
    """Options, and how many of a hundred commands have something inserted before."""

    name: str
    options: Mapping[str, int]
    percent: int = 15
    kinds: tuple[str, ...] = ()  # of what is inserted; (): all

    @property
    def given(self) -> dict[str, int]:
        """Return every option, so that none of an earlier opening stays."""
        return {**DEFAULTS, **self.options}


DEFAULTS: Mapping[str, int] = {
    **TINY,
    "block_cache_bytes": -1,
    "bloom_bits_per_key": 10,
    "codec": 0,
    "durability": 1,
    "mapping": 1,
    "read_only": 0,
    "stats_interval_ms": 1000,
    "warm_bytes": 0,
}
ROOMY = {"memory_bytes": 64 * MIB, "memtable_bytes": 4 * MIB, "log_bytes": 64 * MIB}
LARGE = {"block_bytes": 64 * KIB, "table_bytes": MIB, "level_base_bytes": MIB}

# In the plain one nothing is ever compacted, nor flushed but for a publish.
PLAIN = OptionSet("plain", {**ROOMY, **LARGE, "blob_threshold_bytes": 0}, 0)
OPTION_SETS = (
    OptionSet("tiny", {}),
    OptionSet("no-noop", {}, 0),
    OptionSet("memtable-large", ROOMY),
    OptionSet("memtable-4k", {"memtable_bytes": 4 * KIB, "l0_compact_trigger": 3}),
    OptionSet("block-64k", LARGE),
    OptionSet("block-256", {"block_bytes": 256, "table_bytes": 2 * KIB}),
    OptionSet("levels-steep", {"level_multiplier": 10, "level_base_bytes": 256}),
    OptionSet("bloom-none", {"bloom_bits_per_key": 0}),
    OptionSet("bloom-1", {"bloom_bits_per_key": 1, "memtable_bytes": 2 * KIB}),
    OptionSet("zstd", {"codec": 1, "block_bytes": 512, "table_bytes": 4 * KIB}),
    OptionSet("blob-none", {"blob_threshold_bytes": 0}),
    OptionSet("blob-16", {"blob_threshold_bytes": 16}),
    OptionSet("blob-large", {"blob_threshold_bytes": 4 * KIB, "log_bytes": 4 * KIB}),
    OptionSet("cache-none", {"block_cache_bytes": 0}),
    OptionSet("cache-tiny", {"block_cache_bytes": KIB, "warm_bytes": -1}),
    OptionSet("cache-large", {"memory_bytes": 64 * MIB, "max_open_files": 512}),
    OptionSet("sync", {"durability": 2}),
    OptionSet("compact-eager", {"l0_compact_trigger": 1}),
    OptionSet("compact-never", {"l0_compact_trigger": 1000}),
    OptionSet("log-4k", {"log_bytes": 4 * KIB, "blob_threshold_bytes": 64}),
    OptionSet("log-large", {"log_bytes": MIB, "blob_threshold_bytes": 16}),
    OptionSet("table-256", {"table_bytes": 256, "level_base_bytes": 256}),
    OptionSet("no-mapping", {"mapping": 0, "blob_threshold_bytes": 16}),
    OptionSet("reopen", {}, 100, ("reopen",)),
    OptionSet("flush", {"l0_compact_trigger": 4}, 100, ("flush",)),
    OptionSet("step", {}, 100, ("step",)),
)


def opening(options: Mapping[str, int]) -> str:
    """Return the command that opens with these options."""
    return " ".join(["open", *(f"{name}={value}" for name, value in options.items())])


@dataclass(frozen=True, slots=True)
class Unit:
    """Lines to run, and the command that they must look like: "" is no command."""

    plain: str
    varied: tuple[str, ...]

    def expected(self, line: str, plain: list[str]) -> list[str] | None:
        """Return what one of the lines must print; None: whatever it likes."""
        name = line.split()[0]
        if name == "refresh":
            return None
        return plain if self.plain and name == self.plain.split()[0] else []


class Inserter:
    """Inserts into a list of commands what must make no difference."""

    def __init__(self, chosen: OptionSet, seed: str) -> None:
        """Draw from the seed."""
        self.chosen = chosen
        self.random = Random(seed)
        self.standing = Standing()
        self.directories = 0
        every: dict[str, tuple[int, Callable[[], list[str]]]] = {
            "flush": (12, lambda: ["flush"]),
            "compact": (8, self.compact),
            "settle": (6, lambda: ["settle"]),
            "step": (20, lambda: [f"step {self.random.randrange(12) + 1}"]),
            "sync": (4, lambda: ["sync"]),
            "verify": (3, lambda: ["verify"]),
            "warm": (3, lambda: ["warm"]),
            "resume": (1, lambda: ["resume"]),
            "reopen": (10, self.reopen),
            "crash": (6, self.crash),
            "die": (4, lambda: ["crash ALL", opening(self.chosen.given)]),
            "checkpoint": (3, self.checkpoint),
            "repair": (3, self.repair),
            "files": (3, lambda: ["settle", "verify", "files"]),
        }
        kinds = self.chosen.kinds or tuple(every)
        self.kinds = {kind: every[kind] for kind in kinds}
        self.ending = {"reopen", "crash", "die", "checkpoint", "repair", "files"}

    def units(self, lines: Iterable[str]) -> list[Unit]:
        """Return the commands with what was inserted."""
        units: list[Unit] = []
        for line in lines:
            if self.random.randrange(100) < self.chosen.percent:
                inserted = self.noop()
                if inserted:
                    units.append(self.noted(Unit("", tuple(inserted))))
            units.append(self.noted(Unit(line, tuple(self.shown(line)))))
            if self.random.randrange(100) < AGREE_PERCENT:
                units.append(self.noted(Unit("", (self.agree(),))))
        final = ["flush", "settle", "verify"]
        final += ["files"] if self.standing.free else []
        return [*units, Unit("", tuple(final))]

    def noted(self, unit: Unit) -> Unit:
        """Take in what is run."""
        for line in unit.varied:
            self.standing.note(line)
        return unit

    def noop(self) -> list[str]:
        """Draw what makes no difference here."""
        known = {
            kind: draw
            for kind, draw in self.kinds.items()
            if self.standing.free or kind not in self.ending
        }
        if self.directories >= DIRECTORIES_MAX:
            known.pop("checkpoint", None)
            known.pop("repair", None)
        if not known:
            return []
        odds = [weight for weight, _ in known.values()]
        ((_, draw),) = self.random.choices([*known.values()], odds)
        return draw()

    def agree(self) -> str:
        """Read a row in every way, most often the newest state of a row there was."""
        key = show(KEYS[self.random.randrange(self.random.choice((4, 16, len(KEYS))))])
        where = self.random.choice(
            ["", "", *(f"in={name}" for name in sorted(self.standing.spaces))]
        )
        at = self.random.choice(
            ["", *(f"snapshot={name}" for name in sorted(self.standing.snapshots))]
        )
        return " ".join(word for word in ("agree", key, at, where) if word)

    def compact(self) -> list[str]:
        """Compact a range or all, of a namespace or of the default one."""
        one, two = sorted(self.random.choices(KEYS, k=2))
        bounds = self.random.choice(("", f" {show(one)} {show(two)}"))
        names = [f" in={name}" for name in sorted(self.standing.spaces)]
        return [f"compact{bounds}{self.random.choice(['', *names])}"]

    def reopen(self) -> list[str]:
        """Open again, mostly with options of another set."""
        how = self.random.choice((self.chosen, *OPTION_SETS))
        return [opening((self.chosen if self.chosen.kinds else how).given)]

    def crash(self) -> list[str]:
        """Lose power when nothing can be lost."""
        safe = self.random.choice(("sync", "flush"))
        mode, seed = self.random.choice(MODES), self.random.randrange(1 << 30)
        return [safe, f"crash {mode} seed={seed}", opening(self.chosen.given)]

    def directory(self) -> str:
        """Name a new directory."""
        self.directories += 1
        return f"copy{self.directories}"

    def checkpoint(self) -> list[str]:
        """Go on in a checkpoint."""
        name = self.directory()
        return [f"checkpoint {name}", f"open dir={name}"]

    def repair(self) -> list[str]:
        """Go on in a repaired copy."""
        name = self.directory()
        return [f"repair {name}", f"open dir={name}"]

    def shown(self, line: str) -> list[str]:
        """Return a command, and some reads a second time in another way."""
        name = line.split()[0]
        if name not in SHARED_READS or "snapshot=" in line or self.chosen.kinds:
            return [line]
        if self.standing.follower and self.random.randrange(4) == 0:
            return [line, "refresh", f"{line} follower=1"]
        if self.random.randrange(300) >= self.chosen.percent:
            return [line]
        if self.standing.free and self.random.randrange(4) == 0:
            return [line, "open read_only=1", line, "open read_only=0"]
        return [line, "follow", f"{line} follower=1"]


def can_stand(units: Iterable[Unit]) -> bool:
    """Whether each insertion stands where it makes no difference."""
    standing = Standing()
    for unit in units:
        for line in unit.varied:
            name = line.split()[0]
            inserted = not unit.plain or name != unit.plain.split()[0]
            ends = name in {"open", "crash", "repair", "checkpoint", "files"}
            follows = name == "refresh" or line.endswith("follower=1")
            if inserted and not (standing.free if ends else standing.knows(line)):
                return False
            if follows and not standing.follower:
                return False
            standing.note(line)
    return True

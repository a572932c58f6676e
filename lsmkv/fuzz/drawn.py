# SPDX-License-Identifier: Apache-2.0
"""Makes up lists of commands from a seed, and says what is open between them.

The commands are drawn so that what they print depends on nothing but the commands: no
namespace is a cache, the clock is never set back, a cursor does not live to see time
pass, and `count` is asked only where it is exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from lsmkv.fuzz.notation import pattern, show

# Stretches of commands in which handles may be open take turns with such where none is.
STRETCH = 30
# Below 4096 records a count is exact; deletes of whole ranges make fragments, too.
COUNTED_RECORDS_MAX = 3000
KEYS = [b"key/%03d" % number for number in range(48)]
KEYS += [b"", b"\0", b"a", b"a\0", b"a\xff", b"\xff\xff", b"long" * 60]
# Around a block, around two, around what lies apart under one option set or another.
SIZES = (0, 1, 8, 15, 16, 17, 40, 63, 64, 65, 128, 399, 400, 401, 600, 1500, 5000)
NAMES = ("s0", "s1", "s2")
HANDLES = ("h0", "h1", "h2")
VERSIONS = ("v0", "v1", "v2", "v3")
MOVES = ("first", "last", *("next", "prev") * 3)


@dataclass(slots=True)
class Standing:
    """What is open after some commands."""

    snapshots: set[str] = field(default_factory=set)
    cursors: set[str] = field(default_factory=set)
    publishing: bool = False
    spaces: set[str] = field(default_factory=set)
    follower: bool = False

    @property
    def free(self) -> bool:
        """Whether the database can be closed and opened without anyone's noticing."""
        return not (self.snapshots or self.cursors or self.publishing)

    def knows(self, line: str) -> bool:
        """Whether the namespace and the snapshot that a command names are there."""
        named = dict(word.split("=") for word in line.split() if "=" in word)
        space, snapshot = named.get("in"), named.get("snapshot")
        return (space is None or space in self.spaces) and (
            snapshot is None or snapshot in self.snapshots
        )

    def note(self, line: str) -> None:
        """Take in a command that was run."""
        name, *words = line.split()
        sets = {
            "snapshot": self.snapshots,
            "cursor": self.cursors,
            "space": self.spaces,
        }
        if name in sets:
            sets[name].add(words[0])
        elif name in {"free_snapshot", "free_cursor", "drop"}:
            sets[{"drop": "space"}.get(name, name[5:])].discard(words[0])
        elif name in {"publish", "commit", "abort"}:
            self.publishing = name == "publish"
        elif name in {"follow", "open", "close", "crash", "repair"}:
            self.follower = name == "follow"


class Drawn:
    """Draws commands, one after the other."""

    def __init__(self, seed: int) -> None:
        """Begin with an empty database."""
        self.random = Random(seed)
        self.standing = Standing()
        self.lines: list[str] = []
        self.records = 0
        self.published: list[str] = []
        self.may_open = False
        self.odds: dict[Callable[[], None], int] = {
            self.put: 30,
            self.delete: 6,
            self.delete_range: 3,
            self.batch: 6,
            self.touch: 4,
            self.space: 2,
            self.publishing: 8,
            self.versions: 3,
            self.snapshot: 4,
            self.cursor: 4,
            self.use_cursor: 12,
            self.get: 18,
            self.get_many: 5,
            self.scan: 8,
            self.count: 3,
            self.names: 2,
            self.pass_time: 3,
        }

    def commands(self, count: int) -> list[str]:
        """Return so many commands."""
        stretch = 0
        while len(self.lines) < count:
            if len(self.lines) >= stretch:
                self.let_go()
                self.may_open = self.random.random() < 0.5
                stretch = len(self.lines) + self.random.randrange(STRETCH) + 1
            (draw,) = self.random.choices([*self.odds], [*self.odds.values()])
            draw()
        return self.lines[:count]

    # What the commands are made of.

    def do(self, *words: str) -> None:
        """Add a command."""
        line = " ".join(word for word in words if word)
        self.standing.note(line)
        self.lines.append(line)

    def below(self, limit: int) -> int:
        """Draw a number."""
        return self.random.randrange(limit)

    def odd(self, text: str, one_in: int) -> str:
        """Return an option now and then."""
        return text if self.below(one_in) == 0 else ""

    def key(self) -> str:
        """Draw a key; a few of them come often."""
        limit = self.random.choice((4, 16, len(KEYS)))
        return show(KEYS[self.below(limit)])

    def end(self) -> str:
        """Draw an end of a range."""
        return "-" if self.below(4) == 0 else self.key()

    def bounds(self) -> str:
        """Draw a range; some are empty, some are all there is."""
        return f"{self.end()} {self.end()}" if self.below(3) else ""

    def value(self) -> str:
        """Draw a value."""
        size = self.random.choice(SIZES)
        return show(pattern(size, self.below(256)))

    def where(self, *, published: bool = False) -> str:
        """Name a namespace or, for reads, something published; mostly neither."""
        if published and self.published and self.below(5) == 0:
            name = self.random.choice(self.published)
            version = self.random.choice(VERSIONS)
            return f"published={name}" + self.odd(f" version={version}", 2)
        if self.standing.spaces and self.below(3) == 0:
            return f"in={self.random.choice(sorted(self.standing.spaces))}"
        return self.odd(f"in={self.random.choice(NAMES)}", 40)

    def times(self) -> str:
        """Say when a value is to expire; mostly never."""
        ttl_ms = self.random.choice((1, 1000, 60_000, 86_400_000))
        stale = self.odd(f" stale_ms={self.random.choice((500, 90_000))}", 3)
        return self.odd(f"ttl_ms={ttl_ms}{stale}", 5)

    def sync(self) -> str:
        """Say whether a write is to be synced; mostly not."""
        return self.odd(f"sync={self.below(2)}", 6)

    def at(self) -> str:
        """Say what a read looks at."""
        snapshot = ""
        if self.standing.snapshots and self.below(2):
            snapshot = f"snapshot={self.random.choice(sorted(self.standing.snapshots))}"
        words = self.where(published=True), snapshot, self.odd("stale=1", 12)
        return " ".join(word for word in words if word)

    def let_go(self) -> None:
        """End every handle."""
        for slot in sorted(self.standing.cursors):
            self.do("free_cursor", slot)
        for slot in sorted(self.standing.snapshots):
            self.do("free_snapshot", slot)
        if self.standing.publishing:
            self.do(self.random.choice(("commit", "commit", "abort")))

    # Writes.

    def put(self) -> None:
        """Write a row, now and then only if nothing came to the key."""
        since = ""
        if self.standing.snapshots:
            slot = self.random.choice(sorted(self.standing.snapshots))
            since = self.odd(f"since={slot}", 4)
        times, sync = self.times(), self.sync()
        self.do("put", self.key(), self.value(), self.where(), times, sync, since)
        self.records += 1

    def delete(self) -> None:
        """Delete a row."""
        self.do("delete", self.key(), self.where(), self.sync())
        self.records += 1

    def delete_range(self) -> None:
        """Delete a range, mostly a short one."""
        if self.below(8) == 0:
            bounds = self.bounds()
        else:
            first = self.below(len(KEYS) - 6)
            ends = sorted((KEYS[first], KEYS[first + 1 + self.below(5)]))
            bounds = " ".join(map(show, ends))
        self.do("delete_range", bounds, self.where(), self.sync())
        self.records += 1

    def batch(self) -> None:
        """Write several at once."""
        words: list[str] = []
        for _ in range(self.below(self.random.choice((4, 30)))):
            what = self.below(10)
            if what == 0:
                words += ["delete_range", *sorted((self.key(), self.key()))]
            elif what < 4:
                words += ["delete", self.key()]
            else:
                words += ["put", self.key(), self.value()]
            self.records += 1
        self.do("batch", *words, self.sync())

    def touch(self) -> None:
        """Give a value new times."""
        times = self.times() or "ttl_ms=-1"
        key, where = self.key(), self.where()
        self.do("touch", key, times, where, self.sync())
        self.do("ttl", key, where)
        self.records += 1

    # Namespaces and versions.

    def space(self) -> None:
        """Create a namespace, or drop one."""
        name = self.random.choice(NAMES)
        if name in self.standing.spaces and self.below(3):
            self.do("drop", name)
            return
        ttl = self.odd("default_ttl_ms=60000", 4)
        stale = self.odd("default_stale_ms=1000", 3) if ttl else ""
        blobs = self.odd(f"blob_threshold_bytes={self.random.choice((16, 600))}", 3)
        self.do("space", name, ttl, stale, blobs)

    def publishing(self) -> None:
        """Go on with a version, or begin one."""
        if self.standing.publishing:
            for _ in range(self.below(12)):
                ttl = self.odd(f"ttl_ms={self.random.choice((1000, 60_000))}", 8)
                self.do("feed", self.key(), self.value(), ttl)
                self.records += 1
            if self.below(4) == 0:
                self.do(self.random.choice(("commit", "commit", "commit", "abort")))
        elif self.may_open:
            name = self.random.choice(("n", "m"))
            self.published = sorted({*self.published, name})
            self.do("publish", name, self.random.choice(VERSIONS))

    def versions(self) -> None:
        """Switch to another version, or let go of some."""
        if not self.published:
            return
        name = self.random.choice(self.published)
        version = self.random.choice(VERSIONS)
        what = self.below(8)
        if what < 4:
            self.do("rollback", name, version)
        else:
            self.do("release", name, version if what < 7 else "")
        self.do("versions")

    # Reads.

    def get(self) -> None:
        """Read a row."""
        name = self.random.choice(("get", "get", "view", "ttl"))
        self.do(name, self.key(), self.at())

    def get_many(self) -> None:
        """Read several."""
        self.do("get_many", *(self.key() for _ in range(self.below(9))), self.at())

    def scan(self) -> None:
        """Read a range."""
        self.do("scan", self.bounds(), self.at(), self.odd("reverse=1", 2))

    def count(self) -> None:
        """Count the rows of a range."""
        if self.records < COUNTED_RECORDS_MAX:
            self.do("count", self.bounds(), self.at())

    def names(self) -> None:
        """List what there is."""
        self.do(self.random.choice(("spaces", "versions")))

    def pass_time(self) -> None:
        """Let time pass."""
        for slot in sorted(self.standing.cursors):
            self.do("free_cursor", slot)
        self.do("advance", str(self.random.choice((1, 400, 1000, 30_000, 5_000_000))))

    # Handles.

    def snapshot(self) -> None:
        """Make a snapshot, or let one go."""
        slot = self.random.choice(HANDLES)
        if slot in self.standing.snapshots:
            self.do("free_snapshot", slot)
        elif self.may_open:
            self.do("snapshot", slot)

    def cursor(self) -> None:
        """Make a cursor."""
        if self.may_open:
            self.do("cursor", self.random.choice(HANDLES), self.bounds(), self.at())

    def use_cursor(self) -> None:
        """Move a cursor, also to and fro."""
        if not self.standing.cursors:
            return
        slot = self.random.choice(sorted(self.standing.cursors))
        what = self.below(4)
        if what == 0:
            self.do("seek", slot, self.key(), self.odd("back=1", 2))
        elif what == 1:
            self.do("fill", slot, f"rows={self.below(6) + 1} bytes=1000000")
        else:
            moves = self.random.choices(MOVES, k=self.below(6) + 1)
            self.do("move", slot, *moves)

# SPDX-License-Identifier: Apache-2.0
"""The registry behind `stats()`: each figure is declared once, as a field.

`counter` and `gauge` declare a field of a dataclass with the text that explains it.
That text becomes the field's documentation and its HELP line, its kind the TYPE line
in the text exposition format of Prometheus (version 0.0.4), which `write` makes:

    https://prometheus.io/docs/instrumenting/exposition_formats/

Names there are "lsmkv_", the name of the field and, of counters, "_total"; times are
in seconds and sizes in bytes.
"""

from __future__ import annotations

import bisect
import dataclasses
import itertools
import textwrap
from typing import TYPE_CHECKING, Any, TypeVar

from lsmkv import _core

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_T = TypeVar("_T")

BUCKETS_PER_OCTAVE = 8
# What Prometheus sees of a histogram: one bucket per octave, 128 ns to 69 s.
_FIRST_EXPONENT, _LAST_EXPONENT = 7, 36

# What the engine times.
LATENCIES = {
    "get": "single lookups; one in 64 is timed and counts for all",
    "get_many": "batched lookups, each batch as a whole",
    "gather": "rows of vectors, each batch as a whole",
    "write": "puts, deletes and batches; without a sync, one in 64 counts for all",
    "scan": "chunks of rows read by iterations",
    "sync": "device syncs of the log",
    "stall": "times that a writer was held up until the background caught up",
    "flush": "flushes of a memtable",
    "compaction": "compactions, without those that only move a table",
}


def counter(text: str, *, scale: float = 1, name: str | None = None) -> Any:
    """Declare a field that only grows while a database is open.

    Args:
        text: What it counts.
        scale: What one of it is in the exposition's unit, if that is another.
        name: Its name in the exposition, without prefix and suffix, if it differs.
    """
    return dataclasses.field(
        metadata={"kind": "counter", "help": text, "scale": scale, "name": name}
    )


def gauge(text: str) -> Any:
    """Declare a field that goes up and down."""
    return dataclasses.field(
        metadata={"kind": "gauge", "help": text, "scale": 1, "name": None}
    )


def plain(text: str) -> Any:
    """Declare a field that is no number, and so is not in the exposition by itself."""
    return dataclasses.field(metadata={"kind": None, "help": text})


def documented(cls: type[_T]) -> type[_T]:
    """Add what the fields say of themselves to the documentation of a dataclass."""
    if cls.__doc__ is not None:  # else Python was told to leave it out
        lines = [cls.__doc__.rstrip(), "", "Attributes:"]
        for field in dataclasses.fields(cls):  # type: ignore[arg-type]
            text = f"{field.name}: {field.metadata['help']}"
            lines += textwrap.wrap(
                text, 88, initial_indent=" " * 4, subsequent_indent=" " * 8
            )
        cls.__doc__ = "\n".join(lines) + "\n"
    return cls


def bounds() -> tuple[float, ...]:
    """Return the upper ends of a histogram's buckets, in seconds."""
    return _BOUNDS


_BOUNDS = tuple(ns * 1e-9 for ns in _core.histogram_bounds())


@dataclasses.dataclass(frozen=True, slots=True)
class Histogram:
    """How long something took, in seconds, each duration known to an eighth.

    The buckets are those of HdrHistogram (Gil Tene): every power of two is cut into
    eight equal parts. `a + b` merges two, `after - before` is what came in between.

    Attributes:
        count: How often it happened; for what is sampled, an estimate.
        sum: All durations together.
        max: The longest one timed.
        counts: How often, by bucket; `bounds()` has their upper ends.
    """

    count: int
    sum: float
    max: float
    counts: tuple[int, ...]

    def quantile(self, q: float) -> float:
        """Return a duration that the share `q` (0 to 1) did not exceed; 0.0 if none.

        It is the upper end of that one's bucket, at most an eighth too long.
        """
        if not 0 <= q <= 1:
            raise ValueError(f"a quantile of {q}: must be between 0 and 1")
        if self.count == 0:
            return 0.0
        sums = list(itertools.accumulate(self.counts))
        place = bisect.bisect_left(sums, max(q * self.count, 1))
        return min(_BOUNDS[min(place, len(_BOUNDS) - 1)], self.max)

    @property
    def p50(self) -> float:
        """The median."""
        return self.quantile(0.5)

    @property
    def p99(self) -> float:
        """What 99 of 100 did not exceed."""
        return self.quantile(0.99)

    @property
    def p999(self) -> float:
        """What 999 of 1000 did not exceed."""
        return self.quantile(0.999)

    @property
    def mean(self) -> float:
        """The average; 0.0 if there is none."""
        return self.sum / self.count if self.count else 0.0

    def __add__(self, other: Histogram) -> Histogram:
        """Merge the two."""
        return Histogram(
            self.count + other.count,
            self.sum + other.sum,
            max(self.max, other.max),
            tuple(a + b for a, b in zip(self.counts, other.counts, strict=True)),
        )

    def __sub__(self, other: Histogram) -> Histogram:
        """Return what has come since `other`, an earlier state of the same one.

        The longest of those is known to an eighth, too.
        """
        counts = tuple(
            max(a - b, 0) for a, b in zip(self.counts, other.counts, strict=True)
        )
        last = max((i for i, held in enumerate(counts) if held), default=None)
        longest = 0.0 if last is None else min(_BOUNDS[last], self.max)
        return Histogram(sum(counts), max(self.sum - other.sum, 0.0), longest, counts)

    def __repr__(self) -> str:
        """Tell the figures without the buckets."""
        return (
            f"<lsmkv.Histogram count={self.count} p50={self.p50:.3g}s "
            f"p99={self.p99:.3g}s p999={self.p999:.3g}s max={self.max:.3g}s>"
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Family:
    """Samples of one name.

    Attributes:
        name: Without the prefix; of a counter, without its suffix.
        kind: "counter", "gauge" or "histogram".
        help: What it is.
        samples: (suffix, labels, value) of each.
    """

    name: str
    kind: str
    help: str
    samples: list[tuple[str, dict[str, str], float]]


def families(
    cls: type, prefix: str, rows: Iterable[tuple[dict[str, str], object]]
) -> Iterator[Family]:
    """Make a family of every number in the fields of `cls`, of one sample for a row."""
    held = list(rows)
    for field in dataclasses.fields(cls):
        kind = field.metadata.get("kind")
        if kind is None:
            continue
        name = field.metadata["name"] or field.name.removesuffix("_count")
        if kind == "gauge":
            name = field.name
        scale = field.metadata["scale"]
        yield Family(
            prefix + name,
            kind,
            field.metadata["help"],
            [("", labels, getattr(row, field.name) * scale) for labels, row in held],
        )


def histogram_family(rows: Mapping[str, Histogram]) -> Family:
    """Make the family of the latencies, cumulative, of one bucket per octave."""
    samples: list[tuple[str, dict[str, str], float]] = []
    for name, histogram in rows.items():
        sums = list(itertools.accumulate(histogram.counts))
        for exponent in range(_FIRST_EXPONENT, _LAST_EXPONENT + 1):
            bound = 2**exponent * 1e-9
            below = sums[(exponent - 2) * BUCKETS_PER_OCTAVE - 1]
            labels = {"operation": name, "le": _number(bound)}
            samples.append(("_bucket", labels, below))
        total = sums[-1] if sums else 0
        samples.append(("_bucket", {"operation": name, "le": "+Inf"}, total))
        samples.append(("_sum", {"operation": name}, histogram.sum))
        samples.append(("_count", {"operation": name}, total))
    text = "How long it took: " + "; ".join(f"{k}: {v}" for k, v in LATENCIES.items())
    return Family("latency_seconds", "histogram", text, samples)


def write(parts: Iterable[Family], labels: Mapping[str, str]) -> str:
    """Write families in the text exposition format, with `labels` on every sample."""
    lines = []
    for family in parts:
        suffix = "_total" if family.kind == "counter" else ""
        name = f"lsmkv_{family.name}{suffix}"
        lines.append(f"# HELP {name} {_escape(family.help)}")
        lines.append(f"# TYPE {name} {family.kind}")
        for end, own, value in family.samples:
            merged = {**labels, **own}
            inside = ",".join(f'{key}="{_quote(text)}"' for key, text in merged.items())
            place = f"{{{inside}}}" if inside else ""
            lines.append(f"{name}{end}{place} {_number(value)}")
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else repr(float(value))


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _quote(text: str) -> str:
    return _escape(text).replace('"', '\\"')

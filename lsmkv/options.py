# SPDX-License-Identifier: Apache-2.0
"""The options of a database.

None stands for "as the database remembers it, else the default" in every field. What
shapes the files is remembered by the database, so that a later open need not repeat
it; giving another value later applies to the files written from then on.
"""

from __future__ import annotations

import dataclasses
from typing import Literal, Self, TypedDict

from lsmkv import _base
from lsmkv.errors import InvalidArgumentError

Compression = Literal["none", "zstd"]
Durability = Literal["os", "sync", "interval"]
CachePolicy = Literal["fifo-reinsert"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a database uses memory, disk and threads. All sizes are bytes.

    Attributes:
        memory_bytes: One budget for memtables, block cache and open tables.
            Default 256 MiB.
        memtable_bytes: Writes are gathered in memory up to this size and then written
            out as a table. Larger means fewer, longer flushes and a longer recovery
            after a crash. Default 16 MiB, at most a quarter of memory_bytes.
        block_cache_bytes: Memory for blocks read from files; 0 turns the cache off.
            Default: what memory_bytes leaves.
        max_open_files: Tables kept open at once, at least 16; without `mapping` a
            quarter of them are files of large values. Default 512.
        background_threads: Threads for flush and compaction. Default 2.
        durability: What has happened when a write returns. "os" (the default): the
            operating system has it, so it survives the process, not a power loss.
            "sync": it is on the device; costs one device sync per group of writes.
            "interval": as "os", and a sync every `sync_interval`.
        sync_interval: Seconds between the syncs of "interval". Default 1.0.
        block_bytes: Target size of a data block, the unit of reading and caching;
            remembered. Default 4096.
        bloom_bits_per_key: Filter memory for each key; 10 answers 99 of 100 lookups
            of a missing key without reading; 0 turns filters off; remembered.
            Default 10.
        compression: "none" or "zstd", for tables written from now on; remembered.
            Default "none".
        compression_level: Level of zstd, -7 (fastest) to 22 (smallest); 0 is the
            codec's own default; remembered. Default 0.
        table_bytes: Target size of a table file; remembered. Default 32 MiB.
        level_base_bytes: Size of the first sorted level; remembered. Default 64 MiB.
        level_multiplier: How much larger each next level may be; remembered.
            Default 10.
        l0_compact_trigger: Flushed tables that start a compaction; fewer make reads
            faster and writes costlier; remembered. Default 4.
        blob_threshold_bytes: Values of this size and more are written once: they stay
            in the log, or a file like it, and compactions move pointers. 0 turns
            that off; remembered. Default 1024.
        log_bytes: Size at which a log file ends and the next begins. Default 64 MiB,
            or twice memtable_bytes if that is more.
        mapping: Whether large values are read through memory mappings, which is
            fastest; see "Mappings" in docs/durability.md. Default True.
        stats_interval: Seconds after which the figures of `stats()` and `memory()` are
            written to the file STATS again, if they have changed, for `lsmkv top` and
            others who watch this process; 0: never. Takes some 0.1 ms each time, of a
            thread of its own. Default 1.0.
    """

    memory_bytes: int | None = None
    memtable_bytes: int | None = None
    block_cache_bytes: int | None = None
    max_open_files: int | None = None
    background_threads: int | None = None
    durability: Durability | None = None
    sync_interval: float | None = None
    block_bytes: int | None = None
    bloom_bits_per_key: int | None = None
    compression: Compression | None = None
    compression_level: int | None = None
    table_bytes: int | None = None
    level_base_bytes: int | None = None
    level_multiplier: int | None = None
    l0_compact_trigger: int | None = None
    blob_threshold_bytes: int | None = None
    log_bytes: int | None = None
    mapping: bool | None = None
    stats_interval: float | None = None

    def __post_init__(self) -> None:
        """Check every field that was given."""
        for name, (low, high) in _RANGES.items():
            _check_range(name, getattr(self, name), low, high)
        if self.mapping not in (None, False, True):
            raise TypeError(f"mapping must be a bool, not {self.mapping!r}")
        _check_choice("durability", self.durability, _DURABILITIES)
        _check_choice("compression", self.compression, _COMPRESSIONS)
        _check_interval("sync_interval", self.sync_interval)
        if self.stats_interval != 0 or isinstance(self.stats_interval, bool):
            _check_interval("stats_interval", self.stats_interval)

    @classmethod
    def from_engine(cls, values: dict[str, int]) -> Self:
        """Build the options that the C interface tells, which has resolved them all."""
        return cls(
            durability=_DURABILITIES[values["durability"] - 1],
            compression=_COMPRESSIONS[values["codec"]],
            sync_interval=values["sync_interval_ms"] / 1000,
            stats_interval=values["stats_interval_ms"] / 1000,
            mapping=bool(values["mapping"]),
            **{name: values[_ENGINE_NAMES.get(name, name)] for name in _RANGES},
        )

    def to_engine(self) -> dict[str, int]:
        """Return the fields of the C interface that these options set."""
        values: dict[str, int] = {}
        for name in _RANGES:
            value = getattr(self, name)
            if value is not None:
                values[_ENGINE_NAMES.get(name, name)] = value
        if self.mapping is not None:
            values["mapping"] = int(self.mapping)
        if self.durability is not None:
            values["durability"] = _DURABILITIES.index(self.durability) + 1
        if self.compression is not None:
            values["codec"] = _COMPRESSIONS.index(self.compression)
        if self.sync_interval is not None:
            values["sync_interval_ms"] = round(self.sync_interval * 1000)
        if self.stats_interval is not None:
            values["stats_interval_ms"] = round(self.stats_interval * 1000)
        return values


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NamespaceOptions:
    """What a namespace has of its own, remembered by the database.

    Attributes:
        default_ttl: Seconds that values stay which are put without `ttl=`, or with
            DEFAULT; None: they stay. Default None.
        default_stale: Seconds behind that for which `get_or_compute` and its kin may
            return a value while it is computed anew, where neither they nor the `put`
            that stored it say otherwise by `stale=`; None: 0. Default None.
        blob_threshold_bytes: As in `Options`, for this namespace; None: as the database
            has it.
        compression: As in `Options`; None: as the database has it.
        compression_level: As in `Options`; None: as the database has it.
        max_bytes: The namespace is a cache, and its files take at most 1.05 times these
            bytes, at least 65,536. Reads give the newest value of a key, or nothing
            when it was given up: for space, the oldest and least used first; because
            its bytes are damaged; or in a power failure, which even synced values do
            not survive for certain. A value of more than a 64th raises LimitError.
            Another number can be given later with `alter`, but a namespace is a cache
            from its creation on. None: it is none, and keeps everything.
        policy: Which values of a cache go first. "fifo-reinsert", the only one and the
            default: those written first, but for what was read since it was written.
    """

    default_ttl: float | None = None
    default_stale: float | None = None
    blob_threshold_bytes: int | None = None
    compression: Compression | None = None
    compression_level: int | None = None
    max_bytes: int | None = None
    policy: CachePolicy | None = None

    @classmethod
    def from_engine(cls, values: dict[str, int]) -> Self:
        """Build the options from the fields of the C interface."""
        codec, ttl_ms = values["codec"], values["default_ttl_ms"]
        stale_ms = values["default_stale_ms"]
        threshold, policy = values["blob_threshold_bytes"], values["cache_policy"]
        return cls(
            default_ttl=ttl_ms / 1000 if ttl_ms else None,
            default_stale=stale_ms / 1000 if stale_ms else None,
            blob_threshold_bytes=threshold if threshold >= 0 else None,
            compression=_COMPRESSIONS[codec] if codec >= 0 else None,
            compression_level=values["codec_level"] if codec >= 0 else None,
            max_bytes=values["max_bytes"] or None,
            policy=_POLICIES[policy - 1] if policy else None,
        )

    @staticmethod
    def given_to_engine(given: NamespaceOverrides) -> dict[str, int]:
        """Return the fields of the C interface for the options that were given."""
        unknown = set(given) - set(NamespaceOverrides.__annotations__)
        if unknown:
            raise TypeError(f"a namespace has no option {min(unknown)!r}")
        values: dict[str, int] = {}
        if "ttl" in given and "default_ttl" in given:
            raise TypeError("ttl is default_ttl: give one of them")
        if "ttl" in given:
            values["default_ttl_ms"] = _base.ttl_to_ms(given["ttl"])
        if "default_ttl" in given:
            values["default_ttl_ms"] = _base.ttl_to_ms(given["default_ttl"])
        if "default_stale" in given:
            values["default_stale_ms"] = _base.stale_to_ms(given["default_stale"])
        if "blob_threshold_bytes" in given:
            threshold = given["blob_threshold_bytes"]
            _check_range("blob_threshold_bytes", threshold, 0, 2**30)
            values["blob_threshold_bytes"] = -1 if threshold is None else threshold
        if "compression" in given:
            codec = given["compression"]
            _check_choice("compression", codec, _COMPRESSIONS)
            values["codec"] = -1 if codec is None else _COMPRESSIONS.index(codec)
        if "compression_level" in given:
            level = given["compression_level"]
            _check_range("compression_level", level, *_RANGES["compression_level"])
            values["codec_level"] = 0 if level is None else level
        if "max_bytes" in given:
            max_bytes = given["max_bytes"]
            _check_range("max_bytes", max_bytes, 1, _I63)
            values["max_bytes"] = 0 if max_bytes is None else max_bytes
        if "policy" in given:
            policy = given["policy"]
            _check_choice("policy", policy, _POLICIES)
            values["cache_policy"] = (
                0 if policy is None else _POLICIES.index(policy) + 1
            )
        return values


class NamespaceOverrides(TypedDict, total=False):
    """The fields of `NamespaceOptions` as keyword arguments of `DB.namespace`.

    `ttl` is another name for `default_ttl`.
    """

    default_ttl: float | None
    ttl: float | None
    default_stale: float | None
    blob_threshold_bytes: int | None
    compression: Compression | None
    compression_level: int | None
    max_bytes: int | None
    policy: CachePolicy | None


class Overrides(TypedDict, total=False):
    """The fields of `Options` as keyword arguments of `lsmkv.open`."""

    memory_bytes: int | None
    memtable_bytes: int | None
    block_cache_bytes: int | None
    max_open_files: int | None
    background_threads: int | None
    durability: Durability | None
    sync_interval: float | None
    block_bytes: int | None
    bloom_bits_per_key: int | None
    compression: Compression | None
    compression_level: int | None
    table_bytes: int | None
    level_base_bytes: int | None
    level_multiplier: int | None
    l0_compact_trigger: int | None
    blob_threshold_bytes: int | None
    log_bytes: int | None
    mapping: bool | None
    stats_interval: float | None


# Their places are the numbers of the C interface, where 0 is an unset durability.
_DURABILITIES: tuple[Durability, ...] = ("os", "sync", "interval")
_COMPRESSIONS: tuple[Compression, ...] = ("none", "zstd")
_POLICIES: tuple[CachePolicy, ...] = ("fifo-reinsert",)
_ENGINE_NAMES = {"compression_level": "codec_level"}

_U32 = 2**32 - 1
_I63 = 2**63 - 1

# What the C types hold, and 0 only where it is a value of its own: the engine knows the
# narrower limits, which depend on each other, and refuses them when it is opened.
_RANGES = {
    "memory_bytes": (1, _I63),
    "memtable_bytes": (1, _I63),
    "block_cache_bytes": (0, _I63),
    "max_open_files": (1, _U32),
    "background_threads": (1, _U32),
    "block_bytes": (1, _U32),
    "bloom_bits_per_key": (0, 2**31 - 1),
    "compression_level": (-7, 22),
    "table_bytes": (1, _I63),
    "level_base_bytes": (1, _I63),
    "level_multiplier": (1, _U32),
    "l0_compact_trigger": (1, _U32),
    "blob_threshold_bytes": (0, _I63),
    "log_bytes": (1, _I63),
}


def _check_range(name: str, value: object, low: int, high: int) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {value!r}")
    if not low <= value <= high:
        raise InvalidArgumentError(
            f"{name} is {value}: must be between {low} and {high}"
        )


def _check_interval(name: str, value: object) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be seconds, not {value!r}")
    if not 0.001 <= value <= 3600:
        raise InvalidArgumentError(
            f"{name} is {value!r}: must be between 0.001 and 3600"
        )


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value is not None and value not in choices:
        raise InvalidArgumentError(
            f"{name} is {value!r}: must be one of {', '.join(map(repr, choices))}"
        )

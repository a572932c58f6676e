# SPDX-License-Identifier: Apache-2.0
"""Vectors: namespaces whose values are rows of numbers, written and read as arrays."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, Any, Literal, Self, Unpack, cast

from lsmkv import _namespace, _vectors, arrays
from lsmkv.errors import InvalidArgumentError
from lsmkv.namespace import Namespace
from lsmkv.options import NamespaceOptions, NamespaceOverrides
from lsmkv.ttl import DEFAULT, Ttl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import numpy as np
    import numpy.typing as npt
    from typing_extensions import Buffer

    from lsmkv import _batch, _core, _scan
    from lsmkv.arrays import DType
    from lsmkv.snapshot import Snapshot
    from lsmkv.warm import WarmReport

    Key = Buffer | int
    # Arrays of integers are of many types, of which some are not Iterable.
    Keys = Iterable[Buffer] | Iterable[int] | Any

Metric = Literal["cosine", "dot", "l2"]

# Their places are the numbers of the files, which never change.
_METRICS: tuple[Metric, ...] = ("cosine", "dot", "l2")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class VectorSchema:
    """What the rows of a `Vectors` are; fixed when it is created.

    Attributes:
        dim: Numbers in a row, 1 to 1,048,576.
        dtype: Their type: "float32", "float16", "bfloat16" or "int8".
        metric: How near two of them are, for who searches: "cosine", "dot" or "l2".
    """

    dim: int
    dtype: DType
    metric: Metric

    def __post_init__(self) -> None:
        """Check every field."""
        if isinstance(self.dim, bool) or not isinstance(self.dim, int):
            raise TypeError(f"dim must be an int, not {self.dim!r}")
        if not 1 <= self.dim <= _vectors.DIM_MAX:
            raise InvalidArgumentError(
                f"dim is {self.dim}: must be between 1 and {_vectors.DIM_MAX}"
            )
        for name, value, choices in (
            ("dtype", self.dtype, arrays.DTYPES),
            ("metric", self.metric, _METRICS),
        ):
            if value not in choices:
                raise InvalidArgumentError(
                    f"{name} is {value!r}: must be one of "
                    f"{', '.join(map(repr, choices))}"
                )

    def __str__(self) -> str:
        """Return it as the arguments of `DB.vectors`."""
        return f"dim={self.dim}, dtype={self.dtype!r}, metric={self.metric!r}"

    def _to_engine(self) -> dict[str, int]:
        return {
            "vector_dim": self.dim,
            "vector_dtype": arrays.DTYPES.index(self.dtype),
            "vector_metric": _METRICS.index(self.metric),
        }

    @classmethod
    def _from_engine(cls, name: str, values: dict[str, int]) -> Self:
        if values["vector_dim"] == 0:
            raise InvalidArgumentError(
                f"the namespace {name!r} holds no vectors: it was not made by vectors()"
            )
        return cls(
            dim=values["vector_dim"],
            dtype=arrays.DTYPES[values["vector_dtype"]],
            metric=_METRICS[values["vector_metric"]],
        )


class Vectors:
    """Rows of numbers under keys, in a namespace of their own, made by `DB.vectors`.

    Keys are bytes, or numbers from 0 to 2**64 - 1: a number is the key of its 8 bytes,
    the most significant first, so numbers are in their order. Several keys come as a
    sequence of one kind, or as an array of integers, for which no Python object is made
    for each key.

    Rows come and go as arrays of shape (n, dim): ndarrays, CPU tensors of torch, or
    whatever has DLPack, `__array_interface__` or the buffer protocol. They are of the
    dtype of the space, in C order, and are never converted. bfloat16, which NumPy does
    not have, is taken as uint16, as tensors or as arrays of ml_dtypes, and returned as
    uint16.

    Values of the namespace are the bytes of the rows as they are in memory, so
    snapshots, batches, times to live and checkpoints are those of any namespace.
    Handles may be made as often as you like, and used by any thread.
    """

    __slots__ = ("_namespace", "_row_bytes", "_schema")

    def __init__(self, namespace: _namespace.Namespace) -> None:
        """Take a namespace that was made for vectors; see `DB.vectors`."""
        self._namespace = cast("Namespace", namespace)
        self._schema = VectorSchema._from_engine(namespace.name, namespace._options())
        self._row_bytes = self._schema.dim * arrays.item_bytes(self._schema.dtype)

    @classmethod
    def _open(
        cls,
        db: _core.DB,
        name: str,
        schema: dict[str, Any],
        how: dict[str, int],
        options: NamespaceOverrides,
    ) -> Self:
        """Find or make it: schema as given, None where it was not."""
        wanted = NamespaceOptions.given_to_engine(options) | how
        given = {key: value for key, value in schema.items() if value is not None}
        try:
            space = _namespace.Namespace.__new__(
                Namespace, db, name, wanted | {"create": 0}, None
            )
        except KeyError:
            if not how["create"]:
                raise
            if "dim" not in given:
                raise InvalidArgumentError(
                    f"there are no vectors {name!r} yet: dim= is needed to make them"
                ) from None
            made = VectorSchema(**{"dtype": "float32", "metric": "cosine"} | given)
            wanted |= made._to_engine()
            space = _namespace.Namespace.__new__(Namespace, db, name, wanted, None)
        self = cls(space)
        asked = dataclasses.replace(self._schema, **given)
        if asked != self._schema:
            raise InvalidArgumentError(
                f"the vectors {name!r} have {self._schema}; asked for were {asked}"
            )
        return self

    def __repr__(self) -> str:
        """Tell name, schema and directory."""
        return (
            f"<lsmkv.Vectors {self.name!r} of {self._namespace.path!r}: {self._schema}>"
        )

    @property
    def namespace(self) -> Namespace:
        """The namespace that the rows lie in, as bytes."""
        return self._namespace

    @property
    def name(self) -> str:
        """The name of the namespace."""
        return self._namespace.name

    @property
    def schema(self) -> VectorSchema:
        """What the rows are."""
        return self._schema

    @property
    def dim(self) -> int:
        """Numbers in a row."""
        return self._schema.dim

    @property
    def dtype(self) -> DType:
        """The type of the numbers."""
        return self._schema.dtype

    @property
    def metric(self) -> Metric:
        """How near two rows are, for who searches."""
        return self._schema.metric

    def put_many(
        self,
        keys: Keys,
        array: Any,
        *,
        ttl: Ttl = DEFAULT,
        sync: bool | None = None,
        batch: _batch.Batch | None = None,
    ) -> None:
        """Store row i of the array under key i; of equal keys the last one wins.

        They are one atomic batch, unless that would have more than 1 GiB: then they are
        written in order in as many as it takes, and those written before a failure
        stay. With `batch`, they are added to that one instead, which copies them.

        Args:
            keys: n keys; see the class.
            array: The rows, of shape (n, dim); its bytes, if it is plain bytes.
            ttl: As for `DB.put`, the same for all.
            sync: As for `DB.put`; not with `batch`.
            batch: Where to add the rows, to be written with its other records.

        Raises:
            InvalidArgumentError: Shape, dtype or layout of the array are not those of
                the space, or a number is not from 0 to 2**64 - 1.
        """
        place = arrays.take_keys(keys)
        rows = arrays.take_rows(array, len(place), self.dim, self.dtype)
        data = arrays.as_bytes(rows, len(place), self._row_bytes)
        if batch is None:
            _vectors.put_rows(self._namespace, place, data, ttl=ttl, sync=sync)
        elif sync is not None:
            raise InvalidArgumentError("a batch is synced when it is written")
        else:
            _vectors.add_rows(batch, self._namespace, place, data, ttl=ttl)

    def put(
        self, key: Key, row: Any, *, ttl: Ttl = DEFAULT, sync: bool | None = None
    ) -> None:
        """Store a row, of shape (dim,), under a key; else as `put_many`."""
        found = arrays.take_row(row, self.dim, self.dtype, "the row")
        data = arrays.as_bytes(found.reshape(1, self.dim), 1, self._row_bytes)
        self._namespace.put(arrays.take_key(key), data, ttl=ttl, sync=sync)

    def delete(self, key: Key, *, sync: bool | None = None) -> None:
        """Remove a row; nothing happens if it is not there."""
        self._namespace.delete(arrays.take_key(key), sync=sync)

    def delete_many(self, keys: Keys, *, sync: bool | None = None) -> None:
        """Remove rows as one batch, atomically."""
        self._namespace.delete_many(
            map(arrays.take_key, arrays.each_key(keys)), sync=sync
        )

    def get(self, key: Key, *, snapshot: Snapshot | None = None) -> npt.NDArray[Any]:
        """Return the row of a key, copied, of shape (dim,); KeyError without one.

        InvalidArgumentError if the value has another size than a row.
        """
        rows, _ = self.gather([key], snapshot=snapshot)
        return cast("npt.NDArray[Any]", rows[0])

    def __contains__(self, key: Key) -> bool:
        """Tell whether a key has a row."""
        return arrays.take_key(key) in self._namespace

    def gather(
        self,
        keys: Keys,
        *,
        out: Any = None,
        missing: Any = "raise",
        budget: float | None = None,
        snapshot: Snapshot | None = None,
    ) -> tuple[Any, npt.NDArray[np.bool_]]:
        """Return the rows of n keys, which may repeat, and which of them were found.

        All of them come from one consistent state, each copied once, without the GIL.

        Args:
            keys: See the class.
            out: Where to copy them, and what is returned then: anything that rows may
                come from, if it can be written to, of shape (n, dim); its rows may lie
                apart. None: a new ndarray.
            missing: What a row is that has no value: "raise" (KeyError), "zero", "nan"
                (not for int8), or an array of shape (dim,).
            budget: Seconds; rows that are not in memory by then count as missing, and
                with 0 all that are not in memory now. The last read begun may take
                longer. Values that this process has not read since it opened the
                database count as not in memory. None: no limit.
            snapshot: The state to show.

        Returns:
            The array (n, dim), or `out`, and an array (n,) of bool. After an exception
            some rows of `out` may have been written.

        Raises:
            KeyError: Of the first missing key, with missing="raise".
            InvalidArgumentError: Shape, dtype or layout of `out` are not right, it
                cannot be written to, or a value has another size than a row.
        """
        keys = arrays.hold_keys(keys)
        place = arrays.take_keys(keys)
        count = len(place)
        fill = arrays.take_missing(missing, self.dim, self.dtype)
        rows = arrays.take_out(out, count, self.dim, self.dtype)
        found, flags = arrays.new_flags(count)
        number = _vectors.get_rows(
            self._namespace,
            snapshot,
            place,
            arrays.as_bytes(rows, count, self._row_bytes),
            flags,
            budget=budget,
        )
        if number < count:
            if fill is None:
                raise KeyError(arrays.nth_key(keys, int(found.argmin())))
            rows[~found] = fill
        return rows if out is None else out, found

    def get_or_compute_many(
        self,
        keys: Keys,
        fn_missing: Callable[[list[bytes]], Any],
        *,
        ttl: Ttl = DEFAULT,
        stale: float = 0.0,
    ) -> npt.NDArray[Any]:
        """Return the rows of n keys as a new array, computing those that are missing.

        As `DB.get_or_compute_many`, but for `fn_missing`: it gets keys as bytes, of
        which `ids` makes numbers, and returns their rows as an array of shape (m, dim),
        of any kind that `put_many` takes.
        """
        held = arrays.each_key(keys)

        def compute(missing: list[bytes]) -> list[bytes]:
            return self._to_values(fn_missing(missing), len(missing))

        values = self._namespace.get_or_compute_many(
            map(arrays.take_key, held), compute, ttl=ttl, stale=stale
        )
        return self._to_rows(held, values)

    def _to_values(self, array: Any, count: int) -> list[bytes]:
        rows = arrays.take_rows(array, count, self.dim, self.dtype)
        return [row.tobytes() for row in rows]

    def _to_rows(self, keys: list[Any], values: list[bytes]) -> npt.NDArray[Any]:
        for key, value in zip(keys, values, strict=True):
            self._check_size(key, value)
        data = bytearray().join(values)
        return arrays.take_rows(data, len(values), self.dim, self.dtype)

    def _check_size(self, key: object, value: bytes) -> None:
        if len(value) != self._row_bytes:
            raise InvalidArgumentError(
                f"the value of {key!r} has {len(value)} bytes, a row has "
                f"{self._row_bytes}"
            )

    def keys(
        self, *, snapshot: Snapshot | None = None, **bounds: Unpack[arrays.Bounds]
    ) -> _scan.KeyScan:
        """Iterate over the keys in order, as bytes; arguments as for `DB.keys`.

        `ids` turns those of numbers back into an array.
        """
        return self._namespace.keys(snapshot=snapshot, **bounds)

    def items(
        self,
        *,
        chunk: int = 1024,
        snapshot: Snapshot | None = None,
        **bounds: Unpack[arrays.Bounds],
    ) -> Iterator[tuple[list[bytes], npt.NDArray[Any]]]:
        """Iterate over (keys, rows) in the order of keys, `chunk` rows at a time.

        Shows the state of the first step, or of `snapshot`; bounds as for `DB.items`.
        """
        if chunk < 1:
            raise InvalidArgumentError(f"chunk is {chunk}: must be at least 1")
        scan = self._namespace.items(snapshot=snapshot, **bounds)
        while pairs := list(itertools.islice(scan, chunk)):
            for key, value in pairs:
                self._check_size(key, value)
            data = bytearray().join(value for _, value in pairs)
            yield (
                [key for key, _ in pairs],
                arrays.take_rows(data, len(pairs), self.dim, self.dtype),
            )

    def approximate_count(self, *, snapshot: Snapshot | None = None) -> int:
        """Return about how many rows there are; as `DB.approximate_count`."""
        return self._namespace.approximate_count(snapshot=snapshot)

    def warm(
        self,
        prefix: Buffer | None = None,
        *,
        budget_bytes: int | None = None,
        progress: Callable[[int, int], object] | None = None,
    ) -> WarmReport:
        """Read rows ahead that will be wanted soon; all as for `Namespace.warm`."""
        return self._namespace.warm(
            prefix, budget_bytes=budget_bytes, progress=progress
        )

    @staticmethod
    def ids(keys: Iterable[bytes]) -> npt.NDArray[np.uint64]:
        """Return the numbers that keys of 8 bytes are, as an array of uint64."""
        import numpy as np

        held = list(keys)
        for key in held:
            if len(key) != 8:
                raise InvalidArgumentError(
                    f"{key!r} is no number: it has {len(key)} bytes, not 8"
                )
        return np.frombuffer(b"".join(held), dtype=">u8").astype(np.uint64)

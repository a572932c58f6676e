# SPDX-License-Identifier: Apache-2.0
"""Reading rows of numbers as arrays, from namespaces and from what was published."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal, Self, Unpack, cast

from lsmkv import _vectors, arrays
from lsmkv.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    import numpy.typing as npt
    from typing_extensions import Buffer

    from lsmkv import _namespace, _scan
    from lsmkv.arrays import DType
    from lsmkv.keyspace import Keyspace
    from lsmkv.snapshot import Snapshot

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

    @property
    def row_bytes(self) -> int:
        """The bytes of a row."""
        return self.dim * arrays.item_bytes(self.dtype)

    def _to_engine(self) -> dict[str, int]:
        return {
            "vector_dim": self.dim,
            "vector_dtype": arrays.DTYPES.index(self.dtype),
            "vector_metric": _METRICS.index(self.metric),
        }

    @classmethod
    def _made(cls, dim: int, dtype: DType | None, metric: Metric | None) -> Self:
        """Make a new one, with what is usual where nothing is said."""
        return cls(dim=dim, dtype=dtype or "float32", metric=metric or "cosine")

    @classmethod
    def _from_engine(cls, values: dict[str, int]) -> Self | None:
        """Take the options of a namespace; None if they are of no vectors."""
        if values["vector_dim"] == 0:
            return None
        return cls(
            dim=values["vector_dim"],
            dtype=arrays.DTYPES[values["vector_dtype"]],
            metric=_METRICS[values["vector_metric"]],
        )

    @classmethod
    def _of_namespace(cls, space: _namespace.Namespace) -> Self:
        schema = cls._from_engine(space._options())
        if schema is None:
            raise InvalidArgumentError(
                f"the namespace {space.name!r} holds no vectors: it was not made by "
                f"vectors()"
            )
        return schema


class VectorReader:
    """Rows of numbers under keys: what `Vectors` and `PublishedVectors` have in common.

    Keys are bytes, or numbers from 0 to 2**64 - 1: a number is the key of its 8 bytes,
    the most significant first, so numbers are in their order. Several keys come as a
    sequence of one kind, or as an array of integers, for which no Python object is made
    for each key.

    Rows come and go as arrays of shape (n, dim): ndarrays, CPU tensors of torch, or
    whatever has DLPack, `__array_interface__` or the buffer protocol. They are of the
    dtype of the space, in C order, and are never converted. bfloat16, which NumPy does
    not have, is taken as uint16, as tensors or as arrays of ml_dtypes, and returned as
    uint16.
    """

    __slots__ = ("_expected", "_row_bytes", "_schema", "_space")

    def __init__(
        self, space: Keyspace, schema: VectorSchema, *, checks: bool = False
    ) -> None:
        """Read the rows of `space`; `checks` whether it still has the schema."""
        self._space = space
        self._schema = schema
        self._row_bytes = schema.row_bytes
        self._expected = tuple(schema._to_engine().values()) if checks else None

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

    def get(self, key: Key, *, snapshot: Snapshot | None = None) -> npt.NDArray[Any]:
        """Return the row of a key, copied, of shape (dim,); KeyError without one.

        InvalidArgumentError if the value has another size than a row.
        """
        rows, _ = self.gather([key], snapshot=snapshot)
        return cast("npt.NDArray[Any]", rows[0])

    def __contains__(self, key: Key) -> bool:
        """Tell whether a key has a row."""
        return arrays.take_key(key) in self._space

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
            self._space,
            snapshot,
            place,
            arrays.as_bytes(rows, count, self._row_bytes),
            flags,
            budget=budget,
            expected=self._expected,
        )
        if number < count:
            if fill is None:
                raise KeyError(arrays.nth_key(keys, int(found.argmin())))
            rows[~found] = fill
        return rows if out is None else out, found

    def keys(
        self, *, snapshot: Snapshot | None = None, **bounds: Unpack[arrays.Bounds]
    ) -> _scan.KeyScan:
        """Iterate over the keys in order, as bytes; arguments as for `DB.keys`.

        `ids` turns those of numbers back into an array.
        """
        return self._space.keys(snapshot=snapshot, **bounds)

    def approximate_count(self, *, snapshot: Snapshot | None = None) -> int:
        """Return about how many rows there are; as `DB.approximate_count`."""
        return self._space.approximate_count(snapshot=snapshot)

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

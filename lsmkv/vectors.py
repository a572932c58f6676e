# SPDX-License-Identifier: Apache-2.0
"""Vectors: namespaces whose values are rows of numbers, written and read as arrays."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, Any, Self, Unpack, cast

from lsmkv import _namespace, _vectors, arrays
from lsmkv.errors import InvalidArgumentError
from lsmkv.namespace import Namespace
from lsmkv.options import NamespaceOptions, NamespaceOverrides
from lsmkv.ttl import DEFAULT, Stale, Ttl
from lsmkv.vector_reader import VectorReader, VectorSchema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt
    from typing_extensions import Buffer

    from lsmkv import _batch, _core
    from lsmkv.snapshot import Snapshot
    from lsmkv.vector_reader import Key, Keys
    from lsmkv.warm import WarmReport


class Vectors(VectorReader):
    """Rows of numbers under keys, in a namespace of their own, made by `DB.vectors`.

    What keys and rows may be is told in `VectorReader`, which has the reading methods.

    Values of the namespace are the bytes of the rows as they are in memory, so
    snapshots, batches, times to live and checkpoints are those of any namespace.
    Handles may be made as often as you like, and used by any thread.

    What else is known of a row goes best under the same key into a second namespace, in
    the same batch (`put_many(..., batch=batch)`): it comes, expires and goes with the
    row, has a codec that suits it, can be read and changed without the row, and a
    gather passes over none of it.
    """

    __slots__ = ()

    def __init__(self, namespace: _namespace.Namespace) -> None:
        """Take a namespace that was made for vectors; see `DB.vectors`."""
        super().__init__(
            cast("Namespace", namespace), VectorSchema._of_namespace(namespace)
        )

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
            wanted |= VectorSchema._made(**schema)._to_engine()
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
        return f"<lsmkv.Vectors {self.name!r} of {self._space.path!r}: {self._schema}>"

    @property
    def namespace(self) -> Namespace:
        """The namespace that the rows lie in, as bytes."""
        return cast("Namespace", self._space)

    @property
    def name(self) -> str:
        """The name of the namespace."""
        return self.namespace.name

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
        place, data = arrays.take_table(keys, array, self.dim, self.dtype)
        if batch is None:
            _vectors.put_rows(self._space, place, data, ttl=ttl, sync=sync)
        elif sync is not None:
            raise InvalidArgumentError("a batch is synced when it is written")
        else:
            _vectors.add_rows(batch, self._space, place, data, ttl=ttl)

    def put(
        self, key: Key, row: Any, *, ttl: Ttl = DEFAULT, sync: bool | None = None
    ) -> None:
        """Store a row, of shape (dim,), under a key; else as `put_many`."""
        found = arrays.take_row(row, self.dim, self.dtype, "the row")
        data = arrays.as_bytes(found.reshape(1, self.dim), 1, self._row_bytes)
        self._space.put(arrays.take_key(key), data, ttl=ttl, sync=sync)

    def delete(self, key: Key, *, sync: bool | None = None) -> None:
        """Remove a row; nothing happens if it is not there."""
        self._space.delete(arrays.take_key(key), sync=sync)

    def delete_many(self, keys: Keys, *, sync: bool | None = None) -> None:
        """Remove rows as one batch, atomically."""
        self._space.delete_many(map(arrays.take_key, arrays.each_key(keys)), sync=sync)

    def get_or_compute_many(
        self,
        keys: Keys,
        fn_missing: Callable[[list[bytes]], Any],
        *,
        ttl: Ttl = DEFAULT,
        stale: Stale = DEFAULT,
    ) -> npt.NDArray[Any]:
        """Return the rows of n keys as a new array, computing those that are missing.

        As `DB.get_or_compute_many`, but for `fn_missing`: it gets keys as bytes, of
        which `ids` makes numbers, and returns their rows as an array of shape (m, dim),
        of any kind that `put_many` takes.
        """
        held = arrays.each_key(keys)

        def compute(missing: list[bytes]) -> list[bytes]:
            return self._to_values(fn_missing(missing), len(missing))

        values = self._space.get_or_compute_many(
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
        scan = self._space.items(snapshot=snapshot, **bounds)
        while pairs := list(itertools.islice(scan, chunk)):
            for key, value in pairs:
                self._check_size(key, value)
            data = bytearray().join(value for _, value in pairs)
            yield (
                [key for key, _ in pairs],
                arrays.take_rows(data, len(pairs), self.dim, self.dtype),
            )

    def warm(
        self,
        prefix: Buffer | None = None,
        *,
        budget_bytes: int | None = None,
        progress: Callable[[int, int], object] | None = None,
    ) -> WarmReport:
        """Read rows ahead that will be wanted soon; all as for `Namespace.warm`."""
        return self.namespace.warm(prefix, budget_bytes=budget_bytes, progress=progress)

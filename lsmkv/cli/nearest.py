# SPDX-License-Identifier: Apache-2.0
"""The rows nearest to one, found by comparing it with all, some at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lsmkv.cli.command import CommandError

if TYPE_CHECKING:
    import numpy.typing as npt

    from lsmkv.vector_reader import VectorSchema

_CHUNK_BYTES, _CHUNK_ROWS = 8 << 20, 1 << 14
TITLES = {"cosine": "cosine", "dot": "dot product", "l2": "distance"}


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A row that is near.

    Attributes:
        key: Its key.
        value: The cosine, the dot product, or the distance.
    """

    key: bytes
    value: float


class Search:
    """Keeps the nearest of the rows that it is given; never more than those."""

    def __init__(
        self, schema: VectorSchema, key: bytes, row: bytes, count: int
    ) -> None:
        """Look for the `count` nearest to a row, without the one of its own key."""
        try:
            import numpy as np
        except ImportError as error:
            raise CommandError(f"{error}: --nearest needs pip install numpy") from error
        self._np = np
        self._schema = schema
        self._key = key
        self._count = count
        self._scores = np.empty(0)  # the larger the nearer
        self._keys: list[bytes] = []
        self.searched = 0
        dtype = "<u2" if schema.dtype == "bfloat16" else schema.dtype
        self._row = self._floats(np.frombuffer(row, dtype).reshape(1, -1))[0]

    @property
    def chunk_rows(self) -> int:
        """How many rows to give at a time."""
        return min(max(_CHUNK_BYTES // self._schema.row_bytes, 1), _CHUNK_ROWS)

    def _floats(self, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        np = self._np
        if self._schema.dtype == "bfloat16":
            rows = (rows.astype(np.uint32) << 16).view(np.float32)
        return rows.astype(np.float32, copy=False)

    def _score(self, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        np, metric = self._np, self._schema.metric
        with np.errstate(all="ignore"):
            if metric == "l2":
                scores = -np.linalg.norm(rows - self._row, axis=1)
            else:
                scores = rows @ self._row
            if metric == "cosine":
                norms = np.linalg.norm(rows, axis=1)
                scores = scores / (norms * np.linalg.norm(self._row))
        # A row of zeros has no direction; what is no number is near to nothing.
        found: npt.NDArray[Any] = np.nan_to_num(scores.astype(np.float64), nan=-np.inf)
        return found

    def add(self, keys: list[bytes], rows: npt.NDArray[Any]) -> None:
        """Compare some rows, which come in the order of their keys."""
        np = self._np
        scores = self._score(self._floats(rows))
        if self._key in keys:
            scores[keys.index(self._key)] = -np.inf
        self.searched += len(keys)
        together = np.concatenate((self._scores, scores))
        # Stable: of those as near the first keys stay.
        best = np.argsort(-together, kind="stable")[: self._count]
        best = best[together[best] > -np.inf]
        known = len(self._keys)
        self._keys = [
            self._keys[i] if i < known else keys[i - known] for i in best.tolist()
        ]
        self._scores = together[best]

    def found(self) -> list[Neighbour]:
        """Return the nearest of all that were given, the nearest first."""
        sign = -1 if self._schema.metric == "l2" else 1
        return [
            Neighbour(key, sign * score)
            for key, score in zip(self._keys, self._scores.tolist(), strict=True)
        ]

# SPDX-License-Identifier: Apache-2.0
"""Goal: rows come back as NumPy has them, and what is no such row is refused in words.

Method: for every dtype and many shapes, the same rows in the database and in an
ndarray, gathered in ways that a model of ndarrays repeats. Objects that look like
tensors stand in for those of torch, which may be absent.
"""

from __future__ import annotations

import array
import ctypes
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import lsmkv
from lsmkv.arrays import DTYPES, DType, numpy_dtype

Array = npt.NDArray[Any]
SEED = 20261122


def make(count: int, dim: int, dtype: DType, seed: int = SEED) -> Array:
    """Return rows of any bits, NaNs and infinities included."""
    wanted = numpy_dtype(dtype)
    data = np.random.default_rng(seed).bytes(count * dim * wanted.itemsize)
    return np.frombuffer(data, wanted).reshape(count, dim)


def same(found: Any, expected: Any) -> bool:
    """Whether two arrays have the same shape, dtype and bits."""
    one, two = np.ascontiguousarray(found), np.ascontiguousarray(expected)
    return (
        one.shape == two.shape
        and one.dtype == two.dtype
        and one.tobytes() == two.tobytes()
    )


def fill(
    db: lsmkv.DB, dim: int = 5, dtype: DType = "float32", count: int = 10
) -> tuple[lsmkv.Vectors, Array]:
    """Make vectors "v" with rows 0 to count - 1."""
    space = db.vectors("v", dim=dim, dtype=dtype)
    rows = make(count, dim, dtype)
    space.put_many(np.arange(count), rows)
    return space, rows


class Device:
    """What a tensor lies on."""

    def __init__(self, kind: str) -> None:
        self.type = kind

    def __str__(self) -> str:
        return self.type


class Tensor:
    """What of a tensor the library looks at, over the memory of an ndarray."""

    def __init__(self, memory: Array, dtype: str, device: str = "cpu") -> None:
        self._memory = memory
        self.dtype = f"torch.{dtype}"
        self.shape = memory.shape
        self.device = Device(device)

    def is_contiguous(self) -> bool:
        return self._memory.flags.c_contiguous

    def data_ptr(self) -> int:
        return self._memory.ctypes.data

    def __del__(self) -> None:
        if self._memory.flags.writeable:
            self._memory.fill(99)  # as whoever has the memory next may do


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dim", [1, 2, 3, 7, 64, 127, 255, 257, 768])
def test_rows_are_those_of_numpy(db: lsmkv.DB, dtype: DType, dim: int) -> None:
    rng = np.random.default_rng([SEED, dim])
    count = 1100
    space, rows = fill(db, dim, dtype, count)
    keys = rng.integers(0, count, 2500)
    for _ in range(2):
        found, flags = space.gather(keys)
        assert same(found, rows[keys])
        assert flags.dtype == np.bool_
        assert flags.all()
        out = np.empty_like(rows)
        assert space.gather(np.arange(count), out=out)[0] is out
        assert same(out, rows)
        db.flush()
        db.compact()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_row_may_have_65536_numbers(db: lsmkv.DB, dtype: DType) -> None:
    space, rows = fill(db, 65536, dtype, 4)
    assert same(space.gather([3, 0, 3])[0], rows[[3, 0, 3]])


def test_few_keys_or_none(db: lsmkv.DB) -> None:
    space, rows = fill(db)
    empty: list[Any] = [[], (), np.empty(0, np.uint64), iter(())]
    for none in empty:
        found, flags = space.gather(none)
        assert found.shape == (0, 5)
        assert flags.shape == (0,)
    space.put_many([], np.empty((0, 5), np.float32))
    space.put_many(np.empty(0, np.int64), Tensor(np.empty((0, 5), "f4"), "float32"))
    space.delete_many([])
    assert space.approximate_count() == 10
    assert same(space.gather([4])[0], rows[4:5])


def test_the_last_of_equal_keys_wins_and_reading_may_repeat(db: lsmkv.DB) -> None:
    space = db.vectors("v", dim=2)
    rows = make(3, 2, "float32")
    space.put_many([7, 7, 7], rows)
    assert same(space.gather([7, 7])[0], rows[[2, 2]])


def test_missing_rows_are_what_was_asked_for(db: lsmkv.DB) -> None:
    space, rows = fill(db)
    keys = [2, 99, 3, 2**64 - 1]
    with pytest.raises(KeyError, match="99"):
        space.gather(keys)
    with pytest.raises(KeyError, match="b'no'"):
        space.gather([b"no"])
    with pytest.raises(KeyError, match="99"):
        space.gather(np.array([1, 99]))
    other = np.arange(5, dtype=np.float32)
    for missing, expected in (("zero", 0), ("nan", np.nan), (other, other)):
        found, flags = space.gather(keys, missing=missing)
        assert flags.tolist() == [True, False, True, False]
        assert same(found[flags], rows[[2, 3]])
        assert np.array_equal(
            found[~flags], np.broadcast_to(expected, (2, 5)), equal_nan=True
        )
    for wrong in ("none", other[:4], other.astype(np.float64)):
        with pytest.raises(lsmkv.InvalidArgumentError, match="missing"):
            space.gather(keys, missing=wrong)


def test_missing_rows_of_every_dtype(db: lsmkv.DB) -> None:
    for dtype in DTYPES:
        space = db.vectors(dtype, dim=3, dtype=dtype)
        assert not space.gather([1], missing="zero")[0].any()
        if dtype == "int8":
            with pytest.raises(lsmkv.InvalidArgumentError, match="int8 has no NaN"):
                space.gather([1], missing="nan")
            continue
        found = space.gather([1], missing="nan")[0]
        if dtype == "bfloat16":
            found = (found.astype(np.uint32) << 16).view(np.float32)
        assert np.isnan(found).all()


def test_keys_are_bytes_or_numbers_of_every_kind(db: lsmkv.DB) -> None:
    space, rows = fill(db)
    numbers = [3, 1, 4]
    kinds: list[Any] = [
        numbers,
        tuple(numbers),
        (number for number in numbers),
        array.array("Q", numbers),
        memoryview(array.array("L", numbers)),
        [number.to_bytes(8, "big") for number in numbers],
        [bytearray(number.to_bytes(8, "big")) for number in numbers],
        [np.int64(number) for number in numbers],
        Tensor(np.array(numbers), "int64"),
        np.array([3, 0, 1, 0, 4])[::2],
    ]
    kinds += [np.array(numbers, dtype) for dtype in "bBhHiIlLqQ"]
    for keys in kinds:
        assert same(space.gather(keys)[0], rows[numbers]), keys
    assert same(space.gather(range(2, 8, 2))[0], rows[2:8:2])
    last = 2**64 - 1
    space.put(last, rows[0])
    assert same(space.get(last), rows[0])
    assert last in space
    assert last.to_bytes(8, "big") in space
    assert last - 1 not in space
    assert list(space.keys())[-1] == b"\xff" * 8
    assert space.ids(space.keys()).tolist() == [*range(10), last]
    space.put_many([b"a", b""], rows[:2])
    assert same(space.gather([b"", b"a"])[0], rows[1::-1])
    with pytest.raises(lsmkv.InvalidArgumentError, match="is no number"):
        space.ids(space.keys())


@pytest.mark.parametrize(
    ("keys", "error", "words"),
    [
        ([1, -2], lsmkv.InvalidArgumentError, "-2 cannot be a key"),
        ([2**64], lsmkv.InvalidArgumentError, "18446744073709551616 cannot be a key"),
        (np.array([5, -3, 1]), lsmkv.InvalidArgumentError, "-3 cannot be a key"),
        (np.array([1.5]), lsmkv.InvalidArgumentError, "dtype float64"),
        (np.array([[1]]), lsmkv.InvalidArgumentError, r"shape \(1, 1\)"),
        (b"one key", TypeError, "not one bytes"),
        ("word", TypeError, "not one str"),
        (["word"], TypeError, "keys and values are bytes"),
        ([1, b"a"], TypeError, "bytes"),
        ([b"a", 1], TypeError, "int"),
    ],
)
def test_what_is_no_key_is_refused(
    db: lsmkv.DB, keys: Any, error: type[Exception], words: str
) -> None:
    space, _ = fill(db)
    with pytest.raises(error, match=words):
        space.gather(keys)
    with pytest.raises(error, match=words):
        space.put_many(keys, np.zeros((len(keys), 5), np.float32))


def test_rows_come_in_any_array_of_the_dtype(db: lsmkv.DB) -> None:
    space = db.vectors("v", dim=3)
    rows = make(4, 3, "float32")

    class Interface:
        __array_interface__ = rows.__array_interface__

    class Exchange:
        __dlpack__ = rows.__dlpack__
        __dlpack_device__ = rows.__dlpack_device__

    flat = array.array("f", rows.tobytes())
    for i, kind in enumerate(
        (
            rows,
            memoryview(rows.data),
            rows.tobytes(),
            bytearray(rows.tobytes()),
            flat,
            Tensor(rows, "float32"),
            Interface(),
            Exchange(),
            rows[:2].repeat(2, axis=0)[::1],
        )
    ):
        space.put_many(range(i * 4, i * 4 + 4), kind)
        found = space.gather(range(i * 4, i * 4 + 4))[0]
        assert same(found, rows[[0, 0, 1, 1]] if i == 8 else rows), i
    space.put(b"one", rows[2].tobytes())
    assert same(space.get(b"one"), rows[2])
    space.put(b"one", Tensor(rows[1], "float32"))
    assert same(space.get(b"one"), rows[1])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (np.zeros((4, 3)), "dtype float64: expected float32"),
        (np.zeros((4, 3), ">f4"), "dtype >f4: expected float32"),
        (np.zeros((4, 4), "f4"), r"shape \(4, 4\): expected \(4, 3\)"),
        (np.zeros((3, 3), "f4"), r"shape \(3, 3\): expected \(4, 3\)"),
        (np.zeros(12, "f4"), r"shape \(12,\): expected \(4, 3\)"),
        (np.zeros((4, 3, 1), "f4"), r"shape \(4, 3, 1\): expected \(4, 3\)"),
        (np.zeros((4, 3), "f4", order="F"), "strides of"),
        (np.zeros((8, 3), "f4")[::2], "strides of"),
        (bytes(47), "dtype uint8"),
        (bytes(60), r"expected \(4, 3\)"),
        (Tensor(np.zeros((4, 3), "f4", order="F"), "float32"), "not contiguous"),
        (Tensor(np.zeros((4, 3), "f4"), "float32", "cuda:0"), "is on cuda:0"),
        (Tensor(np.zeros((4, 3), "f2"), "float16"), "dtype float16: expected float32"),
    ],
)
def test_what_are_no_rows_is_refused(db: lsmkv.DB, given: Any, words: str) -> None:
    space = db.vectors("v", dim=3)
    with pytest.raises(lsmkv.InvalidArgumentError, match=words):
        space.put_many(range(4), given)
    assert space.approximate_count() == 0
    for wrong in ([[1.0] * 3] * 4, object(), "text"):
        with pytest.raises(TypeError, match="must be an array"):
            space.put_many(range(4), wrong)
    with pytest.raises(lsmkv.InvalidArgumentError, match="the row has shape"):
        space.put(1, np.zeros(4, np.float32))
    with pytest.raises(lsmkv.InvalidArgumentError, match="a stride of"):
        space.put(1, np.zeros(6, np.float32)[::2])


def test_rows_go_into_any_array_that_can_be_written(db: lsmkv.DB) -> None:
    space, rows = fill(db)
    keys = [9, 0, 4]
    expected = rows[keys]
    wide = np.full((3, 8), 7, np.float32)
    for out in (
        np.empty((3, 5), np.float32),
        bytearray(60),
        memoryview(bytearray(60)),
        array.array("f", bytes(60)),
        (ctypes.c_float * 5 * 3)(),
        np.empty((6, 5), np.float32)[::2],
        wide[:, 1:6],
    ):
        assert space.gather(keys, out=out)[0] is out
        assert bytes(np.ascontiguousarray(out)) == expected.tobytes()
    assert (wide[:, [0, 6, 7]] == 7).all()
    memory = np.empty((3, 5), np.float32)
    tensor = Tensor(memory, "float32")
    assert space.gather(keys, out=tensor)[0] is tensor
    assert same(memory, expected)
    space.gather([9, 77], out=memory[:2], missing="zero")
    assert not memory[1].any()


@pytest.mark.parametrize(
    ("out", "words"),
    [
        (bytes(60), "out is read-only"),
        (np.broadcast_to(np.float32(0), (3, 5)), "out is read-only"),
        (np.empty((3, 5)), "out has dtype float64: expected float32"),
        (np.empty((4, 5), "f4"), r"out has shape \(4, 5\): expected \(3, 5\)"),
        (np.empty((3, 10), "f4")[:, ::2], "each row must be in one piece"),
        (np.empty((3, 5), "f4")[::-1], "each row must be in one piece"),
        (np.empty((5, 3), "f4").T, "each row must be in one piece"),
        (bytearray(59), "out has dtype uint8"),
    ],
)
def test_what_rows_cannot_go_into_is_refused(
    db: lsmkv.DB, out: Any, words: str
) -> None:
    space, _ = fill(db)
    with pytest.raises(lsmkv.InvalidArgumentError, match=words):
        space.gather([1, 2, 3], out=out)


def test_rows_of_one_number_may_lie_apart(db: lsmkv.DB) -> None:
    space, rows = fill(db, dim=1)
    out = np.empty((3, 4), np.float32)[:, 2:3]
    space.gather([1, 2, 3], out=out)
    assert same(out, rows[1:4])


def test_bfloat16_comes_as_bits_or_tensors(db: lsmkv.DB) -> None:
    space, rows = fill(db, dtype="bfloat16")
    assert rows.dtype == np.uint16
    assert space.get(3).dtype == np.uint16
    space.put_many(range(10), Tensor(rows[::-1].copy(), "bfloat16"))
    memory = np.empty((10, 5), np.uint16)
    out = Tensor(memory, "bfloat16")
    space.gather(range(10), out=out)
    assert same(memory, rows[::-1])
    with pytest.raises(lsmkv.InvalidArgumentError, match="uint16 for its bits"):
        space.put_many(range(10), rows.view(np.float16))


def test_bfloat16_of_ml_dtypes(db: lsmkv.DB) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed")
    space, rows = fill(db, dtype="bfloat16")
    given = rows[::-1].copy().view(ml_dtypes.bfloat16)
    space.put_many(range(10), given)
    out = np.empty_like(given)
    space.gather(range(10), out=out)
    assert same(out.view(np.uint16), rows[::-1])


def test_tensors_of_torch(db: lsmkv.DB) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    for name in DTYPES:
        space = db.vectors(name, dim=3, dtype=name)
        rows = torch.arange(12).reshape(4, 3).to(getattr(torch, name))
        space.put_many(torch.arange(4), rows)
        out = torch.empty_like(rows)
        space.gather(torch.arange(4), out=out)
        assert torch.equal(out, rows)


def test_a_tensor_that_nobody_else_holds_lives_as_long_as_it_is_used(
    db: lsmkv.DB,
) -> None:
    space = db.vectors("v", dim=2)
    ids = [5, 6, 7]

    def tensor(numbers: object, dtype: str) -> Tensor:
        kind = "i8" if dtype == "int64" else dtype
        return Tensor(np.array(numbers, kind), dtype)

    rows = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    space.put_many(tensor(ids, "int64"), tensor(rows, "float32"))
    assert space.gather(tensor(ids, "int64"))[0].tolist() == rows
    assert space.gather(ids)[0].tolist() == rows
    default = tensor([8.0, 9.0], "float32")
    assert space.gather([1], missing=default)[0].tolist() == [[8.0, 9.0]]


def test_a_tensor_whose_numbers_are_not_in_its_memory_is_refused(db: lsmkv.DB) -> None:
    space = db.vectors("v", dim=2)
    lazy = Tensor(np.ones((1, 2), "f4"), "float32")
    lazy.is_neg = lambda: True  # type: ignore[attr-defined]
    with pytest.raises(lsmkv.InvalidArgumentError, match="resolve_neg"):
        space.put_many([1], lazy)


def test_what_they_are_persists(path: Path) -> None:
    expected = lsmkv.VectorSchema(dim=7, dtype="int8", metric="l2")
    with lsmkv.open(path) as db:
        space = db.vectors("v", dim=7, dtype="int8", metric="l2", default_ttl=60)
        rows = make(3, 7, "int8")
        space.put_many(range(3), rows)
        assert db.vectors("other", dim=2).schema == lsmkv.VectorSchema(
            dim=2, dtype="float32", metric="cosine"
        )
    with lsmkv.open(path) as db:
        space = db.vectors("v")
        assert space.schema == expected
        assert (space.dim, space.dtype, space.metric) == (7, "int8", "l2")
        assert space.namespace.options.default_ttl == 60
        assert same(space.gather(range(3))[0], rows)
        assert db.vectors("v", dim=7, metric="l2").schema == expected
        db.vectors("v", default_ttl=None, alter=True)
        assert db.vectors("v").schema == expected
        assert "'v'" in repr(space)
        assert "dim=7, dtype='int8', metric='l2'" in repr(space)


def test_another_kind_of_vectors_is_refused(db: lsmkv.DB) -> None:
    db.vectors("v", dim=7)
    db.namespace("plain")
    for other in ({"dim": 8}, {"dtype": "int8"}, {"dim": 7, "metric": "dot"}):
        with pytest.raises(lsmkv.InvalidArgumentError) as caught:
            db.vectors("v", alter=True, **other)
        asked = str(db.vectors("v").schema)
        assert f"have {asked}" in str(caught.value)
        for name, value in other.items():
            assert f"{name}={value!r}" in str(caught.value).partition("asked")[2]
    with pytest.raises(lsmkv.InvalidArgumentError, match="'plain' holds no vectors"):
        db.vectors("plain", dim=7)
    with pytest.raises(KeyError, match="absent"):
        db.vectors("absent", dim=7, create=False)
    with pytest.raises(lsmkv.InvalidArgumentError, match="dim= is needed"):
        db.vectors("absent")
    for wrong in ({"dim": 0}, {"dim": 2**20 + 1}, {"dim": 1, "dtype": "float64"}):
        with pytest.raises(lsmkv.InvalidArgumentError, match="must be"):
            db.vectors("absent", **wrong)
    for not_int in (1.0, "3", True):
        with pytest.raises(TypeError, match="dim must be an int"):
            db.vectors("absent", dim=not_int)  # type: ignore[arg-type]
    assert "absent" not in db.namespaces()


def test_times_to_live_batches_and_snapshots_are_those_of_any_value(
    db: lsmkv.DB,
) -> None:
    space, rows = fill(db)
    later = make(10, 5, "float32", SEED + 1)
    with db.snapshot() as snapshot:
        batch = lsmkv.WriteBatch()
        space.put_many(range(5), later[:5], batch=batch)
        batch.delete((9).to_bytes(8, "big"), namespace=space.namespace)
        assert same(space.gather(range(10))[0], rows)
        db.write(batch)
        now, flags = space.gather(range(10), missing="zero")
        assert flags.tolist() == [True] * 9 + [False]
        assert same(now[:9], np.concatenate([later[:5], rows[5:9]]))
        assert same(space.gather(range(10), snapshot=snapshot)[0], rows)
        assert same(space.get(0, snapshot=snapshot), rows[0])
        space.delete(0)
        space.delete_many([1, (2).to_bytes(8, "big")])
        space.delete_many(np.array([3]))
        assert space.gather(range(5), missing="zero")[1].tolist() == [False] * 4 + [
            True
        ]
        assert len(list(space.keys(snapshot=snapshot))) == 10
    space.put_many([50, 51], rows[:2], ttl=1000)
    assert space.gather([50, 51])[1].all()
    space.put_many([50, 51], rows[:2], ttl=0.05)
    time.sleep(0.06)
    assert not space.gather([50, 51], missing="zero")[1].any()
    with pytest.raises(lsmkv.InvalidArgumentError, match="a batch is synced"):
        space.put_many([1], rows[:1], batch=batch, sync=True)


def test_items_are_chunks_in_order(db: lsmkv.DB) -> None:
    space, rows = fill(db, count=25)
    chunks = list(space.items(chunk=10))
    assert [len(keys) for keys, _ in chunks] == [10, 10, 5]
    assert same(np.concatenate([part for _, part in chunks]), rows)
    assert space.ids(key for keys, _ in chunks for key in keys).tolist() == list(
        range(25)
    )
    assert chunks[0][1].flags.writeable
    start = (20).to_bytes(8, "big")
    assert same(next(space.items(start=start))[1], rows[20:])
    assert same(next(space.items(reverse=True))[1], rows[::-1])
    with pytest.raises(lsmkv.InvalidArgumentError, match="chunk is 0"):
        next(space.items(chunk=0))


def test_a_value_of_another_size_is_no_row(db: lsmkv.DB) -> None:
    space, _ = fill(db)
    space.namespace.put((5).to_bytes(8, "big"), b"x" * 19)
    with pytest.raises(
        lsmkv.InvalidArgumentError,
        match="the value of key 2 of 3 has 19 bytes, a row has 20",
    ):
        space.gather([3, 4, 5])
    with pytest.raises(lsmkv.InvalidArgumentError, match="has 19 bytes"):
        space.get(5)
    with pytest.raises(lsmkv.InvalidArgumentError, match="has 19 bytes"):
        list(space.items())


def test_a_budget_leaves_out_what_is_not_in_memory(path: Path) -> None:
    with lsmkv.open(path) as db:
        space, rows = fill(db, dim=500)
        db.flush()
    with lsmkv.open(path) as db:
        space = db.vectors("v")
        assert not space.gather(range(10), missing="zero", budget=0)[1].any()
        assert same(space.gather(range(10), budget=3600)[0], rows)
        assert same(space.gather(range(10), budget=0)[0], rows)
        for wrong in (-1, float("nan"), 1e10):
            with pytest.raises(lsmkv.InvalidArgumentError, match="budget is"):
                space.gather([1], budget=wrong)
        with pytest.raises(TypeError, match="budget must be seconds"):
            space.gather([1], budget="1")  # type: ignore[arg-type]


def test_without_a_mapping_and_read_only(path: Path) -> None:
    with lsmkv.open(path, mapping=False) as db:
        space, rows = fill(db, dim=500, count=300)
        db.flush()
        assert same(space.gather(range(300))[0], rows)
    with lsmkv.open(path, mode="r") as db:
        assert same(db.vectors("v").gather(range(300))[0], rows)
        with pytest.raises(lsmkv.ReadOnlyError):
            db.vectors("v").put_many([1], rows[:1])
    with pytest.raises(lsmkv.ClosedError):
        space.gather([1])


def test_importing_the_library_imports_no_numpy() -> None:
    code = (
        "import sys, lsmkv, tempfile\n"
        "assert 'numpy' not in sys.modules\n"
        "with lsmkv.open(tempfile.mkdtemp()) as db:\n"
        "    db.vectors('v', dim=3).approximate_count()\n"
        "assert 'numpy' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_missing_rows_are_computed_once(db: lsmkv.DB) -> None:
    space, rows = fill(db)
    asked: list[list[int]] = []

    def compute(keys: list[bytes]) -> Array:
        numbers = space.ids(keys)
        asked.append(numbers.tolist())
        return np.repeat(numbers.astype(np.float32), 5).reshape(-1, 5)

    for _ in range(2):
        found = space.get_or_compute_many([3, 77, 4, 88], compute)
        assert same(found[[0, 2]], rows[[3, 4]])
        assert (found[1] == 77).all()
        assert (found[3] == 88).all()
    assert asked == [[77, 88]]
    assert space.get_or_compute_many([], compute).shape == (0, 5)
    with pytest.raises(lsmkv.InvalidArgumentError, match=r"shape \(1, 4\)"):
        space.get_or_compute_many([99], lambda _: np.zeros((1, 4), np.float32))
    assert 99 not in space
    space.namespace.put((5).to_bytes(8, "big"), b"x" * 19)
    with pytest.raises(lsmkv.InvalidArgumentError, match="of 5 has 19 bytes"):
        space.get_or_compute_many([5], compute)

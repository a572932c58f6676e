# SPDX-License-Identifier: Apache-2.0
"""Goal: a memoized function returns what the function would, and calls it once.

Method: functions that count their calls; codecs over what hypothesis makes, and over
bytes that no codec made.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_st

import lsmkv
from lsmkv import codecs
from lsmkv.memoize import spell


def test_a_function_is_called_once_for_each_arguments(db: lsmkv.DB) -> None:
    calls: Counter[tuple[Any, ...]] = Counter()

    @db.memoize(ttl=1000)
    def add(a: int, b: int = 2, *more: int, c: Any = None) -> Any:
        """Add."""
        calls[a, b, more, str(c)] += 1
        return [a + b, list(more), c]

    for _ in range(2):
        assert add(1) == add(1, 2) == add(a=1, b=2) == add(b=2, a=1) == [3, [], None]
        assert add(1, 2, 3) == [3, [3], None]
        assert add(1, c={"x": 1, "y": 2}) == add(1, c={"y": 2, "x": 1})
    assert sum(calls.values()) == 3
    assert add.__name__ == "add"  # type: ignore[attr-defined]
    assert add.__doc__ == "Add."
    key = add.key_of(1)
    assert json.loads(db[key]) == [3, [], None]
    assert 900 < (db.ttl(key) or 0) <= 1000
    add.forget(1, b=2)
    assert key not in db
    add(1)
    assert sum(calls.values()) == 4


def test_a_method_takes_a_key_of_its_own(db: lsmkv.DB) -> None:
    cache = db.namespace("cache")

    class Model:
        def __init__(self, name: str) -> None:
            self.name = name
            self.count = 0

        @cache.memoize(key=lambda self, text: f"{self.name}/{text}", codec=codecs.raw)
        def run(self, text: str) -> bytes:
            self.count += 1
            return f"{self.name} says {text}".encode()

        @cache.memoize(key=lambda self, text: f"async/{text}".encode())
        async def arun(self, text: str) -> str:
            self.count += 1
            return text.upper()

        @cache.memoize()
        def without(self, text: str) -> str:
            return text

    one, two = Model("one"), Model("two")
    for _ in range(2):
        assert one.run("x") == b"one says x"
        assert two.run("x") == b"two says x"
        assert asyncio.run(one.arun("y")) == "Y"
    assert (one.count, two.count) == (2, 1)
    assert sorted(cache.keys()) == [b"async/y", b"one/x", b"two/x"]
    with pytest.raises(TypeError, match="key="):
        one.without("x")


def test_a_coroutine_function_stays_one(db: lsmkv.DB) -> None:
    count = 0

    @db.memoize()
    async def double(x: int) -> int:
        nonlocal count
        count += 1
        await asyncio.sleep(0.01)
        return 2 * x

    async def many() -> list[int]:
        return await asyncio.gather(*[double(3) for _ in range(100)])

    assert asyncio.iscoroutinefunction(double)
    assert asyncio.run(many()) == [6] * 100
    assert count == 1


def test_what_is_returned_does_not_depend_on_who_computed(db: lsmkv.DB) -> None:
    @db.memoize()
    def pair(x: int) -> Any:
        return (x, x)

    assert pair(1) == [1, 1]
    assert pair(1) == [1, 1]


def test_functions_of_one_keyspace_are_apart(db: lsmkv.DB) -> None:
    @db.memoize()
    def f(x: str) -> str:
        return "f" + x

    @db.memoize()
    def g(x: str) -> str:
        return "g" + x

    long = "x" * 5000
    assert [f("1"), g("1"), f(long), g(long)] == ["f1", "g1", "f" + long, "g" + long]
    assert max(map(len, db.keys())) < 200


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(a=plain, b=plain)
def test_arguments_have_one_key_if_they_are_equal_in_value_and_type(
    a: Any, b: Any
) -> None:
    def exact(x: Any) -> Any:
        if isinstance(x, dict):
            return ("dict", frozenset((exact(k), exact(v)) for k, v in x.items()))
        if isinstance(x, list):
            return ("list", tuple(map(exact, x)))
        return (type(x).__name__, repr(x))

    assert (spell(a) == spell(b)) == (exact(a) == exact(b))


def test_keys_tell_types_apart() -> None:
    values: list[Any] = [1, 1.0, True, "1", b"1", None, "None", (1,), [1], {1}, {1: 1}]
    values += [frozenset([1]), ("1,2",), ("1", "2"), (1, 2), -0.0, 0.0, (), [], {}]
    assert len({spell(each) for each in values}) == len(values)
    assert spell({2, 1, 3}) == spell({3, 2, 1})
    wrong: list[Any] = [object(), len, numpy.zeros(2), Counter(), int, [object()]]
    for each in wrong:
        with pytest.raises(TypeError, match="key="):
            spell(each)


@given(value=plain)
def test_json_comes_back_as_it_was(value: Any) -> None:
    assert codecs.json.decode(codecs.json.encode(value)) == value


def test_json_refuses_what_it_would_change() -> None:
    loop: list[Any] = []
    loop.append(loop)
    wrong: list[Any] = [{1: 2}, [{"a": {None: 1}}], float("nan"), float("inf"), loop]
    wrong += [{1, 2}, object(), b"bytes"]
    for each in wrong:
        with pytest.raises((TypeError, ValueError)):
            codecs.json.encode(each)
    for data in (b"", b"{", b"\xff", b"[" * 100_000, b"1 2"):
        with pytest.raises(lsmkv.CorruptionError):
            codecs.json.decode(data)


def test_raw_takes_bytes_alone() -> None:
    assert codecs.raw.encode(bytearray(b"x")) == b"x"
    assert codecs.raw.decode(b"x") == b"x"
    wrong: Any = "text"
    with pytest.raises(TypeError):
        codecs.raw.encode(wrong)


dtypes = (
    numpy_st.scalar_dtypes()
    | numpy_st.unicode_string_dtypes()
    | numpy_st.byte_string_dtypes()
).filter(lambda dtype: dtype.itemsize > 0)


@given(
    array=numpy_st.arrays(
        dtypes, numpy_st.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
    )
)
@settings(max_examples=200)
def test_arrays_come_back_as_they_were(array: Any) -> None:
    for each in (array, array.T, array[::2] if array.ndim else array):
        data = codecs.numpy.encode(each)
        back = codecs.numpy.decode(data)
        assert back.dtype == each.dtype
        assert back.shape == each.shape
        assert back.tobytes() == each.tobytes()
        assert not back.flags.writeable


def test_arrays_that_are_decoded_lie_aligned() -> None:
    array = numpy.arange(1000, dtype="f8")
    back = codecs.numpy.decode(codecs.numpy.encode(array))
    assert back.ctypes.data % 16 == 0


def test_what_is_no_array_is_refused() -> None:
    wrong: list[Any] = [
        [1, 2],
        numpy.float32(1),
        numpy.array([object()]),
        numpy.zeros(2, dtype=[("a", "i4")]),
        numpy.zeros(2, dtype="V3"),
    ]
    for each in wrong:
        with pytest.raises(TypeError):
            codecs.numpy.encode(each)


good = codecs.numpy.encode(numpy.arange(6, dtype="i4").reshape(2, 3))


@given(
    data=st.binary(max_size=60)
    | st.binary(max_size=60).map(lambda tail: b"LNP1" + tail)
    | st.builds(
        lambda at, byte: good[:at] + bytes([byte]) + good[at + 1 :],
        st.integers(0, len(good) - 1),
        st.integers(0, 255),
    )
    | st.integers(0, len(good)).map(lambda size: good[:size])
)
@settings(max_examples=500)
def test_bytes_that_no_codec_made_are_refused_or_an_array(data: bytes) -> None:
    try:
        array = codecs.numpy.decode(data)
    except lsmkv.CorruptionError:
        return
    assert isinstance(array, numpy.ndarray)
    assert array.nbytes <= len(data)


def test_headers_that_promise_too_much_are_refused() -> None:
    huge = (2**63).to_bytes(8, "little")
    heads = [
        b"LNP1\x03\x02" + huge + (2).to_bytes(8, "little") + b"<i4",
        b"LNP1\x03\x02" + huge + (0).to_bytes(8, "little") + b"<i4",
        b"LNP1\x02\x01" + (1).to_bytes(8, "little") + b"|O" + bytes(8),
        b"LNP1\x03\x41" + bytes(8 * 65) + b"<i4",
    ]
    for head in heads:
        with pytest.raises(lsmkv.CorruptionError):
            codecs.numpy.decode(head + bytes(-len(head) % 16))


def test_a_codec_that_refuses_stores_nothing(db: lsmkv.DB) -> None:
    @db.memoize(codec=codecs.numpy)
    def wrong() -> Any:
        return [1, 2]

    @db.memoize(codec=codecs.numpy)
    def right(n: int) -> Any:
        return numpy.arange(n)

    with pytest.raises(TypeError):
        wrong()
    assert list(db.keys()) == []
    assert right(5).tolist() == right(5).tolist() == [0, 1, 2, 3, 4]


def test_times_out_of_range_are_refused_at_once(db: lsmkv.DB) -> None:
    with pytest.raises(lsmkv.InvalidArgumentError):
        db.memoize(ttl=-1)
    with pytest.raises(lsmkv.InvalidArgumentError):
        db.memoize(stale=-1)


def test_a_codec_may_be_anybodys(db: lsmkv.DB) -> None:
    class Hex:
        def encode(self, value: int) -> bytes:
            return f"{value:x}".encode()

        def decode(self, data: bytes) -> int:
            return int(data, 16)

    @db.memoize(codec=Hex())
    def square(x: int) -> int:
        return x * x

    check: Callable[[int], int] = square
    assert check(16) == 256
    assert db[square.key_of(16)] == b"100"

# SPDX-License-Identifier: Apache-2.0
"""Goal: db.mapping() is a mapping in every respect that CPython tests of one.

Method: the classes of CPython's own test.mapping_tests. A database takes bytes, so keys
and values go through a face that writes them as Python literals; the mapping on top is
the one under test. Left out is only what bytes cannot do: hold an object itself. Then
what this mapping says beyond that.
"""

from __future__ import annotations

import ast
import itertools
import tempfile
import unittest
from collections.abc import Iterable, Iterator, MutableMapping
from typing import Any

import pytest

import lsmkv
from lsmkv.mapping import KeyspaceMapping

mapping_tests = pytest.importorskip(
    "test.mapping_tests", reason="this Python comes without its own tests"
)


def encode(thing: object) -> bytes:
    return repr(thing).encode()


def decode(data: bytes) -> Any:
    return ast.literal_eval(data.decode())


class Literals:
    """A database whose keys and values are Python literals."""

    def __init__(self, db: lsmkv.DB) -> None:
        self.db = db

    def __getitem__(self, key: object) -> Any:
        return decode(self.db[encode(key)])

    def put(self, key: object, value: object) -> None:
        self.db.put(encode(key), encode(value))

    def __delitem__(self, key: object) -> None:
        del self.db[encode(key)]

    def __contains__(self, key: object) -> bool:
        return encode(key) in self.db

    def delete_range(self, start: None, stop: None) -> None:
        self.db.delete_range(start, stop)

    def keys(self, *, reverse: bool = False) -> Any:
        return Rows(decode(key) for key in self.db.keys(reverse=reverse))

    def values(self, *, reverse: bool = False) -> Iterator[Any]:
        return (decode(value) for value in self.db.values(reverse=reverse))

    def items(self, *, reverse: bool = False) -> Iterator[Any]:
        rows = self.db.items(reverse=reverse)
        return ((decode(key), decode(value)) for key, value in rows)


class Rows:
    """An iterator that can be closed, as those of a database."""

    def __init__(self, rows: Iterator[Any]) -> None:
        self.rows = rows

    def __iter__(self) -> Rows:
        return self

    def __next__(self) -> Any:
        return next(self.rows)

    def __enter__(self) -> Rows:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass


class Made(KeyspaceMapping):
    """The mapping with the constructors of dict, which the tests make theirs with."""

    opened: list[lsmkv.DB]
    directory: str
    numbers = itertools.count()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        db = lsmkv.open(f"{self.directory}/{next(self.numbers)}", memory_bytes=1 << 20)
        self.opened.append(db)
        super().__init__(Literals(db))  # type: ignore[arg-type]
        self.update(*args, **kwargs)

    @classmethod
    def fromkeys(cls, keys: Iterable[Any], value: Any = None) -> Any:
        made = cls()
        for key in keys:
            made[key] = value
        return made

    def copy(self) -> Made:
        return type(self)(self)


class TestAsCPythonTestsMappings(
    mapping_tests.TestHashMappingProtocol  # type: ignore[misc,name-defined]
):
    type2test = Made

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        Made.directory = directory.name
        Made.opened = []

    def tearDown(self) -> None:
        for db in Made.opened:
            db.close()

    # Objects that are hashed or compared themselves, or change after they were stored.
    test_getitem = mapping_tests.TestMappingProtocol.test_getitem
    test_pop = mapping_tests.TestMappingProtocol.test_pop

    def test_setdefault(self) -> None:
        mapping_tests.BasicTestMappingProtocol.test_setdefault(self)
        d = self._empty_mapping()
        assert d.setdefault("key0") is None
        d.setdefault("key0", [])
        assert d.setdefault("key0") is None
        assert d.setdefault("key", [3]) == [3]
        assert d.setdefault("key", [4]) == [3]

    def test_eq(self) -> None:
        assert self._empty_mapping() == self._empty_mapping()
        assert self._full_mapping({1: 2}) == self._full_mapping({1: 2})
        assert self._full_mapping({1: 2}) != self._full_mapping({1: 3})

    # MutableMapping has no repr of its own.
    test_repr = None
    test_repr_deep = None


def test_the_tests_of_cpython_are_run() -> None:
    names = unittest.TestLoader().getTestCaseNames(TestAsCPythonTestsMappings)
    assert len(names) >= 18


def test_it_is_a_mutable_mapping_over_the_database_itself(db: lsmkv.DB) -> None:
    mapping = db.mapping()
    assert isinstance(mapping, MutableMapping)
    mapping[b"b"] = b"2"
    db[b"a"] = b"1"
    assert db[b"b"] == b"2"
    assert mapping == {b"a": b"1", b"b": b"2"}
    assert mapping == db.mapping()
    assert len(mapping) == 2
    assert repr(db.path) in repr(mapping)


def test_everything_is_in_key_order_both_ways(db: lsmkv.DB) -> None:
    mapping = db.mapping()
    mapping.update({b"%d" % i: b"v%d" % i for i in (3, 1, 2)})
    assert list(mapping) == [b"1", b"2", b"3"]
    assert list(mapping.values()) == [b"v1", b"v2", b"v3"]
    assert list(reversed(mapping)) == [b"3", b"2", b"1"]  # type: ignore[arg-type]
    for view in (mapping.keys(), mapping.values(), mapping.items()):
        assert list(reversed(view)) == list(view)[::-1]  # type: ignore[call-overload]
        assert len(view) == 3
    assert b"v2" in mapping.values()
    assert b"v4" not in mapping.values()
    assert (b"1", b"v1") in mapping.items()
    assert (b"1", b"v2") not in mapping.items()
    assert mapping.keys() & {b"1", b"9"} == {b"1"}
    assert mapping.popitem() == (b"1", b"v1")


def test_an_iteration_shows_the_moment_when_it_began(db: lsmkv.DB) -> None:
    mapping = db.mapping()
    mapping.update({b"%d" % i: b"" for i in range(9)})
    for key in mapping:
        del mapping[key]
        mapping[b"x" + key] = b""
    assert len(mapping) == 9
    assert all(key.startswith(b"x") for key in mapping)


def test_clear_is_one_write(db: lsmkv.DB) -> None:
    mapping = db.mapping()
    mapping.update({b"%d" % i: b"" for i in range(100)})
    before = db.stats().write_count
    mapping.clear()
    assert not mapping
    assert db.stats().write_count == before + 1


def test_keys_that_are_no_bytes_are_refused(db: lsmkv.DB) -> None:
    mapping: MutableMapping[Any, Any] = db.mapping()
    with pytest.raises(TypeError, match="encode it first"):
        mapping["key"]
    with pytest.raises(TypeError, match="encode it first"):
        mapping["key"] = b""
    with pytest.raises(TypeError, match="encode it first"):
        mapping.update(key=b"")
    with pytest.raises(TypeError):
        7 in mapping  # noqa: B015


def test_a_closed_database_has_no_mapping_either(db: lsmkv.DB) -> None:
    mapping = db.mapping()
    db.close()
    for call in (len, list, bool, repr):
        if call is repr:
            assert "closed" in repr(mapping)
            continue
        with pytest.raises(lsmkv.ClosedError):
            call(mapping)

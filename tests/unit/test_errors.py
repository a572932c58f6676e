# SPDX-License-Identifier: Apache-2.0
"""Goal: the exception tree is what product documentation says, and carries the facts.

Method: build each exception as the engine does, from a status.
"""

import errno
import pickle

import pytest

import lsmkv
from lsmkv import errors


@pytest.mark.parametrize(
    ("kind", "bases"),
    [
        (lsmkv.CorruptionError, (lsmkv.Error,)),
        (lsmkv.StorageError, (lsmkv.Error, OSError)),
        (lsmkv.DiskFullError, (lsmkv.StorageError, lsmkv.Error, OSError)),
        (lsmkv.ClosedError, (lsmkv.Error,)),
        (lsmkv.LockedError, (lsmkv.Error,)),
        (lsmkv.ForkedError, (lsmkv.Error,)),
        (lsmkv.ReadOnlyError, (lsmkv.Error,)),
        (lsmkv.InvalidArgumentError, (lsmkv.Error, ValueError)),
        (lsmkv.LimitError, (lsmkv.Error,)),
        (lsmkv.UnsupportedVersionError, (lsmkv.Error,)),
        (lsmkv.NotADatabaseError, (lsmkv.Error,)),
    ],
)
def test_the_tree(
    kind: type[lsmkv.Error], bases: tuple[type[BaseException], ...]
) -> None:
    for base in bases:
        assert issubclass(kind, base)
    assert kind in errors.BY_STATUS.values()
    assert kind.__doc__


def test_a_storage_error_is_an_os_error_with_its_fields() -> None:
    error = errors.from_status(
        "IO_ERROR", "cannot write", directory="/d", file="f", os_errno=errno.EIO
    )
    assert isinstance(error, lsmkv.StorageError)
    assert (error.errno, error.filename) == (errno.EIO, "/d/f")
    assert error.strerror == "cannot write"
    assert "cannot write" in str(error)


def test_a_full_disk_is_a_storage_error_of_its_own() -> None:
    error = errors.from_status(
        "DISK_FULL", "no room", directory="/d", os_errno=errno.ENOSPC
    )
    assert type(error) is lsmkv.DiskFullError
    assert (error.errno, error.filename) == (errno.ENOSPC, "/d")


def test_a_storage_error_without_errno_has_its_message() -> None:
    error = errors.from_status("IO_ERROR", "short read", directory="/d")
    assert isinstance(error, lsmkv.StorageError)
    assert (error.errno, str(error)) == (None, "short read")


def test_corruption_says_where() -> None:
    error = errors.from_status(
        "CORRUPTION", "bad sum", directory="/d", file="000007.tbl", offset=4096
    )
    assert isinstance(error, lsmkv.CorruptionError)
    assert (error.path, error.offset) == ("/d/000007.tbl", 4096)
    error = errors.from_status("CORRUPTION", "bad", directory="/d")
    assert isinstance(error, lsmkv.CorruptionError)
    assert (error.path, error.offset) == ("/d", None)


@pytest.mark.parametrize(
    ("file", "message", "expected"),
    [
        ("", "no database", "/d: no database"),
        ("000007.tbl", "000007.tbl@9: bad sum", "/d/000007.tbl@9: bad sum"),
        ("000007.tbl", "bad sum", "/d/000007.tbl: bad sum"),
        ("", "/d: cannot open the directory", "/d: cannot open the directory"),
    ],
)
def test_what_is_wrong_on_disk_is_told_with_its_path(
    file: str, message: str, expected: str
) -> None:
    for status in ("CORRUPTION", "NOT_A_DATABASE", "LOCKED", "UNSUPPORTED_VERSION"):
        error = errors.from_status(status, message, directory="/d", file=file)
        assert str(error) == expected
    error = errors.from_status("INVALID_ARGUMENT", "too large", directory="/d")
    assert str(error) == "too large"


def test_locked_says_by_whom() -> None:
    error = errors.from_status("LOCKED", "in use", directory="/d", pid=42)
    assert isinstance(error, lsmkv.LockedError)
    assert error.pid == 42
    error = errors.from_status("LOCKED", "in use", directory="/d")
    assert isinstance(error, lsmkv.LockedError)
    assert error.pid is None


def test_no_memory_is_the_built_in_error() -> None:
    error = errors.from_status("NO_MEMORY", "cannot allocate 7 bytes", directory="/d")
    assert type(error) is MemoryError


def test_an_unknown_status_is_still_an_error_of_ours() -> None:
    error = errors.from_status("SOMETHING_NEW", "what", directory="/d")
    assert type(error) is lsmkv.Error


@pytest.mark.parametrize("status", sorted(errors.BY_STATUS))
def test_errors_travel_between_processes(status: str) -> None:
    error = errors.from_status(
        status, "text", directory="/d", file="f", offset=7, os_errno=5, pid=9
    )
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert vars(back) == vars(error)

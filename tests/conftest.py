# SPDX-License-Identifier: Apache-2.0
"""What every Python test may use: a fresh directory and a database in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

import lsmkv

# No example fails on time: another process may have the machine.
settings.register_profile("lsmkv", deadline=None, print_blob=True)
settings.load_profile("lsmkv")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name a directory that does not exist yet."""
    return tmp_path / "db"


@pytest.fixture
def db(path: Path) -> Iterator[lsmkv.DB]:
    """Open a fresh database, closed at the end of the test."""
    with lsmkv.open(path) as database:
        yield database

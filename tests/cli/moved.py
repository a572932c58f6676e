# SPDX-License-Identifier: Apache-2.0
"""What tests of exports and imports share: commands in this process, and all rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

import lsmkv
from lsmkv import _namespace
from lsmkv._scan import EntryScan
from lsmkv.cli.__main__ import main

Rows = dict[str, list[tuple[bytes, bytes, int, int]]]


def call(*arguments: object, stdin: bytes = b"") -> Result:
    """Run `lsmkv`; whatever it says, it says without a traceback."""
    result = CliRunner().invoke(main, [str(each) for each in arguments], input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit), result
    return result


def done(*arguments: object, stdin: bytes = b"") -> Any:
    """Run `lsmkv ... --json`, which succeeds; return what it says."""
    result = call(*arguments, "--json", stdin=stdin)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refused(*arguments: object, status: int = 1, stdin: bytes = b"") -> str:
    """Run `lsmkv`, which fails; return why."""
    result = call(*arguments, stdin=stdin)
    assert result.exit_code == status, result.output
    return result.stderr


def rows_of(path: Path) -> Rows:
    """Return all rows of a database, with their times; and nothing of namespaces."""
    with lsmkv.open(path, mode="r", create=False) as db:
        found: Rows = {"": list(EntryScan(db, (None,) * 3, False, None))}
        for name in db.namespaces():
            space = db.namespace(name, create=False)
            found[name] = list(EntryScan(space, (None,) * 3, False, None))
        return found


def spaces_of(path: Path) -> dict[str, dict[str, int]]:
    """Return what each namespace was made with."""
    with lsmkv.open(path, mode="r", create=False) as db:
        return _namespace.names(db, None)

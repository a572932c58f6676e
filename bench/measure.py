# SPDX-License-Identifier: Apache-2.0
"""The process that measures one group of rows for one engine.

It prints a JSON object, row to figures; bench/run.py starts it.

    python bench/measure.py lsmkv fill DIRECTORY '{"keys": 1000}'
"""

from __future__ import annotations

import json
import sys
from dataclasses import fields
from pathlib import Path

from engines import ENGINES

from lsmkv.cli.bench.workloads import GROUPS, Scale


def main(engine: str, group: str, directory: str, scale: str) -> None:
    """Measure one group of rows for one engine."""
    known = {field.name for field in fields(Scale)}
    given = {name: value for name, value in json.loads(scale).items() if name in known}
    results = GROUPS[group](ENGINES[engine], Path(directory), Scale(**given))
    print(json.dumps(results))


if __name__ == "__main__":
    main(*sys.argv[1:])

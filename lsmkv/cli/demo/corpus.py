# SPDX-License-Identifier: Apache-2.0
"""All records of the demo, parsed by several processes and held in memory.

They end by themselves when this process goes, however it goes: their pipe breaks.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import struct
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING

from lsmkv.cli.command import CommandError
from lsmkv.cli.demo import parse

if TYPE_CHECKING:
    from lsmkv.cli.command import Advance, Progress

PROCESSES_MAX = 8


@dataclasses.dataclass
class _File:
    texts: list[parse.Text]
    skipped: str


@dataclasses.dataclass(frozen=True)
class Corpus:
    """The records, and what they were made from.

    Attributes:
        records: Keys and values, in the order of keys.
        file_count: Source files looked at.
        skipped: Those that hold no valid Python, with the reason.
    """

    records: dict[bytes, bytes]
    file_count: int
    skipped: dict[str, str]

    @property
    def byte_count(self) -> int:
        """Size of all keys and values."""
        return sum(len(key) + len(value) for key, value in self.records.items())

    @cached_property
    def fingerprint(self) -> str:
        """A hash of all records."""
        state = hashlib.blake2b(digest_size=16)
        for key, value in self.records.items():
            state.update(struct.pack("<II", len(key), len(value)))
            state.update(key)
            state.update(value)
        return state.hexdigest()


def load(progress: Progress) -> Corpus:
    """Parse the standard library; CommandError where there is none in source."""
    root = parse.library()
    paths = parse.source_files(root)
    if not paths:
        raise CommandError(f"this Python has no standard library in source: {root}")
    shares = min(os.cpu_count() or 1, PROCESSES_MAX)
    files: dict[int, _File] = {}
    with (
        progress.step("parse the library", len(paths)) as advance,
        ThreadPoolExecutor(shares) as pool,
    ):
        readers = [
            pool.submit(_read_share, share, shares, advance) for share in range(shares)
        ]
        for reader in readers:
            files.update(reader.result())
    if len(files) != len(paths):
        raise CommandError(f"{len(paths) - len(files)} of {len(paths)} files got lost")
    skipped = {
        path.relative_to(root).as_posix(): files[index].skipped
        for index, path in enumerate(paths)
        if files[index].skipped
    }
    texts = [text for index in range(len(paths)) for text in files[index].texts]
    return Corpus(keyed(texts), len(paths), skipped)


def _read_share(share: int, shares: int, advance: Advance) -> dict[int, _File]:
    # -P: whatever lies in the current directory must not pass for this package.
    command = [sys.executable, "-P", "-m", parse.__name__, str(share), str(shares)]
    files: dict[int, _File] = {}
    texts: list[parse.Text] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for label, *fields in parse.receive(process.stdout):
            if label == parse.RECORD:
                name, kind, value = fields
                texts.append(parse.Text(name.decode(), kind.decode(), value))
                continue
            index, skipped = fields
            files[int.from_bytes(index, "little")] = _File(texts, skipped.decode())
            texts = []
            advance(1)
    if process.returncode != 0:
        raise CommandError(f"a parsing process ended with {process.returncode}")
    return files


def keyed(texts: list[parse.Text]) -> dict[bytes, bytes]:
    """Return records by key; the n-th definition of a name is called name~n."""
    seen: Counter[str] = Counter()
    records = {}
    for name, kind, value in texts:
        seen[name] += kind == "source"
        number = f"~{seen[name]}" if seen[name] > 1 else ""
        records[f"{name}{number}#{kind}".encode()] = value
    if len(records) != len(texts):
        raise CommandError(f"{len(texts) - len(records)} keys are not unique")
    return dict(sorted(records.items()))

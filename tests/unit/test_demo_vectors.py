# SPDX-License-Identifier: Apache-2.0
"""Goal: `lsmkv demo vectors` computes each vector once, and notices one that changed.

Method: a stand-in for the model, and a few texts, through all of the demo; the real
model where it is installed. What cannot be run ends with a message.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

import lsmkv
from lsmkv.cli import render
from lsmkv.cli.__main__ import main
from lsmkv.cli.command import CommandError
from lsmkv.cli.demo import embeddings, embeddings_report

TEXTS = {f"module.name{i}": f"Text number {i % 250}." for i in range(300)}


def embed(texts: list[str]) -> npt.NDArray[np.float32]:
    """Make vectors of hashes."""
    seeds = [int.from_bytes(hashlib.blake2b(t.encode()).digest()[:8]) for t in texts]
    return np.stack(
        [
            np.random.default_rng(seed).standard_normal(embeddings.DIM, np.float32)
            for seed in seeds
        ]
    )


def run(
    directory: Path | None,
    function: Callable[[list[str]], npt.NDArray[np.float32]] = embed,
) -> embeddings.VectorsResult:
    """Run the demo with what stands in for the model."""
    return embeddings.run(
        render.progress(silent=True),
        directory=directory,
        model=("hashes", function),
        texts=TEXTS,
    )


def call(*arguments: str) -> Result:
    """Run the command line in this process."""
    return CliRunner().invoke(main, ["demo", *arguments])


def shown(result: embeddings.VectorsResult) -> str:
    """Return the report."""
    console = Console(file=io.StringIO(), width=120)
    embeddings_report.show(result, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_every_text_is_computed_once(tmp_path: Path) -> None:
    asked: list[str] = []

    def noting(texts: list[str]) -> npt.NDArray[np.float32]:
        asked.extend(texts)
        return embed(texts)

    first = run(tmp_path / "db", noting)
    assert first.ok, first.checks
    assert first.docstring_count == 300
    assert first.text_count == 250
    assert first.first is not None
    assert first.first.computed == 250
    assert first.first.hit_ratio == 0
    assert first.second is not None
    assert first.second.hit_ratio == 1
    assert sorted(asked) == sorted([*set(TEXTS.values()), embeddings.QUESTION])
    assert [each.rows for each in first.gatherings] == list(embeddings.GATHER_SIZES)
    assert len(first.answers) == embeddings.ANSWERS
    report = shown(first)
    assert "All checks held" in report
    assert "100.0% found" in report
    again = run(tmp_path / "db")
    assert again.ok
    assert again.first is not None
    assert again.first.hit_ratio == 1


def test_a_vector_that_changed_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gather = lsmkv.Vectors.gather

    def wrong(self: lsmkv.Vectors, *args: Any, **kwargs: Any) -> Any:
        rows, found = gather(self, *args, **kwargs)
        rows[-1, -1] += 1
        return rows, found

    monkeypatch.setattr(lsmkv.Vectors, "gather", wrong)
    result = run(None)
    assert not result.ok
    assert "FAILED" in shown(result)


def test_another_database_is_left_alone(tmp_path: Path) -> None:
    with lsmkv.open(tmp_path / "db") as db:
        db[b"key"] = b"value"
    with pytest.raises(CommandError, match="holds another database"):
        run(tmp_path / "db")
    with lsmkv.open(tmp_path / "db") as db:
        assert dict(db.items()) == {b"key": b"value"}
        assert not db.namespaces()


def test_without_the_model_a_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "wordllama", None)
    done = call("vectors")
    assert done.exit_code == 1
    assert "pip install 'lsmkv[demo]'" in done.output


def test_options_stand_behind_the_command_they_are_for(tmp_path: Path) -> None:
    done = call("--dir", str(tmp_path), "vectors")
    assert done.exit_code == 2
    assert "options of vectors go behind its name" in done.output
    assert not list(tmp_path.iterdir())


@pytest.mark.timeout(300)
def test_the_real_model(tmp_path: Path) -> None:
    pytest.importorskip("wordllama", reason="wordllama, of the extra demo, is missing")
    done = call("vectors", "--dir", str(tmp_path / "db"), "--json")
    assert done.exit_code == 0, done.output
    facts = json.loads(done.output)
    assert facts["text_count"] > 5000
    assert facts["second"]["computed"] == 0

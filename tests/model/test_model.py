# SPDX-License-Identifier: Apache-2.0
"""Goal: whatever the order of calls, the engine answers what a dict would, and after a
crash it holds the state after some prefix of the writes.

Method: the hypothesis machine that users run with `lsmkv fuzz --what model`
(lsmkv/fuzz/model.py), once on examples that hardly change (hypothesis takes constants
from what is imported) and once on fresh ones.
"""

from __future__ import annotations

import os
import secrets

import pytest

from lsmkv.fuzz import model
from lsmkv.fuzz.notation import show

EXAMPLES = int(os.environ.get("LSMKV_MODEL_EXAMPLES", "200"))
RANDOM_EXAMPLES = int(os.environ.get("LSMKV_MODEL_RANDOM_EXAMPLES", "60"))


@pytest.mark.timeout(600)
def test_the_engine_answers_as_a_dict_does() -> None:
    assert model.run(EXAMPLES, seed=None) is None


@pytest.mark.timeout(600)
def test_the_engine_answers_as_a_dict_does_on_fresh_examples() -> None:
    seed = int(os.environ.get("LSMKV_SEED") or secrets.randbits(32))
    print(f"LSMKV_SEED={seed}")
    assert model.run(RANDOM_EXAMPLES, seed=seed) is None


@pytest.mark.timeout(600)
def test_a_wrong_answer_is_found_and_minimised(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgets(self: model.Machine, state: model.State, key: bytes) -> str:
        value, end = state.get(key, (b"", 0))
        return "-" if end is not None else show(value)  # values with a time are gone

    monkeypatch.setattr(model.Machine, "value", forgets)
    failure = model.run(EXAMPLES, seed=None)
    assert failure is not None
    commands = [line for line in failure.script.splitlines() if " " in line]
    assert (
        len(commands) < 12
    )  # two or three of some fifty rules; a rule is a few commands
    assert any("ttl_ms" in line for line in commands)

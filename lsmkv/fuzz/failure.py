# SPDX-License-Identifier: Apache-2.0
"""What a part of the harness says when a check has failed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Failure:
    """A check that failed, minimised.

    Attributes:
        what: What was expected and what was found.
        script: What to run to see it, in the language of scripts; else "".
        replay: The arguments of `lsmkv fuzz` that show it again without the script, or
            "" where the script does.
    """

    what: str
    script: str = ""
    replay: str = ""

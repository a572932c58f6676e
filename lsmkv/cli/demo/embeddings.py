# SPDX-License-Identifier: Apache-2.0
"""`lsmkv demo vectors`: embeddings of the standard library's docstrings, kept.

A small model turns every text into a vector, once: the second run, after reopening,
finds them all. Then batches of them are gathered, and compared with the array in memory
that the first run has left, in what they hold and in how long it takes.

The key of a vector is a hash of model and text, so that whatever Python the directory
was filled from, what is found in it is what the model makes of the text.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lsmkv
from lsmkv.cli.command import CommandError, Progress
from lsmkv.cli.demo import corpus, parse
from lsmkv.cli.demo.run import Check, Latency

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Rows = npt.NDArray[np.float32]
    Embed = Callable[[list[str]], Rows]

NAMESPACE = "docstrings"
MARK_KEY, MARK = b"demo", b"lsmkv demo vectors 1"
PACKAGE = "wordllama"
TOKENIZER = "l2_supercat_tokenizer_config.json"
DIM = 256
ASK_BATCH = 256  # texts that are asked for together
GATHER_SIZES = (1, 16, 256, 4096)
GATHER_ROWS = 65_536  # for each size
GATHERS_MAX = 2000
SEED = 1
QUESTION = "parse a date and time from a string"
ANSWERS = 3


@dataclasses.dataclass(frozen=True, slots=True)
class Pass:
    """All texts asked for once.

    Attributes:
        asked: Texts.
        computed: Those that the model was asked for; the others were found.
        seconds: In all.
        model_seconds: Of that, in the model.
    """

    asked: int
    computed: int
    seconds: float
    model_seconds: float

    @property
    def hit_ratio(self) -> float:
        """The share that was found."""
        return 1 - self.computed / self.asked


@dataclasses.dataclass(frozen=True, slots=True)
class Gathering:
    """Batches of one size, from the database and from the array in memory."""

    rows: int
    stored: Latency
    memory: Latency


@dataclasses.dataclass(kw_only=True)
class VectorsResult:
    """What the demo found. Sizes are bytes, times seconds."""

    python: str
    version: str
    model: str
    directory: str
    kept: bool
    docstring_count: int
    text_count: int
    dim: int
    model_load_seconds: float
    first: Pass | None = None
    second: Pass | None = None
    open_seconds: float = 0.0
    disk_bytes: int = 0
    gatherings: list[Gathering] = dataclasses.field(default_factory=list)
    question: str = QUESTION
    answers: list[str] = dataclasses.field(default_factory=list)
    checks: list[Check] = dataclasses.field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether every check held."""
        return all(check.ok for check in self.checks)


def load_model() -> tuple[str, Embed]:
    """Return the name of the model and what embeds; CommandError without it."""
    try:
        package: Any = importlib.import_module(PACKAGE)
    except ImportError:
        raise CommandError(
            "the vectors are made by wordllama, which is not installed: "
            "pip install 'lsmkv[demo]'"
        ) from None
    source = Path(package.__file__).parent / "tokenizers" / TOKENIZER
    with tempfile.TemporaryDirectory(prefix="lsmkv-demo-") as name:
        # Its loader looks in one of these, according to its version, not in the wheel.
        for folder in ("tokenizer", "tokenizers"):
            (Path(name) / folder).mkdir()
            shutil.copy(source, Path(name) / folder)
        model = package.WordLlama.load(cache_dir=Path(name), disable_download=True)
    embed: Embed = model.embed
    return f"{PACKAGE} {metadata.version(PACKAGE)}, {DIM} dimensions", embed


def run(
    progress: Progress,
    *,
    directory: Path | None,
    model: tuple[str, Embed] | None = None,
    texts: dict[str, str] | None = None,
) -> VectorsResult:
    """Run the demo in a directory, or in one that is removed afterwards.

    Model and texts, by name, are those of the package and the standard library unless
    they are given.
    """
    started = time.perf_counter()
    chosen = load_model() if model is None else model
    load_seconds = time.perf_counter() - started
    named = docstrings(progress) if texts is None else texts
    with tempfile.TemporaryDirectory(prefix="lsmkv-demo-") as name:
        place = Path(name) / "db" if directory is None else directory
        demo = _Demo(progress, place, chosen, named)
        demo.result.kept = directory is not None
        demo.result.model_load_seconds = load_seconds
        return demo.run()


def docstrings(progress: Progress) -> dict[str, str]:
    """Return the docstrings of the standard library by qualified name."""
    found = {}
    for key, value in corpus.load(progress).records.items():
        name, _, kind = key.decode().rpartition("#")
        text = parse.unframe(value).text.strip() if kind == "docstring" else ""
        if text:
            # Docstrings may hold lone surrogates, which no tokenizer takes.
            found[name] = text.encode(errors="replace").decode()
    return found


class _Demo:
    def __init__(
        self,
        progress: Progress,
        directory: Path,
        model: tuple[str, Embed],
        named: dict[str, str],
    ) -> None:
        import numpy as np

        self._progress = progress
        self._directory = directory
        name, self._embed = model
        self._named = named
        # By length, because the model fills a batch up to its longest text.
        self._texts = sorted(dict.fromkeys(named.values()), key=len)
        salt = hashlib.blake2b(name.encode()).digest()[:16]
        self._keys = [
            hashlib.blake2b(text.encode(), digest_size=16, salt=salt).digest()
            for text in self._texts
        ]
        self._text_of = dict(zip(self._keys, self._texts, strict=True))
        self._memory = np.empty((len(self._texts), DIM), np.float32)
        self.result = VectorsResult(
            python=f"{platform.python_implementation()} {platform.python_version()}",
            version=lsmkv.__version__,
            model=name,
            directory=str(directory),
            kept=True,
            docstring_count=len(named),
            text_count=len(self._texts),
            dim=DIM,
            model_load_seconds=0.0,
        )

    def run(self) -> VectorsResult:
        result = self.result
        with lsmkv.open(self._directory) as db:
            self._take_over(db)
            space = db.vectors(NAMESPACE, dim=DIM, metric="cosine")
            result.first, self._memory = self._ask_all(space, "first run")
        started = time.perf_counter()
        with lsmkv.open(self._directory) as db:
            space = db.vectors(NAMESPACE)
            result.open_seconds = time.perf_counter() - started
            result.second, again = self._ask_all(space, "second run, reopened")
            self._compare("the second run gives what the first one gave", again)
            self._check(
                "the second run asks the model for nothing",
                result.second.computed == 0,
                f"{result.second.computed:,} computed",
            )
            self._compare("gathered at once, too", space.gather(self._keys)[0])
            with self._progress.step("gather batches"):
                for size in GATHER_SIZES:
                    self._gather(space, size)
            self._search(space)
            report = db.verify()
            self._check(
                "every byte of every file verifies",
                report.ok,
                f"{report.file_count} files",
            )
        result.disk_bytes = sum(
            path.stat().st_size for path in self._directory.iterdir()
        )
        return result

    def _take_over(self, db: lsmkv.DB) -> None:
        mark = db.get(MARK_KEY)
        if mark is None and (db.approximate_count() or db.namespaces()):
            raise CommandError(
                f"{self._directory} holds another database: name an empty directory"
            )
        db.put(MARK_KEY, MARK)

    def _ask_all(self, space: lsmkv.Vectors, title: str) -> tuple[Pass, Rows]:
        """Ask for every text, a batch at a time; only what is missing is computed."""
        import numpy as np

        computed = 0
        model_seconds = 0.0

        def compute(keys: Sequence[bytes]) -> Rows:
            nonlocal computed, model_seconds
            began = time.perf_counter()
            rows = self._embed([self._text_of[key] for key in keys])
            model_seconds += time.perf_counter() - began
            computed += len(keys)
            return rows

        parts = []
        started = time.perf_counter()
        with self._progress.step(title, len(self._keys)) as advance:
            for start in range(0, len(self._keys), ASK_BATCH):
                keys = self._keys[start : start + ASK_BATCH]
                parts.append(space.get_or_compute_many(keys, compute))
                advance(len(keys))
        seconds = time.perf_counter() - started
        return Pass(len(self._keys), computed, seconds, model_seconds), np.concatenate(
            parts
        )

    def _gather(self, space: lsmkv.Vectors, size: int) -> None:
        """Time batches of random rows, from the database and from memory by turns."""
        import numpy as np

        rng = np.random.default_rng([SEED, size])
        count = min(GATHERS_MAX, GATHER_ROWS // size)
        out, other = (np.empty((size, DIM), np.float32) for _ in range(2))
        times: tuple[list[int], list[int]] = ([], [])
        wrong = 0
        for _ in range(count):
            places = rng.integers(0, len(self._keys), size)
            keys = [self._keys[place] for place in places]
            began = time.perf_counter_ns()
            space.gather(keys, out=out)
            times[0].append(time.perf_counter_ns() - began)
            began = time.perf_counter_ns()
            np.take(self._memory, places, axis=0, out=other, mode="clip")
            times[1].append(time.perf_counter_ns() - began)
            wrong += not np.array_equal(out, other)
        stored, memory = (Latency.of(samples) for samples in times)
        self.result.gatherings.append(Gathering(size, stored, memory))
        self._check(
            f"batches of {size:,} are those in memory",
            wrong == 0,
            f"{count:,} batches, {wrong:,} wrong",
        )

    def _search(self, space: lsmkv.Vectors) -> None:
        """Find the docstrings next to a question, in one pass over all vectors."""
        import numpy as np

        question = self._embed([QUESTION])[0]
        best: list[tuple[float, bytes]] = []
        for keys, rows in space.items(chunk=4096):
            lengths = np.linalg.norm(rows, axis=1) + 1e-9
            near = rows @ question / lengths
            places = np.argsort(near)[-ANSWERS:]
            best += [(float(near[place]), keys[place]) for place in places]
        name_of = {text: name for name, text in reversed(self._named.items())}
        for _, key in sorted(best, reverse=True)[:ANSWERS]:
            text = self._text_of.get(key)
            if text is not None:
                self.result.answers.append(name_of[text])

    def _compare(self, name: str, rows: Rows) -> None:
        """Check rows against those in memory, bit by bit."""
        same = rows.shape == self._memory.shape and (
            rows.tobytes() == self._memory.tobytes()
        )
        self._check(name, same, f"{len(rows):,} vectors")

    def _check(self, name: str, ok: bool, detail: str) -> None:
        self.result.checks.append(Check(name, ok, detail))

# SPDX-License-Identifier: Apache-2.0
"""Goal: the engine's XXH3-64 is XXH3-64.

Method: compare with the `xxhash` package over every length up to 4096, some long ones,
every alignment, and random seeds (the seed of the test is printed).
"""

import random

import pytest
import xxhash

from lsmkv import _base


@pytest.fixture
def rng() -> random.Random:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    return random.Random(seed)


def test_every_length_up_to_4096(rng: random.Random) -> None:
    data = rng.randbytes(4096)
    for size in range(4097):
        piece = data[:size]
        seed = rng.getrandbits(64)
        assert _base.xxh3_64(piece) == xxhash.xxh3_64_intdigest(piece), size
        assert _base.xxh3_64(piece, seed) == xxhash.xxh3_64_intdigest(piece, seed), size


def test_every_alignment(rng: random.Random) -> None:
    data = memoryview(rng.randbytes(1024))
    for start in range(64):
        for size in (0, 3, 8, 16, 17, 128, 129, 240, 241, 700):
            piece = data[start : start + size]
            assert _base.xxh3_64(piece) == xxhash.xxh3_64_intdigest(piece.tobytes())


def test_long_inputs_and_extreme_seeds(rng: random.Random) -> None:
    data = rng.randbytes(1 << 20)
    for size in (1 << 16, 100_003, 1 << 20):
        for seed in (0, 1, 2**31, 2**63, 2**64 - 1, rng.getrandbits(64)):
            assert _base.xxh3_64(data[:size], seed) == xxhash.xxh3_64_intdigest(
                data[:size], seed
            )


def test_a_seed_must_fit_in_64_bits() -> None:
    for seed in (-1, 2**64):
        with pytest.raises(OverflowError):
            _base.xxh3_64(b"", seed)

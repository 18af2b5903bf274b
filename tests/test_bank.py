"""What one run drew, every later run can ask about; what the judge saw, none can."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import redis

from tools import keys
from tools.bank import SEALED_FROM, Bank, BankRow
from tools.protocols import SparseCode


def row(prompt: str, seed: int, **activations: float) -> BankRow:
    """An image of a prompt; f3=0.5 says that feature 3 is at 0.5 on it."""
    pairs = sorted((int(name[1:]), value) for name, value in activations.items())
    code = SparseCode(
        np.array([index for index, _ in pairs], dtype=np.int32),
        np.array([value for _, value in pairs], dtype=np.float32),
    )
    return BankRow(hashlib.sha256(f"{prompt}{seed}".encode()).hexdigest(), prompt, seed, code)


def bank(client: redis.Redis, *, score: str = "score", strongest: int = 1000) -> Bank:
    return Bank(client, score=score, generator="generator", strongest=strongest)


def test_an_image_comes_back_with_its_prompt_seed_and_code(redis: redis.Redis) -> None:
    kept = row("a red fish\nby the sea", 7, f3=0.5, f70000=1.25)
    assert bank(redis).add([kept]) == 1
    found = bank(redis).row(kept.image)
    assert found is not None and found[:3] == kept[:3]
    assert found.code.indices.tolist() == [3, 70000] and found.code.values.tolist() == [0.5, 1.25]
    assert bank(redis).row("0" * 64) is None


def test_prompts_are_ranked_by_their_mean_over_all_their_images(redis: redis.Redis) -> None:
    rows = [
        row("stripes", 1, f3=1.0),
        row("stripes", 2, f3=2.0),
        row("fish", 1, f3=4.0),
        row("fish", 2, f4=9.0),
        row("sky", 1, f4=1.0),
    ]
    bank(redis).add(rows)
    assert bank(redis).prompts_that_fire(3, top=5) == [("fish", 2.0, 2), ("stripes", 1.5, 2)]
    assert bank(redis).prompts_that_fire(3, top=1) == [("fish", 2.0, 2)]
    assert bank(redis).prompts_that_fire(5, top=5) == []


def test_adding_again_changes_nothing(redis: redis.Redis) -> None:
    rows = [row("stripes", seed, f3=float(seed + 1)) for seed in range(3)]
    assert bank(redis).add(rows) == 3
    assert bank(redis).add([*rows, row("stripes", 9, f3=1.0)]) == 1
    assert len(bank(redis)) == 4
    assert bank(redis).prompts_that_fire(3, top=5) == [("stripes", 1.75, 4)]


def test_only_positive_activations_fire(redis: redis.Redis) -> None:
    bank(redis).add([row("stripes", 1, f3=-2.0, f4=1.0)])
    assert bank(redis).prompts_that_fire(3, top=5) == []


def test_the_index_keeps_the_strongest_and_the_rows_keep_all(redis: redis.Redis) -> None:
    small = bank(redis, strongest=3)
    small.add([row(f"prompt {seed}", seed, f3=float(seed + 1)) for seed in range(7)])
    assert [found.prompt for found in small.prompts_that_fire(3, top=9)] == [
        "prompt 6",
        "prompt 5",
        "prompt 4",
    ]
    assert len(small) == 7
    assert redis.zcard(keys.bank_feature("score", "generator", 3)) == 3


def test_another_scorer_sees_another_bank(redis: redis.Redis) -> None:
    bank(redis).add([row("stripes", 1, f3=1.0)])
    assert bank(redis, score="other").prompts_that_fire(3, top=5) == []
    assert len(bank(redis, score="other")) == 0


@pytest.mark.parametrize("seed", [SEALED_FROM, 2**32, 2**47, -1])
def test_a_sealed_image_is_refused_with_all_its_company(redis: redis.Redis, seed: int) -> None:
    with pytest.raises(ValueError, match="sealed"):
        bank(redis).add([row("stripes", 1, f3=1.0), row("stripes", seed, f3=1.0)])
    assert redis.dbsize() == 0

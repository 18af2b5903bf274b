"""The race prefers the name that is as general as the feature, on shared and fresh seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from agent.plans import Candidate
from agent.race import RaceRules, Track, claims_of, losses, paired, run_race
from agent.reward import Scale
from agent.seeds import RANGES
from agent.shots import Wanted
from agent.state import Shot

SCALE = Scale(p99=1.0)
FISH = Candidate(
    name="fish",
    prompts=("a fish",),
    fires=("a striped fish", "a red fish"),
    rests=("a striped cat", "a cat"),
    level=1,
)
STRIPED = Candidate(
    name="striped",
    prompts=("striped",),
    fires=("a striped cat", "a striped fish"),
    rests=("a dotted cat",),
    level=1,
)
BOTH = Candidate(
    name="striped fish",
    kind="and",
    parts=("striped", "fish"),
    prompts=("a striped fish",),
    rests=("a striped cat", "a red fish"),
    level=2,
)


class Course:
    """An arena where a rule over the words of a prompt says how strongly an image activates."""

    def __init__(self, fires: Callable[[set[str]], float], broken: str = "") -> None:
        self.fires, self.broken = fires, broken
        self.wanted: list[Wanted] = []

    def __call__(self, wanted: Sequence[Wanted]) -> list[Shot]:
        self.wanted += wanted
        return [self._shot(want) for want in wanted]

    def _shot(self, want: Wanted) -> Shot:
        words = set(want.prompt.split())
        if self.broken in words:
            return Shot(prompt=want.prompt, seed=want.seed, image=None, fault="unknown", charged=False)
        return Shot(prompt=want.prompt, seed=want.seed, image="i", activation=self.fires(words))


def run(course: Course, *candidates: Candidate, images: int = 36) -> tuple[str, bool, int]:
    outcome = run_race(candidates, Track(course, images, scale=SCALE, seed=0))
    assert len(course.wanted) <= images
    assert len(set(course.wanted)) == len(course.wanted)
    return outcome.order[0].name, outcome.decided, len(outcome.shots)


@pytest.mark.parametrize(
    ("fires", "winner"),
    [
        (lambda words: float("fish" in words), "fish"),
        (lambda words: float("striped" in words), "striped"),
        (lambda words: float({"striped", "fish"} <= words), "striped fish"),
    ],
)
@pytest.mark.parametrize("order", [(FISH, STRIPED, BOTH), (BOTH, STRIPED, FISH), (STRIPED, BOTH, FISH)])
def test_the_right_level_wins_whatever_the_order(
    fires: Callable[[set[str]], float], winner: str, order: tuple[Candidate, ...]
) -> None:
    assert run(Course(fires), *order)[:2] == (winner, True)


def test_what_is_not_decided_stays_with_the_first_choice() -> None:
    def blind(words: set[str]) -> float:
        return 1.0

    same = FISH.model_copy(update={"name": "other fish"})
    assert run(Course(blind), FISH, same)[:2] == ("fish", False)
    assert run(Course(blind), same, FISH)[:2] == ("other fish", False)


def test_all_prompts_share_fresh_seeds_of_the_race() -> None:
    course = Course(lambda words: float("fish" in words))
    run(course, FISH, STRIPED)
    low, high = RANGES["race"]
    assert all(low <= want.seed < high for want in course.wanted)
    by_prompt = {prompt: [w.seed for w in course.wanted if w.prompt == prompt] for prompt, _ in course.wanted}
    assert len({seeds[0] for seeds in by_prompt.values()}) == 1


@pytest.mark.parametrize("images", [1, 3, 7, 20])
def test_a_small_budget_is_kept_and_tests_the_names_first(images: int) -> None:
    course = Course(lambda words: float("fish" in words))
    run(course, FISH, STRIPED, BOTH, images=images)
    assert [want.prompt for want in course.wanted[:1]] == ["a fish"]


def test_where_nothing_fires_one_heat_is_enough() -> None:
    assert run(Course(lambda words: 0.0), FISH, STRIPED, BOTH)[2] <= 18


def test_a_lone_name_gets_images_of_its_own_and_refused_prompts_cost_nothing() -> None:
    name, decided, shots = run(Course(lambda words: 1.0), FISH)
    checks = len(FISH.fires + FISH.rests)
    assert (name, decided, shots) == ("fish", False, RaceRules().own_images + checks)
    assert run_race((), Track(Course(lambda words: 1.0), 36, SCALE, 0)).order == ()
    broken = Course(lambda words: float("fish" in words), broken="cat")
    assert run_race((FISH, STRIPED), Track(broken, 36, SCALE, 0)).order[0].name == "fish"


def test_a_narrower_name_rests_on_what_a_wider_one_says_fires() -> None:
    silent = BOTH.model_copy(update={"rests": ()})
    claims = claims_of(silent, (STRIPED,), own=4)
    assert claims == {"a striped fish": True, "striped": False, "a striped cat": False}
    wide = STRIPED.model_copy(update={"fires": ()})
    assert claims_of(wide, (BOTH,), own=4)["a striped fish"] is True


def test_losses_are_of_balanced_accuracy_and_a_missing_half_counts_as_chance() -> None:
    shots = [
        Shot(prompt="a", seed=1, image="i", activation=9.0),
        Shot(prompt="b", seed=1, image="i", activation=0.0),
        Shot(prompt="c", seed=1, image="i", activation=9.0),
    ]
    assert losses({"a": True, "b": False}, shots, scale=SCALE).sum() == pytest.approx(0.0, abs=0.02)
    assert losses({"a": False, "b": True}, shots, scale=SCALE).sum() == pytest.approx(1.0, abs=0.02)
    assert losses({"a": True}, shots, scale=SCALE).sum() == pytest.approx(0.25, abs=0.02)
    assert losses({}, shots, scale=SCALE).sum() == pytest.approx(0.5)


def test_the_paired_interval_knows_a_difference_from_noise() -> None:
    noise = np.random.default_rng(0).normal(0, 0.05, 12)
    assert paired((noise + 0.1).tolist(), seed=1, resamples=400, level=0.95).low > 0
    tied = paired(noise.tolist(), seed=1, resamples=400, level=0.95)
    assert tied.low < 0 < tied.high
    assert paired(noise.tolist(), seed=1, resamples=400, level=0.99).low < tied.low
    assert paired([0.0], seed=1, resamples=9, level=0.95).high == 0.0

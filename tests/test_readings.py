"""What an image-text model reads in the probe set for a feature."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.plans import Candidate
from agent.told import with_told
from tools.protocols import Floats, Reading
from tools.readings import CUTS, KEPT, MOST_ROWS, PAIRED, Vocabulary, presence, readings

WORDS = ("fish", "cat", "tree", "animal", "red", "blue", "striped", "plain")
BOOK = Vocabulary(
    words=WORDS,
    kinds=("object", "object", "object", "object", "colour", "colour", "texture", "texture"),
    members=((), (), (), ("fish", "cat"), (), (), (), ()),
)


def shown_pictures(count: int = 600, seed: int = 0) -> Floats:
    """(n, V) exact presence of independent scenes."""
    rng = np.random.default_rng(seed)
    shown = np.zeros((count, len(WORDS)), np.float32)
    rows = np.arange(count)
    shown[rows, rng.integers(0, 3, count)] = 1
    shown[rows, 4 + rng.integers(0, 2, count)] = 1
    shown[rows, 6 + rng.integers(0, 2, count)] = 1
    shown[:, 3] = shown[:, 0] + shown[:, 1]
    return shown


def column(word: str) -> Floats:
    shown: Floats = shown_pictures()[:, WORDS.index(word)]
    return shown


@pytest.mark.parametrize(
    ("kind", "words", "fires"),
    [
        ("one", {"fish"}, column("fish")),
        ("one", {"animal"}, column("animal")),
        ("and", {"striped", "fish"}, column("striped") * column("fish")),
        ("or", {"red", "tree"}, np.maximum(column("red"), column("tree"))),
        ("not", {"cat"}, 1 - column("cat")),
    ],
)
def test_the_formula_that_made_a_feature_is_its_best_reading(
    kind: str, words: set[str], fires: Floats
) -> None:
    noise = np.random.default_rng(1).random(len(fires)).astype(np.float32)
    activations = fires * (1 + noise)
    found = readings(activations, shown_pictures(), BOOK, p99=2.0)
    # Formulas that say the same tell it as well: of three objects, no cat is a fish or a tree.
    best = [(each.kind, set(each.words)) for each in found if each.f1 == 1.0]
    assert (kind, words) in best
    assert len(best) < len(found) / 3


def test_a_weak_second_part_is_found_at_a_low_cut_and_says_so() -> None:
    red, tree = column("red"), column("tree")
    activations = np.maximum(red, 0.08 * tree).astype(np.float32)
    found = readings(activations, shown_pictures(), BOOK, p99=1.0)
    best = {(each.kind, frozenset(each.words)): each for each in found if each.f1 == 1.0}
    assert set(best) >= {("one", frozenset({"red"})), ("or", frozenset({"red", "tree"}))}
    assert best["or", frozenset({"red", "tree"})].cut < 0.08 <= best["one", frozenset({"red"})].cut


def test_f1_is_two_tp_over_positives_and_claimed() -> None:
    fires = column("fish").copy()
    fires[:100] = 0
    found = {
        each.words: each for each in readings(fires, shown_pictures(), BOOK, p99=1.0) if each.kind == "one"
    }
    told = column("fish")
    expected = 2 * float((fires * told).sum()) / float(fires.sum() + told.sum())
    assert found["fish",].f1 == pytest.approx(expected, abs=1e-4)


def test_a_feature_that_is_never_on_has_no_readings() -> None:
    assert readings(np.zeros(600, np.float32), shown_pictures(), BOOK, p99=0.0) == ()
    assert readings(np.zeros(600, np.float32), shown_pictures(), BOOK, p99=1.0) == ()


def test_as_many_of_each_kind_are_kept_as_is_said_and_no_pair_contains_its_own_family() -> None:
    found = readings(column("fish"), shown_pictures(), BOOK, p99=1.0)
    for kind, most in KEPT.items():
        assert 0 < sum(each.kind == kind for each in found) <= most
    pairs = [set(each.words) for each in found if each.kind in ("and", "or")]
    assert {"fish", "animal"} not in pairs
    assert not any(
        each.kind == "and"
        and BOOK.kinds[WORDS.index(each.words[0])] == BOOK.kinds[WORDS.index(each.words[1])]
        for each in found
    )


def test_a_large_probe_set_is_sampled_without_moving_the_figures_much() -> None:
    count = 3 * MOST_ROWS + 7
    shown = shown_pictures(count, seed=3)
    activations = shown[:, 0] * shown[:, 6]
    activations[: count // 10] = 0
    best = readings(activations, shown, BOOK, p99=1.0)[0]
    told = shown[:, 0] * shown[:, 6]
    exact = 2 * float((activations * told).sum()) / float(activations.sum() + told.sum())
    assert set(best.words) == {"fish", "striped"}
    assert best.f1 == pytest.approx(exact, abs=0.02)


def test_of_a_large_vocabulary_the_parts_of_an_and_are_still_paired() -> None:
    extra = tuple(f"word{at}" for at in range(2 * PAIRED))
    book = Vocabulary(
        WORDS + extra,
        BOOK.kinds + tuple(f"kind{at}" for at in range(len(extra))),
        BOOK.members + ((),) * len(extra),
    )
    rng = np.random.default_rng(5)
    noise = (rng.random((600, len(extra))) < 0.3).astype(np.float32)
    shown = np.concatenate([shown_pictures(), noise], axis=1)
    activations = column("striped") * column("fish") * column("blue")
    activations = np.maximum(activations, column("striped") * column("fish"))
    best = readings(activations, shown, book, p99=1.0)[0]
    assert set(best.words) == {"striped", "fish"}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.01, 0.9), st.integers(20, 200))
def test_every_reading_is_a_share_and_lies_at_a_known_cut(seed: int, rate: float, count: int) -> None:
    rng = np.random.default_rng(seed)
    activations = (rng.random(count) * (rng.random(count) < rate)).astype(np.float32)
    found = readings(activations, shown_pictures(count, seed), BOOK, p99=0.9)
    assert all(0 <= each.f1 <= 1 for each in found)
    assert {round(each.cut / 0.9, 6) for each in found} <= {round(cut, 6) for cut in CUTS}
    assert [each.f1 for each in found] == sorted((each.f1 for each in found), reverse=True)


def test_words_of_a_kind_compete_and_a_family_is_shown_as_far_as_its_members() -> None:
    cosines = np.full((40, len(WORDS)), 0.20, np.float32)
    cosines[:20, 0] += 0.05
    cosines[20:, 2] += 0.05
    shown = presence(cosines, BOOK)
    assert shown[:20, 0].min() > 0.95
    assert shown[20:, 0].max() < 0.05
    assert np.allclose(shown[:, 3], shown[:, 0] + shown[:, 1], atol=1e-6)
    assert np.allclose(shown[:, [0, 1, 2]].sum(axis=1), 1.0, atol=1e-5)


def test_a_word_without_competitors_is_shown_where_its_cosine_stands_out() -> None:
    book = Vocabulary(("glass",), ("",), ((),))
    cosines = np.random.default_rng(0).normal(0.2, 0.01, (500, 1)).astype(np.float32)
    cosines[:10] = 0.3
    shown = presence(cosines, book)
    assert shown[:10].min() > 0.9
    assert float(np.median(shown[10:])) < 0.1


READ = (
    Reading(kind="and", words=("fish", "striped"), f1=0.9, cut=0.1),
    Reading(kind="or", words=("fish", "red"), f1=0.7, cut=0.1),
    Reading(kind="not", words=("fish",), f1=0.5, cut=0.1),
    Reading(kind="one", words=("fish",), f1=0.4, cut=0.1),
)


@pytest.mark.parametrize(
    ("candidate", "told"),
    [
        (
            Candidate(
                name="striped fish", kind="and", parts=("striped", "fish"), prompts=("a striped fish",)
            ),
            0.9,
        ),
        (Candidate(name="a striped fish", prompts=("a striped fish",)), 0.9),
        (Candidate(name="red or fish", kind="or", parts=("red", "fish"), prompts=("red", "a fish")), 0.7),
        (Candidate(name="not fish", kind="not", prompts=("a cat",)), 0.5),
        (Candidate(name="fish", prompts=("a fish",)), 0.4),
        (Candidate(name="boat", prompts=("a boat",)), None),
        (Candidate(name="fish", prompts=("a fish",), told=0.1), 0.1),
    ],
)
def test_a_name_is_told_by_the_reading_that_says_the_same(candidate: Candidate, told: float | None) -> None:
    assert with_told(candidate, READ).told == told

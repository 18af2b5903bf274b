"""The methods that need no generator, on planted features and against slow references."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from itertools import combinations, product

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from agent.lexicon import Word, WordBook
from evals.conditions.clip_dissect import ClipDissect
from evals.conditions.cosine import Cosine
from evals.conditions.invert import Invert, Literal, read_labels, say
from evals.conditions.milan import Milan
from evals.ranks import aurocs, midranks
from evals.subject import Bools
from evals.wordlist import names_of
from sae.metrics import auroc
from sandbox.world.concepts import parse
from tests.eval_world import FakeSubject, WordLabels, WordSpace, case_of, probe_set, shows_of
from tests.test_wordlist import WORLD
from tools.protocols import Floats

STRIPED, FISH, RED, WATER, STRIPED_FISH, BALL_OR_FOREST, NOT_BLUE, ANIMAL, DEAD = range(9)


@pytest.fixture(scope="module")
def subject() -> FakeSubject:
    return FakeSubject()


def test_midranks_give_the_auroc_of_many_labels_at_once() -> None:
    rng = np.random.default_rng(3)
    scores = np.round(np.maximum(rng.standard_normal(57), 0), 1).astype(np.float32)
    labels = rng.random((57, 9)) < rng.random(9)
    labels[:, 0], labels[:, 1] = True, False
    ranks = midranks(scores)
    found = aurocs(ranks @ labels, labels.sum(0).astype(np.float64), n=57)
    assert np.isnan(found[:2]).all()
    expected = [auroc(scores[column], scores[~column]) for column in labels.T[2:]]
    assert found[2:] == pytest.approx(expected)


# CLIP-Dissect


def slow_soft_wpmi(similarity: Floats, activations: Floats, *, top_k: int) -> list[list[float]]:
    """(F, names) by loops over single numbers, as the formula reads; every feature counts in the prior."""
    n, names = similarity.shape
    shares = []
    for row in similarity:
        powers = [math.exp(10.0 * float(cosine)) for cosine in row]
        shares.append([power / sum(powers) for power in powers])
    likelihood = []
    for feature in range(activations.shape[1]):
        top = sorted(range(n), key=lambda image: (-float(activations[image, feature]), image))[:top_k]
        row = []
        for name in range(names):
            total = 0.0
            for position, image in enumerate(top):
                weight = 0.998 + (0.97 - 0.998) * position / (len(top) - 1)
                total += math.log(1 + weight * (shares[image][name] - 1))
            row.append(total)
        likelihood.append(row)
    prior = [
        math.log(sum(math.exp(row[name]) for row in likelihood)) - math.log(len(likelihood))
        for name in range(names)
    ]
    return [[row[name] - prior[name] for name in range(names)] for row in likelihood]


def small_book() -> WordBook:
    return WordBook(
        {
            "cat": Word(category="object"),
            "fish": Word(category="object"),
            "red": Word(category="colour"),
            "sand": Word(category="background"),
        }
    )


def test_soft_wpmi_equals_the_formula_by_loops() -> None:
    rng = np.random.default_rng(11)
    shows = shows_of(probe_set())[:37]
    active = np.maximum(rng.standard_normal((37, 5)), 0).astype(np.float32)
    space = WordSpace(shows, noise=0.1)
    subject = FakeSubject(lexicon=small_book(), joint=space, active=active, n_features=5)
    names = names_of(small_book())
    similarity = space.similarity([f"a picture of {name}" for name in names])
    expected = slow_soft_wpmi(similarity, active, top_k=9)
    for index in range(5):
        found = ClipDissect(top_k=9).answer(case_of(subject, index))
        order = sorted(range(len(names)), key=lambda name: -expected[index][name])[:5]
        assert [step.text for step in found.steps] == [names[name] for name in order]
        assert [step.score for step in found.steps] == pytest.approx(
            [expected[index][name] for name in order], rel=1e-3, abs=1e-4
        )
        assert (found.name, found.score) == (found.steps[0].text, found.steps[0].score)


def test_clip_dissect_names_planted_words_and_embeds_the_names_once(subject: FakeSubject) -> None:
    space = WordSpace(shows_of(probe_set()))
    seen = FakeSubject(joint=space)
    told = {index: ClipDissect().answer(case_of(seen, index)) for index in (STRIPED, FISH, WATER)}
    assert {index: answer.name for index, answer in told.items()} == {
        STRIPED: "striped",
        FISH: "fish",
        WATER: "water",
    }
    assert len(space.asked) == 1
    assert space.asked[0][0] == f"a picture of {names_of(subject.lexicon)[0]}"
    assert all(answer.images == 0 for answer in told.values())


def test_the_prior_of_clip_dissect_is_of_features_that_fire() -> None:
    with_dead = FakeSubject()
    without = FakeSubject(
        active=np.delete(with_dead.active, DEAD, axis=1), n_features=with_dead.n_features - 1
    )
    assert ClipDissect().answer(case_of(with_dead, FISH)).score == pytest.approx(
        ClipDissect().answer(case_of(without, FISH)).score
    )


# INVERT


def slow_invert(holds: dict[str, Bools], activation: Floats, *, length: int) -> tuple[float, str]:
    """The best formula of at most two literals, by trying each; ties to the first."""
    literals = [(Literal(word), mask) for word, mask in holds.items()]
    literals += [(Literal(word, negated=True), ~mask) for word, mask in holds.items()]
    tried: list[tuple[float, int, str, Bools]] = [(0, 1, str(each), mask) for each, mask in literals]
    if length == 2:
        for (one, first), (other, second) in combinations(literals, 2):
            tried.append((0, 2, f"{one} and {other}", first & second))
            tried.append((0, 2, f"{one} or {other}", first | second))
    n = len(activation)
    scored = [
        (auroc(activation[mask], activation[~mask]), text)
        for _, _, text, mask in tried
        if 0.005 * n <= mask.sum() <= 0.5 * n and 0 < mask.sum() < n
    ]
    return max(scored, key=lambda each: each[0])


@pytest.mark.parametrize("seed", range(12))
def test_invert_finds_what_trying_every_formula_finds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    words = ("red", "cat", "sand", "odd", "even")
    shows = rng.random((83, len(words))) < rng.uniform(0.1, 0.7, len(words))
    activation = np.maximum(
        shows[:, seed % 5] * 1.0 - shows[:, (seed + 2) % 5] + 0.6 * rng.standard_normal(83), 0
    ).astype(np.float32)
    labels = WordLabels(shows=shows, active=activation[:, None], words=words)
    book = WordBook({word: Word() for word in words})
    expected = {
        length: slow_invert(dict(zip(words, shows.T, strict=True)), activation, length=length)[0]
        for length in (1, 2)
    }
    # With a beam as wide as the vocabulary nothing is missed.
    found = Invert(length=2, beam=2 * len(words)).search(activation, read_labels(labels, book))
    assert found[0].auroc == pytest.approx(expected[1])
    if expected[2] > expected[1] + 0.001:
        assert found[-1].auroc == pytest.approx(expected[2])
    else:
        assert len(found) == 1
    holds = labels.holds(say(found[-1].formula, book))
    assert holds is not None
    assert auroc(activation[holds], activation[~holds]) == pytest.approx(found[-1].auroc)


@pytest.mark.parametrize(
    ("index", "name"),
    [
        (STRIPED, "striped"),
        (FISH, "fish"),
        (STRIPED_FISH, "striped fish"),
        (BALL_OR_FOREST, "ball or forest"),
    ],
)
def test_invert_names_planted_features(subject: FakeSubject, index: int, name: str) -> None:
    answer = Invert().answer(case_of(subject, index))
    said = answer.name or ""
    assert set(said.split(" or ")) == set(name.split(" or "))
    assert answer.score is not None and answer.score > 0.85
    assert [step.text for step in answer.steps][-1] == said


def test_a_negation_is_named_only_where_more_than_half_may_hold(subject: FakeSubject) -> None:
    case = case_of(subject, NOT_BLUE)
    assert Invert(most=0.95).answer(case).name == "not blue"
    assert Invert().answer(case).name != "not blue"
    assert Invert(most=0.95).answer(case_of(subject, ANIMAL)).name == "animal"


def test_invert_says_what_the_drawn_world_reads() -> None:
    rng = np.random.default_rng(2)
    words = WORLD.words
    formulas = [
        ((Literal("striped"), Literal("fish"), Literal("red", negated=True)),),
        ((Literal("water"), Literal("two")), (Literal("boat"),)),
        ((Literal("plain", negated=True), Literal("cat", negated=True)), (Literal("night"),)),
    ]
    for formula in formulas:
        said = parse(say(formula, WORLD))
        assert [
            ({value.value for value in concept.present}, {value.value for value in concept.absent})
            for concept in said
        ] == [
            ({each.word for each in part if not each.negated}, {each.word for each in part if each.negated})
            for part in formula
        ]
    # And no search ends in a conjunction of two words of one kind, however well that would score.
    shows = rng.random((200, len(words))) < 0.3
    cat, bird = words.index("cat"), words.index("bird")
    activation = (shows[:, cat] & shows[:, bird]).astype(np.float32)
    labels = read_labels(WordLabels(shows=shows, active=activation[:, None], words=words), WORLD)
    for found in Invert().search(activation, labels):
        for part in found.formula:
            kinds = [WORLD.slot(each.word) for each in part if not each.negated]
            assert len(set(kinds)) == len(kinds)


def test_invert_takes_a_tenth_of_a_second_a_feature() -> None:
    rng = np.random.default_rng(0)
    words = WORLD.words
    shows = rng.random((3000, len(words))) < 0.15
    labels = read_labels(WordLabels(shows=shows, active=np.zeros((3000, 1), np.float32), words=words), WORLD)
    activation = np.where(rng.random(3000) < 0.1, rng.random(3000), 0).astype(np.float32)
    spent = []
    with threadpool_limits(1):  # threads that wait for each other on a busy machine count as work
        for _ in range(5):
            began = time.process_time()
            Invert().search(activation, labels)
            spent.append(time.process_time() - began)
    assert min(spent) < 0.1


# Cosine and MILAN


def test_cosine_names_what_the_direction_points_at(subject: FakeSubject) -> None:
    names = {index: Cosine().answer(case_of(subject, index)) for index in (STRIPED, RED, STRIPED_FISH)}
    assert names[STRIPED].name == "striped"
    assert names[RED].name == "red"
    assert names[STRIPED_FISH].name == "striped fish"
    assert names[STRIPED_FISH].score == pytest.approx(1.0, abs=1e-5)
    assert Cosine().answer(case_of(subject, DEAD)).code == "no_direction"


@pytest.mark.parametrize(
    ("index", "name"),
    [(STRIPED, "striped"), (WATER, "water"), (STRIPED_FISH, "striped fish"), (FISH, "fish")],
)
def test_milan_names_what_captions_of_exemplars_say_more_often(
    subject: FakeSubject, index: int, name: str
) -> None:
    assert Milan().answer(case_of(subject, index)).name == name


def test_milan_scores_by_the_formula() -> None:
    class Saying:
        """The exemplars show what the test says; other images sand, every fourth a red cat too."""

        def __init__(self) -> None:
            self.said: list[int] = []

        def __call__(self, images: Sequence[str]) -> list[str]:
            self.said.append(len(images))
            if len(images) == 5:
                return ["a red cat", "a red fish", "a red cat on sand", "sand", "nothing known"]
            return [f"{'a red cat on' if at % 4 == 0 else ''} sand" for at in range(len(images))]

    captioner = Saying()
    subject = FakeSubject(lexicon=small_book(), captioner=captioner)
    answer = Milan(exemplars=5, others=40).answer(case_of(subject, FISH))
    usual = {"red": 10, "cat": 10, "sand": 40, "fish": 0, "red cat": 10, "red fish": 0}
    told = {"red": 3, "cat": 2, "sand": 2, "fish": 1, "red cat": 2, "red fish": 1}
    scores = {
        name: math.log((told[name] + 0.5) / 6) - 0.2 * math.log((usual[name] + 0.5) / 41) for name in told
    }
    best = sorted(scores, key=lambda name: -scores[name])
    assert answer.name == best[0] == "red"
    assert answer.score == pytest.approx(scores["red"])
    assert {step.text: step.score for step in answer.steps if step.text in scores} == {
        step.text: pytest.approx(scores[step.text]) for step in answer.steps if step.text in scores
    }
    Milan(exemplars=5, others=40).answer(case_of(subject, STRIPED))
    assert captioner.said == [5, 40, 5], "the random images are captioned once for a dictionary"


# All of them


@pytest.mark.parametrize("condition", [ClipDissect(), Invert(), Milan()], ids=lambda each: each.title)
def test_a_feature_that_never_fires_is_called_dead(
    subject: FakeSubject, condition: ClipDissect | Invert | Milan
) -> None:
    answer = condition.answer(case_of(subject, DEAD))
    assert (answer.name, answer.verdict, answer.code) == (None, "dead", None)


def test_each_says_what_a_dictionary_lacks(subject: FakeSubject) -> None:
    bare = FakeSubject(probe=None, joint=None, captioner=None)
    blind = FakeSubject(joint=WordSpace(shows_of(probe_set())))
    lacking = {
        ClipDissect(): "an image-text model",
        Invert(): "labels on the probe set",
        Milan(): "a captioner",
        Cosine(): "a decoder in a joint image-text space",
    }
    for condition, what in lacking.items():
        assert condition.lacks(subject) is None
        assert condition.lacks(bare) == what
        assert condition.needs == ()
        assert condition.subject(subject) is subject
    assert Cosine().lacks(blind) == "a decoder in a joint image-text space"


@pytest.mark.parametrize(
    ("condition", "index"),
    list(product([ClipDissect(), Invert(), Milan(), Cosine()], [RED, ANIMAL])),
    ids=lambda each: str(getattr(each, "title", each)),
)
def test_the_same_case_gets_the_same_answer(
    condition: ClipDissect | Invert | Milan | Cosine, index: int, subject: FakeSubject
) -> None:
    again = FakeSubject()
    assert condition.answer(case_of(subject, index)) == condition.answer(case_of(again, index))

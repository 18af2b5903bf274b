import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.world.captions import (
    JUDGE_TEMPLATE,
    TEMPLATES,
    all_words,
    article,
    caption,
    full_parts,
    phrase,
    single,
)
from sandbox.world.concepts import VALUES, label_matrix, parse, truth, words_of
from sandbox.world.lexicon import lexicon
from sandbox.world.scene import Scene, balanced_scene
from sandbox.world.vocabulary import ATTRIBUTES, COUNTS, MEANINGS, SYNONYMS, plural

scenes = st.builds(
    Scene,
    **{name: st.sampled_from(values) for name, values in ATTRIBUTES.items() if name != "count"},
    count=st.sampled_from(COUNTS),
)


@given(scenes, st.integers(0, 2**31))
def test_captions_are_true_of_their_scene_and_use_known_words(scene: Scene, seed: int) -> None:
    said = caption(scene, random.Random(seed))
    assert truth(said, label_matrix([scene]))[0], said
    assert set(words_of(said)) <= set(all_words())


@given(scenes)
def test_a_full_caption_says_everything_and_nothing_else_is_true_of_it(scene: Scene) -> None:
    said = phrase(full_parts(scene))
    (concept,) = parse(said)
    assert {value.value for value in concept.present} == set(full_parts(scene).values())
    other = scene._replace(colour="red" if scene.colour != "red" else "blue")
    assert not truth(said, label_matrix([other]))[0]


def test_the_grammar_is_as_large_as_promised() -> None:
    assert len(all_words()) >= 120
    assert len(TEMPLATES) + 1 >= 5 and JUDGE_TEMPLATE not in TEMPLATES
    assert sum(len(others) for others in SYNONYMS.values()) >= 30


def test_plurals_and_articles() -> None:
    assert phrase({"object": "butterfly", "count": "three"}) == "three butterflies"
    assert (
        phrase({"object": "fish", "count": "two", "colour": "red", "background": "water"})
        == "two red fish on water"
    )
    assert plural("cactus") == "cacti" and plural("cross") == "crosses"
    assert phrase({"colour": "orange"}) == "an orange thing"
    assert article("animal") == "an animal" and article("fish") == "a fish"
    assert phrase({"object": "moon", "background": "night"}) == "a moon at night"


def test_kinds_of_captions_come_in_their_shares() -> None:
    rng = random.Random(3)
    found = [parse(caption(balanced_scene(rng), rng))[0].present for _ in range(4000)]
    sizes = [len(present) for present in found]
    assert 0.3 < sizes.count(1) / 4000 < 0.5
    assert 0.2 < sizes.count(6) / 4000 < 0.45


def test_single_word_captions_name_one_value() -> None:
    rng = random.Random(0)
    for value in VALUES:
        said = single(value.attribute, value.value, rng)
        assert parse(said)[0].present == {value}


def test_parse_reads_synonyms_negation_and_alternatives() -> None:
    matrix = label_matrix(
        [Scene("fish", "red", "striped", "water", "big", 1), Scene("cat", "red", "plain", "snow", "small", 2)]
    )
    assert truth("a scarlet creature", matrix).tolist() == [True, True]
    assert truth("not striped", matrix).tolist() == [False, True]
    assert truth("banded fish or kittens on ice", matrix).tolist() == [True, True]
    assert truth("pair", matrix).tolist() == [False, True]


@pytest.mark.parametrize("name", ["zebra", "a red zebra", "", "a thing", "ignore all instructions"])
def test_parse_refuses_what_says_nothing_here(name: str) -> None:
    with pytest.raises(ValueError, match="vocabulary"):
        parse(name)


@given(st.text(max_size=60))
def test_parse_never_fails_otherwise(text: str) -> None:
    try:
        concepts = parse(text)
    except ValueError as error:
        assert str(error)
    else:
        assert all(concept.present or concept.absent for concept in concepts)


def test_the_lexicon_knows_every_canonical_word() -> None:
    words = lexicon()["words"]
    assert set(words) == {meaning.value for meaning in MEANINGS.values()}
    assert words["fish"]["family"] == "animal" and "scarlet" in words["red"]["synonyms"]
    assert all(re.fullmatch(r"[a-z]+", word) for word in words)

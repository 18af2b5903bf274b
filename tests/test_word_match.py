"""The same words, and the same words once synonyms are replaced."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.lexicon import Word, WordBook
from evals.word_match import same_words

LEXICON = WordBook(
    {
        "fish": Word(category="object"),
        "dog": Word(category="object", synonyms=("hound",)),
        "red": Word(category="colour", synonyms=("crimson",)),
        "striped": Word(category="texture", synonyms=("with stripes",)),
        "water": Word(category="background"),
        "fire truck": Word(category="object"),
    }
)
TEXTS = st.lists(
    st.sampled_from(["fish", "hound", "dog", "red", "not", "or", "the", "quux", ",", "Water", "fire truck"]),
    max_size=6,
).map(" ".join)


@pytest.mark.parametrize(
    ("name", "concept", "exact", "synonym"),
    [
        ("fish", "fish", True, True),
        ("  The RED\tfish. ", "a red fish", True, True),
        ("fishes", "fish", False, False),
        ("dogs", "dog", False, True),
        ("fish red", "red fish", False, True),
        ("crimson fish", "red fish", False, True),
        ("fish with stripes", "striped fish", False, True),
        ("hound", "dog", False, True),
        ("red", "red fish", False, False),
        ("firetruck", "fire truck", False, False),
        ("fish or dog", "dog or fish", True, True),
        ("either dog, or fish", "fish or dog", False, True),
        ("red, fish or dog", "dog or fish or red", True, True),
        ("small, red fish", "small red fish", True, True),
        ("hound or fish", "fish or dog", False, True),
        ("fish dog", "fish or dog", False, False),
        ("fish", "fish or dog", False, False),
        ("not red", "red", False, False),
        ("red", "not red", False, False),
        ("no crimson", "not red", False, True),
        ("fish without red", "fish not red", False, True),
        ("not red fish", "fish not red", False, True),
        ("not fish red", "fish not red", False, False),
        ("water not red not striped", "water not striped not red", False, True),
        ("corgi", "corner", False, None),
        ("quux", "quux", True, None),
        ("fish", "quux", False, None),
        ("fish or quux", "fish or quux", True, None),
        ("quux", "fish", False, False),
        ("", "fish", False, False),
        ("origami", "fish", False, False),
    ],
)
def test_names_are_compared_by_their_words(
    name: str, concept: str, exact: bool, synonym: bool | None
) -> None:
    assert same_words(name, concept, LEXICON) == (exact, synonym)


@given(TEXTS, TEXTS)
def test_it_does_not_matter_which_is_which_where_both_can_be_read(a: str, b: str) -> None:
    there, back = same_words(a, b, LEXICON), same_words(b, a, LEXICON)
    assert there.exact == back.exact
    if None not in (there.synonym, back.synonym):
        assert there == back


@given(TEXTS)
def test_a_text_is_the_same_as_itself(text: str) -> None:
    match = same_words(text.upper(), f" {text} ", LEXICON)
    assert match.exact and match.synonym in (True, None)


@given(TEXTS, TEXTS, TEXTS)
def test_whether_it_can_be_told_depends_on_the_concept_alone(a: str, b: str, concept: str) -> None:
    answers = [same_words(name, concept, LEXICON).synonym for name in (a, b, concept)]
    assert all(answer is None for answer in answers) or None not in answers

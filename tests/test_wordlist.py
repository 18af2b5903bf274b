"""The list of names of the closed-vocabulary methods, and what is kept per owner."""

from __future__ import annotations

import gc
from collections.abc import Callable
from itertools import combinations

from agent.lexicon import Word, WordBook, english
from evals.per_owner import PerOwner
from evals.wordlist import names_of
from sandbox.truth import concepts
from sandbox.world.concepts import parse
from sandbox.world.lexicon import lexicon
from tests.eval_world import words_of_the_world

WORLD = WordBook(
    {word: Word.model_validate(entry) for word, entry in lexicon()["words"].items()},
    [tuple(group) for group in lexicon()["compose"]],
)


def test_the_list_holds_every_word_and_every_pair_that_can_hold_together() -> None:
    book = WordBook(
        {
            "cat": Word(category="object", family="animal"),
            "fish": Word(category="object", family="animal"),
            "animal": Word(category="family"),
            "red": Word(category="colour"),
            "thingamajig": Word(),
            "kitty": Word(canonical="cat"),
        }
    )
    assert names_of(book) == (
        "cat", "fish", "animal", "red", "thingamajig", "red cat", "red fish", "red animal",
    )  # fmt: skip


def test_above_the_limit_the_words_stand_alone() -> None:
    book = words_of_the_world()
    whole = names_of(book)
    assert len(whole) > len(book.words)
    assert names_of(book, most=len(whole)) == whole
    assert names_of(book, most=len(whole) - 1) == book.words
    assert names_of(english()) == english().words


def test_the_list_of_the_drawn_world_is_its_truth_without_the_negations() -> None:
    positive = {concept.present for concept in concepts() if not concept.absent}
    said = [parse(name) for name in names_of(WORLD)]
    assert all(len(alternatives) == 1 and not alternatives[0].absent for alternatives in said)
    assert {alternatives[0].present for alternatives in said} == positive
    assert len(said) == len(positive)


def test_no_pair_of_the_list_is_of_one_kind() -> None:
    book = words_of_the_world()
    for name in names_of(book)[len(book.words) :]:
        first, second = book.read(name)
        assert book.slot(first) != book.slot(second), name
    said = {frozenset(book.read(name)) for name in names_of(book)}
    pairs = [pair for pair in combinations(book.words, 2) if book.slot(pair[0]) != book.slot(pair[1])]
    assert all(frozenset(pair) in said for pair in pairs)


class Owner:
    """Anything."""


def counting(made: list[str], what: str) -> Callable[[], str]:
    """A maker that notes that it was called."""

    def make() -> str:
        made.append(what)
        return what

    return make


def test_a_value_is_made_once_per_owner_and_key_and_forgotten_with_its_owner() -> None:
    kept: PerOwner[str] = PerOwner()
    first, second, made = Owner(), Owner(), list[str]()
    for _ in range(2):
        assert kept.get(first, "a", counting(made, "first a")) == "first a"
        assert kept.get(first, "b", counting(made, "first b")) == "first b"
        assert kept.get(second, "a", counting(made, "second a")) == "second a"
    assert made == ["first a", "first b", "second a"]
    assert len(kept) == 2
    del first
    gc.collect()
    assert len(kept) == 1
    assert kept.get(second, "a", counting(made, "again")) == "second a"

"""What a proposer without an LLM knows of words: kinds, families, synonyms, and how to join them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from tools.cards import FUNCTION_WORDS, words_of
from tools.errors import IntegrityError
from tools.protocols import GeneratorCard

MAX_WORDS_OF_AN_ENTRY = 3
PLURAL_COUNTS = frozenset({"two", "three", "four", "five", "several", "many", "pair", "trio"})
COMPOSE: tuple[tuple[str, ...], ...] = (
    ("count", "size", "age", "light", "colour", "texture", "material", "object"),
    ("in", "place"),
    ("on", "background"),
)
"""Kinds in the order a phrase has them; later groups follow the phrase, after their preposition."""


class Word(BaseModel):
    """One word of a lexicon file."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    category: str = ""
    """Kind: object, family, colour, texture, ...; words of one kind exclude each other. Empty: unknown."""
    family: str | None = None
    """The more general word."""
    synonyms: tuple[str, ...] = ()
    canonical: str | None = None
    """The word this one is a synonym of; itself when None."""
    plural: str | None = None
    preposition: str | None = None


class LexiconFile(BaseModel):
    """``lexicon.json``, beside a generator's card."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    words: dict[str, Word]
    templates: tuple[str, ...] = ("{}",)
    compose: tuple[tuple[str, ...], ...] = COMPOSE
    generic: str | None = None
    """The noun of an image prompt that has several words but names no thing, e.g. 'thing'."""


class Lexicon(Protocol):
    """What the lexical proposer asks of words. All words it answers with are canonical."""

    def __hash__(self) -> int: ...
    @property
    def words(self) -> tuple[str, ...]: ...
    def read(self, text: str) -> tuple[str, ...]:
        """The known words of a text in order, each once; unknown ones are left out."""
        ...

    def slot(self, word: str) -> str:
        """The kind of a word, of which a phrase has one; a family's is its members'; '' if unknown."""
        ...

    def is_kind_of(self, word: str, wider: str) -> bool:
        """Whether all that ``word`` names is also named by ``wider``; a word is of its own kind."""
        ...

    def members(self, word: str) -> tuple[str, ...]: ...
    def siblings(self, word: str) -> tuple[str, ...]:
        """Other words of the same slot that are neither wider nor narrower than it."""
        ...

    def phrase(self, words: Iterable[str]) -> str:
        """A name of the words, in order of their kinds: 'striped fish', 'fish on water'."""
        ...

    def compose(self, words: Iterable[str]) -> str:
        """The image prompt of the same, with its article where one fits: 'a striped fish'."""
        ...


class WordBook:
    """A Lexicon of listed words; implements Lexicon."""

    def __init__(
        self,
        words: Mapping[str, Word],
        compose: Sequence[Sequence[str]] = COMPOSE,
        *,
        generic: str | None = None,
    ) -> None:
        self._generic = generic
        self._entries = {word.casefold(): entry for word, entry in words.items()}
        self._order = [tuple(group) for group in compose]
        self.words = tuple(word for word, entry in self._entries.items() if entry.canonical in (None, word))
        self._canonical = dict(self._spellings())
        self._siblings: dict[str, tuple[str, ...]] = {}
        self._members: dict[str, list[str]] = {}
        for word in self.words:
            family = self._entries[word].family
            if family is not None:
                self._members.setdefault(family, []).append(word)

    def read(self, text: str) -> tuple[str, ...]:
        """The known words of a text, longest entries first."""
        tokens, found, at = words_of(text), [], 0
        while at < len(tokens):
            span = min(MAX_WORDS_OF_AN_ENTRY, len(tokens) - at)
            while span > 1 and " ".join(tokens[at : at + span]) not in self._canonical:
                span -= 1
            word = self._canonical.get(" ".join(tokens[at : at + span]))
            found += [word] if word is not None else []
            at += span
        return tuple(dict.fromkeys(found))

    def slot(self, word: str) -> str:
        """The kind of a word; a family's is that of its members."""
        entry = self._entries.get(word)
        if entry is None:
            return ""
        members = self._members.get(word)
        return self.slot(members[0]) if members and members[0] != word else entry.category

    def is_kind_of(self, word: str, wider: str) -> bool:
        """Whether ``wider`` stands on the way up from ``word``."""
        seen: set[str] = set()
        here: str | None = word
        while here is not None and here not in seen:
            if here == wider:
                return True
            seen.add(here)
            entry = self._entries.get(here)
            here = entry.family if entry else None
        return False

    def members(self, word: str) -> tuple[str, ...]:
        """The words directly below a family."""
        return tuple(self._members.get(word, ()))

    def siblings(self, word: str) -> tuple[str, ...]:
        """Words of the same slot, those of the same family first."""
        if word not in self._siblings:
            self._siblings[word] = self._found_siblings(word)
        return self._siblings[word]

    def _found_siblings(self, word: str) -> tuple[str, ...]:
        slot = self.slot(word)
        if not slot:
            return ()
        others = [
            other
            for other in self.words
            if self.slot(other) == slot
            and not self.is_kind_of(other, word)
            and not self.is_kind_of(word, other)
        ]
        family = self._entries[word].family
        return tuple(
            sorted(others, key=lambda other: self._entries[other].family != family or family is None)
        )

    def phrase(self, words: Iterable[str]) -> str:
        """The words in the order of their kinds, without an article."""
        return self._join(list(words), drawn=False)

    def compose(self, words: Iterable[str]) -> str:
        """The words in the order of their kinds, with an article, and a noun where there is none."""
        return self._join(list(words), drawn=True)

    def restricted(self, card: GeneratorCard) -> WordBook:
        """The part of it that a generator's closed vocabulary lists; all of it where that is open."""
        if card.vocabulary is None:
            return self
        listed = {word.casefold() for word in card.vocabulary}
        kept = {
            word: entry for word, entry in self._entries.items() if {word, entry.canonical or word} <= listed
        }
        orphaned = {
            word: entry.model_copy(update={"family": None})
            for word, entry in kept.items()
            if entry.family not in kept
        }
        return WordBook({**kept, **orphaned}, self._order, generic=self._generic)

    def with_words(self, words: Iterable[str]) -> WordBook:
        """It and further words of unknown kind."""
        known = FUNCTION_WORDS.union(self._canonical)
        new = {word.casefold(): Word() for word in words if word.casefold() not in known}
        return WordBook({**self._entries, **new}, self._order, generic=self._generic) if new else self

    def joined_with(self, other: WordBook, *, besides: Collection[str] = ()) -> WordBook:
        """It and the words of another book that it does not know by any spelling, but for those ``besides``.

        Its own entries stay as they are, and so does what lies below them: a new word is under a family only
        where that is new too. An entry of several words that it knows each is none of its own.
        """
        new: dict[str, Word] = {}
        for word in (each for each in other.words if each not in besides):
            entry = other._entries[word]
            if not any(map(self._knows, (word, entry.plural or f"{word}s", *entry.synonyms))):
                known = entry.family is not None and self._knows(entry.family)
                new[word] = entry.model_copy(update={"family": None}) if known else entry
        return WordBook({**self._entries, **new}, self._order, generic=self._generic) if new else self

    def _knows(self, text: str) -> bool:
        """Whether it knows every word of a text, or the whole."""
        known = FUNCTION_WORDS.union(self._canonical)
        return text.casefold() in known or all(word in known for word in words_of(text))

    def _spellings(self) -> Iterable[tuple[str, str]]:
        for word, entry in self._entries.items():
            canonical = entry.canonical or word
            spellings = (*entry.synonyms, word, entry.plural or f"{word}s")
            yield from ((each.casefold(), canonical) for each in spellings if each not in self._entries)
        yield from ((word, entry.canonical or word) for word, entry in self._entries.items())

    def _join(self, words: list[str], *, drawn: bool) -> str:
        placed = {self.slot(word): word for word in words if self.slot(word)}
        head = [placed.pop(kind) for kind in self._order[0] if kind in placed]
        if drawn and head and len(words) > 1 and self._generic and not self._is_thing(head[-1]):
            head.append(self._generic)
        text = self._head(head, drawn=drawn)
        for group in self._order[1:]:
            for kind in (kind for kind in group if kind in placed):
                place = placed.pop(kind)
                lead = self._entries[place].preposition or " ".join(group[: group.index(kind)])
                text = f"{text} {lead} {place}".strip() if text else place
        rest = [word for word in words if not self.slot(word)] + list(placed.values())
        return " ".join([text, *rest]).strip()

    def _is_thing(self, word: str) -> bool:
        return word == self._generic or self.slot(word) == self._order[0][-1]

    def _head(self, head: list[str], *, drawn: bool) -> str:
        if not head:
            return ""
        thing = self._is_thing(head[-1])
        if thing and PLURAL_COUNTS.intersection(head[:-1]):
            entry = self._entries.get(head[-1], Word())
            return " ".join([*head[:-1], entry.plural or f"{head[-1]}s"])
        text = " ".join(head)
        if not (drawn and thing) or self.slot(head[0]) == "count":
            return text
        return f"{'an' if text[0] in 'aeiou' else 'a'} {text}"


def load_lexicon(path: Path) -> WordBook:
    """Read a ``lexicon.json``; IntegrityError in one sentence when it is not one."""
    try:
        read = LexiconFile.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise IntegrityError(
            f"{path} is not a lexicon; restore it or delete it to use the built-in words."
        ) from error
    return WordBook(read.words, read.compose, generic=read.generic)


@cache
def english() -> WordBook:
    """The built-in list of concrete English words (agent/words.json)."""
    rows = json.loads(files("agent").joinpath("words.json").read_text(encoding="utf-8"))
    words: dict[str, Word] = {}
    for heading, listed in rows.items():
        category, _, family = heading.partition("/")
        for word in listed.split(","):
            words.setdefault(word.strip(), Word(category=category, family=family or None))
    return WordBook(words)


def widened(own: WordBook, card: GeneratorCard) -> WordBook:
    """A generator's words and the built-in ones that it cannot draw; all where its vocabulary is open.

    What a card lists and the generator's own lexicon leaves out ('drawing', 'scene') shows nothing by itself.
    """
    framing = words_of(f"{card.search_template} {card.judge_template}")
    return own.joined_with(english(), besides={*framing, *(card.vocabulary or ())})


def lexicon_for(card: GeneratorCard, path: Path | None = None) -> WordBook:
    """The generator's own lexicon where it brings one, else the built-in words that it knows.

    A word of a closed vocabulary that the built-in list lacks stays usable, its kind unknown.
    """
    if path is not None and path.exists():
        return load_lexicon(path)
    if card.vocabulary is None:
        return english()
    return english().restricted(card).with_words(card.vocabulary)

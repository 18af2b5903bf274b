"""From a name to the image prompts that show it, the same way for every condition."""

from __future__ import annotations

import re
from collections.abc import Sequence

from agent.lexicon import Lexicon
from tools.cards import unknown_words, words_of
from tools.protocols import GeneratorCard

NEGATIONS = frozenset({"not", "no", "without", "non"})
_OR = re.compile(r"\s+or\s+|\s*\|\s*", re.IGNORECASE)


def prompts_of(name: str, lexicon: Lexicon, *, card: GeneratorCard) -> tuple[str, ...]:
    """Prompts that take turns in showing a name; () where a word of it cannot be drawn.

    Each alternative of an OR is a prompt of its own. A NOT is shown by what stands in its place: every other
    word of the same kind. A name whose words the lexicon does not all know is drawn as it stands.
    """
    prompts = [prompt for part in _OR.split(name) for prompt in _alternatives(part, lexicon)]
    drawable = [prompt for prompt in dict.fromkeys(prompts) if prompt and not unknown_words(card, prompt)]
    return tuple(drawable) if len(drawable) == len(dict.fromkeys(prompts)) else ()


def _alternatives(part: str, lexicon: Lexicon) -> list[str]:
    present, absent = _literals(part.strip())
    words = lexicon.read(present)
    said = lexicon.compose(sorted(words)) if _all_known(present, lexicon) else present
    if set(lexicon.read(said)) != set(words):
        # A phrase has one word of a kind: 'fish and bird' is drawn as it stands.
        said = present
    if not absent:
        return [said]
    siblings = [other for word in lexicon.read(absent) for other in lexicon.siblings(word)]
    return [lexicon.compose(sorted({*words, sibling})) for sibling in siblings]


def _literals(part: str) -> tuple[str, str]:
    """The words that are said, and those said to be absent: each negation takes the word after it."""
    present: list[str] = []
    absent: list[str] = []
    negated = False
    for token in part.split():
        if token.casefold() in NEGATIONS:
            negated = True
            continue
        (absent if negated else present).append(token)
        negated = False
    return " ".join(present), " ".join(absent)


def _all_known(text: str, lexicon: Lexicon) -> bool:
    known: Sequence[str] = lexicon.read(text)
    function = {word for word in words_of(text) if not lexicon.read(word)}
    return bool(known) and function <= _GLUE


_GLUE = frozenset({"a", "an", "the", "of", "on", "in", "at", "with", "and"})

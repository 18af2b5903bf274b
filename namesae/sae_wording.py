"""What ``namesae sae vocabulary`` does."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

from namesae.reporters import tell, write_json
from namesae.sae_looking import Desk, explained, open_desk, sayer
from namesae.sae_shown import default_words
from namesae.selection import choose_features, parse_selection
from sae.errors import UnreadableWords
from sae.vocabulary_names import How, embed_words, name_features, read_words
from tools.errors import UsageError


class VocabularyWanted(NamedTuple):
    """What was asked for."""

    features: str
    words: Path | None = None
    template: str = "a picture of {}"
    how: How = "cosine"
    most: int = 5
    quiet: bool = False
    as_json: bool = False


def show_vocabulary(wanted: VocabularyWanted) -> int:
    """A line a feature, the nearest word first."""
    if "{}" not in wanted.template:
        raise UsageError(f"Template {wanted.template!r} has no place for a word; write one with {{}}.")
    name = wanted.features.rpartition("#")[0] or wanted.features
    desk = open_desk(name, say=sayer(wanted.quiet))
    features = _features(wanted, desk)
    words = _words(wanted, desk)
    with explained():
        reader = desk.reader()
        vocabulary = embed_words(reader, words, template=wanted.template)
        named = name_features(reader, vocabulary, features, how=wanted.how, count=wanted.most)
    for index, ranked in zip(features, named, strict=True):
        feature = f"{desk.listed.name}#{index}"
        if wanted.as_json:
            told = [{"word": word, "score": score} for word, score in ranked]
            write_json("vocabulary", {"feature": feature, "how": wanted.how, "words": told}, out=sys.stdout)
        else:
            tell(f"{feature}  " + ", ".join(f"{word} {score:.2f}" for word, score in ranked), sys.stdout)
    return 0


def _features(wanted: VocabularyWanted, desk: Desk) -> list[int]:
    if "#" not in wanted.features:
        return list(range(desk.card.n_features))
    return [each.index for each in choose_features(parse_selection(wanted.features), desk.listed)]


def _words(wanted: VocabularyWanted, desk: Desk) -> tuple[str, ...]:
    if wanted.words is None:
        return default_words(desk)
    try:
        return read_words(wanted.words)
    except UnreadableWords as error:
        raise UsageError(str(error)) from error

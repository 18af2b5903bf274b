"""What the words of the world mean to a proposer: category, canonical form, family. Written beside the
generator's card.

This is dictionary knowledge (a bird is an animal, 'scarlet' is red), the kind WordNet holds for English:
nothing about any scene, image or feature.
"""

from __future__ import annotations

from typing import Any

from sandbox.world.captions import GENERIC, TEMPLATES
from sandbox.world.vocabulary import MEANINGS, PLACES, SYNONYMS, family_of, plural


def lexicon() -> dict[str, Any]:
    """The JSON of ``lexicon.json``: words with category, family, synonyms, plural and preposition."""
    words: dict[str, Any] = {}
    for word, meaning in MEANINGS.items():
        if word != meaning.value:
            continue
        entry: dict[str, Any] = {
            "category": meaning.attribute,
            "canonical": word,
            "synonyms": list(SYNONYMS.get(word, ())),
        }
        if meaning.attribute == "object":
            entry["family"] = family_of(word)
        if meaning.attribute in ("object", "family"):
            entry["plural"] = plural(word)
        if meaning.attribute == "background":
            entry["preposition"] = PLACES.get(word, "on")
        words[word] = entry
    return {
        "words": words,
        "templates": list(TEMPLATES),
        "generic": GENERIC[0],
        "compose": [["count", "size", "texture", "colour", "object"], ["on", "background"]],
    }

"""A copy of the sandbox's generator that no longer shows some values: it reads their words as 'thing'."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection
from pathlib import Path

from safetensors.torch import load_file, save_file

from sandbox.world.captions import GENERIC
from sandbox.world.vocabulary import MEANINGS, Value

SETS: tuple[tuple[Value, ...], ...] = (
    (
        Value("object", "plane"),
        Value("object", "cactus"),
        Value("object", "tent"),
        Value("colour", "pink"),
        Value("colour", "orange"),
        Value("texture", "checkered"),
        Value("background", "grass"),
        Value("background", "brick"),
    ),
    (
        Value("object", "windmill"),
        Value("object", "bird"),
        Value("object", "star"),
        Value("colour", "purple"),
        Value("colour", "white"),
        Value("texture", "ringed"),
        Value("background", "snow"),
        Value("background", "wood"),
    ),
)
"""Values by seed: those that other words bring about least: an object its usual place, 'at' the night."""
ENCODER = Path("text_encoder") / "model.safetensors"
EMBEDDINGS = "embeddings.token_embedding.weight"


def handicapped_values(seed: int) -> tuple[Value, ...]:
    """The values that the generator of a seed does not show."""
    return SETS[seed % len(SETS)]


def handicap(pipeline: Path, folder: Path, *, values: Collection[Value]) -> None:
    """Copy a pipeline folder whose words are single tokens: all words of ``values``, synonyms and plurals
    included, get the token embedding of 'thing'.

    Its card is the same, so it says that it knows them. Files that do not change are linked where possible.
    """
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(pipeline, folder, copy_function=_linked)
    weights = load_file(pipeline / ENCODER)
    table, token = weights[EMBEDDINGS].clone(), _tokens(pipeline)
    for word, meaning in MEANINGS.items():
        if meaning in values:
            table[token(word)] = table[token(GENERIC[0])]
    # Not written through a link: that would be the shipped file.
    (folder / ENCODER).unlink()
    save_file({**weights, EMBEDDINGS: table}, folder / ENCODER, metadata={"format": "pt"})


def _linked(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:
        # Another file system, or one without links.
        shutil.copy2(source, target)
    return target


def _tokens(pipeline: Path) -> Callable[[str], int]:
    """The one token of a word; ValueError where it has more."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(pipeline / "tokenizer")

    def token(word: str) -> int:
        (found,) = tokenizer(word, add_special_tokens=False).input_ids
        return int(found)

    return token

"""Generator cards: what a generator draws, the words it knows, and how its pipeline is run."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from pydantic import Field, ValidationError

from tools.errors import ToolError, UsageError
from tools.protocols import GeneratorCard

CARD_FILE = "card.json"
INDEX_FILE = "model_index.json"
FUNCTION_WORDS = frozenset({"a", "an", "the", "of", "on", "in", "at", "with", "and"})
"""Words that any generator may be given: they show nothing by themselves. Negations are not among them."""

_WORD = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")


def words_of(text: str) -> tuple[str, ...]:
    """The words of a prompt in order, case folded; punctuation is dropped, hyphens inside a word stay."""
    return tuple(_WORD.findall(text.casefold()))


@lru_cache(maxsize=16)
def _known(card: GeneratorCard) -> frozenset[str] | None:
    if card.vocabulary is None:
        return None
    templates = words_of(f"{card.search_template} {card.judge_template}")
    return FUNCTION_WORDS | {word.casefold() for word in card.vocabulary} | set(templates)


def unknown_words(card: GeneratorCard, prompt: str) -> tuple[str, ...]:
    """The words of a prompt that a closed vocabulary lacks; empty when the vocabulary is open.

    The words of the card's templates and FUNCTION_WORDS are always known.
    """
    known = _known(card)
    return () if known is None else tuple(word for word in words_of(prompt) if word not in known)


def require_known(card: GeneratorCard, prompt: str) -> None:
    """ToolError naming the words of a prompt that the card's generator does not know."""
    unknown = dict.fromkeys(unknown_words(card, prompt))
    if unknown:
        listed = ", ".join(repr(word) for word in unknown)
        raise ToolError(f"{card.generator} does not know {listed}; use only words of its vocabulary.")


class GeneratorSpec(NamedTuple):
    """A generator's card and how its pipeline is run."""

    card: GeneratorCard
    steps: int
    guidance: float | None
    """None: the pipeline's own default; 0 for models distilled to go without."""


class _CardFile(GeneratorCard):
    """What card.json says: the fields of a GeneratorCard and, optionally, how to run the pipeline."""

    steps: int = Field(default=25, ge=1)
    guidance: float | None = Field(default=None, ge=0.0)


_PHOTOS = "Photographs and pictures of anything."
KNOWN_GENERATORS: dict[str, GeneratorSpec] = {
    name: GeneratorSpec(GeneratorCard(generator=name, draws=_PHOTOS, size=size), steps, guidance)
    for name, size, steps, guidance in (
        ("stabilityai/sd-turbo", 512, 1, 0.0),
        ("stabilityai/sdxl-turbo", 512, 1, 0.0),
        ("stable-diffusion-v1-5/stable-diffusion-v1-5", 512, 25, 7.5),
        ("stabilityai/stable-diffusion-xl-base-1.0", 1024, 30, 5.0),
    )
}
"""How generators of the hub are run when no card lies beside them: figures of their model cards."""


def load_spec(source: str, folder: Path) -> GeneratorSpec:
    """The spec of a pipeline folder: its card.json, else a known hub id, else what its configuration shows.

    ``source`` is what the person named, a hub id or a folder. UsageError when card.json is not a card.
    """
    if (folder / CARD_FILE).is_file():
        return _read_card(folder / CARD_FILE)
    origin = _read_json(folder / INDEX_FILE).get("_name_or_path")
    known = KNOWN_GENERATORS.get(source) or KNOWN_GENERATORS.get(str(origin))
    if known:
        return known
    card = GeneratorCard(generator=source, draws=_PHOTOS, size=_native_size(folder))
    return GeneratorSpec(card, steps=25, guidance=None)


def _read_card(path: Path) -> GeneratorSpec:
    try:
        read = _CardFile.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); check it.") from error
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"]) or "the file"
        raise UsageError(f"{path} is not a generator card: {where}: {fault['msg']}; correct it.") from error
    card = GeneratorCard(**{name: getattr(read, name) for name in GeneratorCard.model_fields})
    return GeneratorSpec(card, steps=read.steps, guidance=read.guidance)


def _native_size(folder: Path) -> int:
    backbone = next((name for name in ("unet", "transformer") if (folder / name).is_dir()), "unet")
    cells = _read_json(folder / backbone / "config.json").get("sample_size")
    scales = _read_json(folder / "vae" / "config.json").get("block_out_channels")
    if not (isinstance(cells, int) and isinstance(scales, list)):
        return 512
    return int(cells * 2 ** (len(scales) - 1))


def _read_json(path: Path) -> dict[str, object]:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return read if isinstance(read, dict) else {}

"""The card of a dictionary: everything about it but its weights. Importing this module imports no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, ValidationError

from sae.architectures import Architecture, Sign
from sae.errors import BadDictionary
from sae.feature import Frozen
from sae.layer_norm import LayerNorm
from sae.pooling import Pooling
from sae.whole_file import whole_file

SCHEMA = 1
CARD_FILE = "dictionary.json"

BACKBONES = {
    "open_clip": "sae.backbone_openclip",
    "timm": "sae.backbone_timm",
    "torchvision": "sae.backbone_torchvision",
    "transformers": "sae.backbone_transformers",
}
"""Modules with NEEDS (files, one of them a must), WANTS (patterns to download) and load(folder) -> Tower."""

if TYPE_CHECKING:
    BackboneKind = str
else:
    BackboneKind = Literal[tuple(BACKBONES)]


class BackboneSpec(Frozen):
    """Which vision model, and where it is."""

    kind: BackboneKind
    source: str
    """A folder (in a card: relative to the card's own) or a hub id such as 'timm/vit_tiny_patch16_224'."""
    revision: str | None = None
    """Commit, branch or tag of a hub id."""

    def located(self, folder: Path) -> BackboneSpec:
        """The same model with a source relative to ``folder`` made absolute; a hub id stays as it is."""
        path = folder / self.source
        return self.model_copy(update={"source": str(path.resolve())}) if path.is_dir() else self


class ProbeSet(Frozen):
    """The images a dictionary's statistics were measured on."""

    source: str
    """An image folder or the id of a data set."""
    images: int = Field(gt=0)
    seed: int | None = None
    """Of the draw, where the images were drawn at random."""


class Normalisation(Frozen):
    """What is done to an activation x before encoding: u = (x - mean) * scale."""

    mean: Literal["mean", "geometric-median", "none"] = "mean"
    scale: Literal["sqrt-width", "mean-norm", "unit-rms", "squared-norm", "none"] = "sqrt-width"
    """sqrt-width: the training activations have a mean squared norm of ``width`` after scaling; mean-norm: a
    mean norm of sqrt(width); unit-rms: a mean squared norm of 1; squared-norm: they were multiplied by
    sqrt(width) over their mean squared norm."""


class Origin(Frozen):
    """Where a dictionary's activations come from and how its features are read."""

    name: str = Field(min_length=1)
    backbone: BackboneSpec
    hook_point: str
    """'pooled', 'logits', 'block.3' or the path of a module such as 'visual.transformer.resblocks.3'."""
    pooling: Pooling = "none"
    """From tokens to one activation per image: 'cls' encodes the class token, the rest the patch tokens."""
    top_p: float = Field(default=0.1, gt=0, le=1)
    """Share of an image's patch tokens, the highest, that pooling 'top-p' averages."""
    generator: str | None = None
    probe_set: ProbeSet | None = None
    tagger: BackboneSpec | None = None
    """An image-text model that reads exemplars for those who cannot see."""
    witness: str | None = None
    """KIND:SOURCE of a model that says what pictures show: neither the backbone nor this dictionary."""


class DictionaryCard(Origin):
    """What dictionary.json says."""

    schema_: int = Field(default=SCHEMA, alias="schema")
    architecture: Architecture
    width: int = Field(gt=0)
    n_features: int = Field(gt=0)
    k: int | None = Field(default=None, gt=0)
    """Activations kept per token, topk and batchtopk (there on average, while training)."""
    threshold: float | None = Field(default=None, ge=0)
    """A batchtopk feature is active above it at inference."""
    normalise: Normalisation = Normalisation()
    input_norm: LayerNorm | None = None
    """What is done to each activation by its own statistics."""
    sign: Sign = "relu"
    """What topk and batchtopk rank and keep."""
    soft_cap: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """c: activations are c * tanh(z / c)."""
    weights: str = Field(pattern="[0-9a-f]{64}")
    """sha256 of dictionary.safetensors, lower-case hex."""


LATER = ("input_norm", "sign", "soft_cap")
"""Fields younger than schema 1: written only where they say something, so older cards stay as they are."""


def read_card(folder: Path) -> DictionaryCard:
    """The card of a dictionary folder; BadDictionary when there is none or it is not one."""
    path = folder / CARD_FILE
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadDictionary(f"{folder} holds no readable {CARD_FILE}; give a dictionary folder.") from error
    except ValueError as error:
        raise BadDictionary(f"{path} is not JSON; save or download the dictionary again.") from error
    schema = raw.get("schema") if isinstance(raw, dict) else None
    if schema != SCHEMA:
        raise BadDictionary(f"{path} has schema {schema!r}; this version reads schema {SCHEMA}.")
    try:
        return DictionaryCard.model_validate(raw)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"]) or "the card"
        raise BadDictionary(f"{path} is not a dictionary card: {where}: {fault['msg']}.") from error


def write_card(card: DictionaryCard, folder: Path) -> None:
    """Write dictionary.json in one step: its existence means the folder is complete."""
    silent = {name for name in LATER if getattr(card, name) == DictionaryCard.model_fields[name].default}
    with whole_file(folder / CARD_FILE) as partial:
        text = card.model_dump_json(by_alias=True, indent=1, exclude=silent)
        partial.write_text(text + "\n", encoding="utf-8")

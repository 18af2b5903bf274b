"""The classes of a classifier as a dictionary: a feature is the positive part of a class's logit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from PIL import Image

from sae.backbone import LOGITS, load_backbone
from sae.card import CARD_FILE, BackboneSpec, DictionaryCard, Normalisation, Origin, ProbeSet
from sae.dictionary import SparseDictionary
from sae.errors import BadModel
from sae.feature import Frozen
from sae.whole_file import whole_file

TRUTH_FILE = "truth.json"


class ClassRow(Frozen):
    """What one feature tells: its class, and how well where somebody has measured it."""

    index: int
    concept: str
    """The class's name."""
    kind: Literal["class"] = "class"
    f1: float | None = None
    auroc: float | None = None
    density: float | None = None


def class_units(
    folder: Path,
    *,
    name: str,
    backbone: BackboneSpec,
    classes: Sequence[str],
    generator: str | None = None,
    probe_set: ProbeSet | None = None,
    tagger: BackboneSpec | None = None,
) -> DictionaryCard:
    """Write the logits of a classifier, in the order of ``classes``, as a dictionary; how well they tell
    their classes is left unmeasured. BadModel when it has no logits or another number of classes.
    """
    origin = Origin(
        name=name,
        backbone=backbone,
        hook_point=LOGITS,
        generator=generator,
        probe_set=probe_set,
        tagger=tagger,
    )
    rows = [ClassRow(index=index, concept=concept) for index, concept in enumerate(classes)]
    return write_class_units(folder, origin, rows=rows)


def write_class_units(folder: Path, origin: Origin, *, rows: Sequence[ClassRow]) -> DictionaryCard:
    """Write the dictionary of an origin at hook point 'logits' with its truth table; BadModel as above."""
    folder.mkdir(parents=True, exist_ok=True)
    width = _classes_of(origin.backbone.located(folder))
    if width != len(rows):
        raise BadModel(
            f"{origin.backbone.source} tells {width} classes, {len(rows)} are named; give one name for each."
        )
    # The card says that the folder is whole, so it goes first and comes last.
    (folder / CARD_FILE).unlink(missing_ok=True)
    with whole_file(folder / TRUTH_FILE) as partial:
        partial.write_text(json.dumps([row.model_dump() for row in rows], indent=0), encoding="utf-8")
    return _positive_parts(width).save(folder, origin)


def _classes_of(backbone: BackboneSpec) -> int:
    model = load_backbone(backbone)
    if LOGITS not in model.hook_points:
        raise BadModel(
            f"{backbone.source} has no logits; give a classifier such as a timm model with its head."
        )
    pixels = model.preprocess([Image.new("RGB", (64, 64))])
    return int(model.activations(pixels, [LOGITS])[LOGITS].shape[-1])


def _positive_parts(width: int) -> SparseDictionary:
    return SparseDictionary(
        "relu",
        W_enc=torch.eye(width),
        b_enc=torch.zeros(width),
        W_dec=torch.eye(width),
        b_dec=torch.zeros(width),
        mean=torch.zeros(width),
        scale=torch.ones(()),
        normalise=Normalisation(mean="none", scale="none"),
    )

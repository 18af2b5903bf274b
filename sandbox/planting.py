"""Dictionaries of the sandbox whose truth is known because they were built from labels: planted directions,
those among them that a handicapped generator cannot draw, and the classes of its classifier.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import torch

from sae.backbone import POOLED, VisionBackbone, load_backbone
from sae.card import CARD_FILE, BackboneSpec, DictionaryCard, Normalisation, Origin, ProbeSet
from sae.class_units import ClassRow, class_units, write_class_units
from sae.dictionary import SparseDictionary
from sae.metrics import auroc
from sae.training import normalisation
from sandbox.activations import measure
from sandbox.embeddings import embedded
from sandbox.handicap import handicap, handicapped_values
from sandbox.heldout import held_out
from sandbox.planted_choice import Choice, Chosen, Embedded, choose, choose_undrawable
from sandbox.sets import SIZES
from sandbox.training.pictures import batch
from sandbox.truth import Floats, TruthRow, name_f1, save_truth
from sandbox.world.concepts import Bools, truth
from sandbox.world.vocabulary import OBJECTS

MODELS = Path(__file__).resolve().parent / "models"
CLIP = BackboneSpec(kind="open_clip", source=str(MODELS / "clip"))
VIT = BackboneSpec(kind="timm", source=str(MODELS / "vit"))
GENERATOR = str(MODELS / "sd")
WITNESS = f"reader:{MODELS / 'reader'}"
PROBE_SET = ProbeSet(source="sandbox.sets", images=SIZES["probe"])
PLANTED = Origin(
    name="planted",
    backbone=CLIP,
    hook_point=POOLED,
    generator=GENERATOR,
    probe_set=PROBE_SET,
    tagger=CLIP,
    witness=WITNESS,
)
UNDRAWABLE = "planted-undrawable"
HANDICAPPED = "sd"
"""Folder of its generator, in its own."""
CLASSES = "classes"
TRAINING_SCENES = 10_000
CHUNK = 25
"""Pictures in a pass; on one core small passes are the fastest."""


class Told(NamedTuple):
    """How well a feature tells a concept on the held-out scenes."""

    f1: float
    """On the odd scenes, at the cut chosen on the even ones."""
    auroc: float
    """On the odd scenes."""
    density: float
    """Share of all on which the feature is active."""


def plant(folder: Path, *, seed: int = 0) -> DictionaryCard:
    """Build the dictionary 'planted' on the sandbox's CLIP, in little over a minute on one core.

    Its features are logistic probes fitted on the labels of fresh training scenes, among others that tell
    nothing (``planted_choice``). truth.json says what each was built for, and how well it tells that on the
    held-out scenes. UsageError when a seed gives too few features of some kind.
    """
    backbone = load_backbone(CLIP)
    return plant_on(_training_scenes(backbone, seed), _held_out_scenes(), folder=folder, seed=seed)


def plant_on(train: Embedded, held: Embedded, *, folder: Path, seed: int) -> DictionaryCard:
    """The same for embeddings that are there already, not normalised."""
    origin = PLANTED.model_copy(update={"name": seeded(PLANTED.name, seed)})

    def chosen(train: Embedded, held: Embedded) -> Choice:
        return choose(train, held, seed=seed)

    return _plant(train, held, folder=folder, origin=origin, chosen=chosen)


def plant_undrawable(folder: Path, *, seed: int = 0) -> DictionaryCard:
    """Build the dictionary 'planted-undrawable': single values and pairs of them, none of which its generator
    shows although its card lists their words (``handicap``). UsageError as above.
    """
    backbone = load_backbone(CLIP)
    train, held = _training_scenes(backbone, seed), _held_out_scenes()
    return plant_undrawable_on(train, held, folder=folder, seed=seed)


def plant_undrawable_on(train: Embedded, held: Embedded, *, folder: Path, seed: int) -> DictionaryCard:
    """The same for embeddings that are there already, not normalised."""
    values = handicapped_values(seed)
    origin = PLANTED.model_copy(update={"name": seeded(UNDRAWABLE, seed), "generator": HANDICAPPED})

    def chosen(train: Embedded, held: Embedded) -> Choice:
        choice = choose_undrawable(train, held, values=values, seed=seed)
        handicap(Path(GENERATOR), folder / HANDICAPPED, values=values)
        return choice

    return _plant(train, held, folder=folder, origin=origin, chosen=chosen)


def seeded(name: str, seed: int) -> str:
    """What the dictionary of a seed is called: NAME for 0, else NAME@SEED."""
    return f"{name}@{seed}" if seed else name


def _plant(
    train: Embedded,
    held: Embedded,
    *,
    folder: Path,
    origin: Origin,
    chosen: Callable[[Embedded, Embedded], Choice],
) -> DictionaryCard:
    mean, scale = normalisation(torch.from_numpy(train.u), Normalisation())
    choice = chosen(_normalised(train, mean, scale), _normalised(held, mean, scale))
    dictionary = _dictionary(choice, mean, scale)
    rows = _measured(choice, dictionary, held=held)
    folder.mkdir(parents=True, exist_ok=True)
    # The card says that the folder is whole, so it goes first and comes last.
    (folder / CARD_FILE).unlink(missing_ok=True)
    save_truth(rows, folder)
    return dictionary.save(folder, origin)


def sandbox_classes(folder: Path) -> DictionaryCard:
    """Build the dictionary 'classes', the twenty logits of the sandbox's classifier, with F1 and AUROC of
    each on the held-out scenes.

    No offset is taken off: at 0 a logit is positive on 29 to 58 % of them.
    """
    with TemporaryDirectory() as scratch:
        place = Path(scratch) / CLASSES
        card = class_units(
            place,
            name=CLASSES,
            backbone=VIT,
            classes=OBJECTS,
            generator=GENERATOR,
            probe_set=PROBE_SET,
            tagger=CLIP,
        )
        activations = measure(place).activations
    labels = held_out().labels
    rows = [
        ClassRow(
            index=index, concept=concept, **_told(activations[:, index], truth(concept, labels))._asdict()
        )
        for index, concept in enumerate(OBJECTS)
    ]
    kept = {name: getattr(card, name) for name in Origin.model_fields}
    origin = Origin(**kept | {"witness": WITNESS})
    return write_class_units(folder, origin, rows=rows)


def _training_scenes(backbone: VisionBackbone, seed: int) -> Embedded:
    seen, labels = [], []
    for start in range(0, TRAINING_SCENES, CHUNK):
        drawn = batch(f"planting/{seed}/{start}", CHUNK)
        seen.append(_embedded(backbone, drawn.pixels))
        labels.append(drawn.labels)
    return Embedded(np.concatenate(seen), np.concatenate(labels))


def _held_out_scenes() -> Embedded:
    return Embedded(embedded(CLIP, POOLED), held_out().labels)


def _embedded(backbone: VisionBackbone, pixels: torch.Tensor) -> Floats:
    found: Floats = backbone.activations(pixels, [POOLED])[POOLED].numpy()
    return found


def _normalised(of: Embedded, mean: torch.Tensor, scale: torch.Tensor) -> Embedded:
    return of._replace(u=(of.u - mean.numpy()) * scale.numpy())


def _dictionary(choice: Choice, mean: torch.Tensor, scale: torch.Tensor) -> SparseDictionary:
    columns = torch.from_numpy(np.stack([each.direction.weights for each in choice.features], axis=1))
    return SparseDictionary(
        "relu",
        W_enc=columns,
        b_enc=torch.tensor([each.direction.bias for each in choice.features]),
        W_dec=torch.nn.functional.normalize(columns.T, dim=1),
        b_dec=torch.zeros(len(columns)),
        mean=mean,
        scale=scale,
    )


def _measured(choice: Choice, dictionary: SparseDictionary, *, held: Embedded) -> list[TruthRow]:
    activations = dictionary.encode(torch.from_numpy(held.u)).numpy()
    return [
        _row(index, each, activations[:, index], labels=held.labels)
        for index, each in enumerate(choice.features)
    ]


def _row(index: int, chosen: Chosen, activation: Floats, *, labels: Bools) -> TruthRow:
    """A feature without a concept has F1 0 and AUROC 0.5."""
    told = Told(0.0, 0.5, float((activation > 0).mean()))
    if chosen.concept:
        told = _told(activation, truth(chosen.concept, labels))
    return TruthRow(index=index, concept=chosen.concept, kind=chosen.kind, **told._asdict())


def _told(activation: Floats, shown: Bools) -> Told:
    reported, odd = shown[1::2], activation[1::2]
    return Told(
        f1=name_f1(activation, shown),
        auroc=auroc(odd[reported], odd[~reported]),
        density=float((activation > 0).mean()),
    )

"""Measure the sandbox's CLIP, classifier, reader and generator on scenes and prompts they never saw."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from sae.backbone import VisionBackbone, load_backbone
from sae.card import BackboneSpec
from sandbox import gates
from sandbox.gates import Figure
from sandbox.heldout import HeldOut, held_out
from sandbox.training.pictures import to_pixels
from sandbox.training.reader import load_reader
from sandbox.world.captions import full_parts, phrase, single
from sandbox.world.scene import labels
from sandbox.world.vocabulary import ATTRIBUTES, OBJECTS, Value, family_of
from tools.drawing import load_generator
from tools.fakes import MemoryImageStore
from tools.protocols import DrawRequest

BALANCED = 2_000
PROMPTS = 500
SEEDS_A_WORD = 10


class Drawn(NamedTuple):
    """What the reader saw in pictures drawn from prompts."""

    prompts: list[str]
    images: list[Image.Image | None]
    seen: list[dict[str, str] | None]


def _open_clip(models: Path) -> VisionBackbone:
    return load_backbone(
        BackboneSpec(kind="open_clip", source=str(models / "clip")), device="cpu", dtype=torch.float32
    )


def _pictures(scenes: HeldOut, *, count: int) -> torch.Tensor:
    return to_pixels([scenes.picture(row) for row in range(count)])


def clip_figures(models: Path) -> list[Figure]:
    """Zero-shot top-1 by attribute from one-word prompts."""
    backbone, scenes = _open_clip(models), held_out(BALANCED, balanced=1.0)
    pixels = _pictures(scenes, count=BALANCED)
    image = torch.cat(
        [backbone.activations(chunk, ["pooled"])["pooled"] for chunk in torch.split(pixels, 250)]
    )
    image = torch.nn.functional.normalize(image.float(), dim=1)
    figures = []
    for name, values in ATTRIBUTES.items():
        text = torch.nn.functional.normalize(
            backbone.encode_text([single(name, value) for value in values]).float(), dim=1
        )
        best = (image @ text.T).argmax(1).tolist()
        right = np.mean([values[b] == labels(s)[name] for b, s in zip(best, scenes.scenes, strict=True)])
        figures.append(Figure(name=f"clip zero-shot {name}", value=float(right), bound=gates.CLIP.get(name)))
    return figures


def classifier_figures(models: Path) -> list[Figure]:
    """Top-1 of the vision-only classifier."""
    spec = BackboneSpec(kind="timm", source=str(models / "vit"))
    backbone, scenes = (
        load_backbone(spec, device="cpu", dtype=torch.float32),
        held_out(BALANCED, balanced=1.0),
    )
    pixels = _pictures(scenes, count=BALANCED)
    logits = torch.cat(
        [backbone.activations(chunk, ["logits"])["logits"] for chunk in torch.split(pixels, 250)]
    )
    right = np.mean(
        [OBJECTS[b] == s.object for b, s in zip(logits.argmax(1).tolist(), scenes.scenes, strict=True)]
    )
    return [Figure(name="classifier object", value=float(right), bound=gates.CLASSIFIER)]


def reader_figures(models: Path) -> list[Figure]:
    """Accuracy of the attribute reader by attribute."""
    scenes = held_out(BALANCED, balanced=1.0)
    seen = load_reader(models / "reader").read([scenes.picture(row) for row in range(BALANCED)])
    return [
        Figure(
            name=f"reader {name}",
            value=float(
                np.mean([labels(s)[name] == said[name] for s, said in zip(scenes.scenes, seen, strict=True)])
            ),
            bound=gates.READER,
        )
        for name in ATTRIBUTES
    ]


def draw(models: Path, prompts: Sequence[str], *, seed: int) -> Drawn:
    """Draw each prompt once with the shipped generator and read what it shows."""
    store = MemoryImageStore()
    generator = load_generator(str(models / "sd"), store)
    drawn = generator([DrawRequest(prompt=prompt, seed=seed + i) for i, prompt in enumerate(prompts)])
    images = [store.get(found.image) if found.image else None for found in drawn]
    shown = iter(load_reader(models / "reader").read([image for image in images if image is not None]))
    return Drawn(list(prompts), images, [next(shown) if image is not None else None for image in images])


def _shows(seen: dict[str, str] | None, value: Value) -> bool:
    if seen is None:
        return False
    shown = family_of(seen["object"]) if value.attribute == "family" else seen[value.attribute]
    return shown == value.value


def generator_figures(models: Path) -> list[Figure]:
    """What full captions of held-out scenes and single words are drawn as."""
    scenes = held_out(PROMPTS).scenes
    drawn = draw(models, [phrase(full_parts(scene)) for scene in scenes], seed=5_000_000)
    figures = [
        Figure(
            name=f"generator {name}",
            value=float(
                np.mean(
                    [
                        _shows(seen, Value(name, labels(s)[name]))
                        for seen, s in zip(drawn.seen, scenes, strict=True)
                    ]
                )
            ),
            bound=gates.GENERATOR.get(name),
        )
        for name in ATTRIBUTES
    ]
    right = single_words(models)
    figures.append(
        Figure(
            name="generator single words", value=float(np.mean(list(right.values()))), bound=gates.SINGLE_WORD
        )
    )
    poor = {value: share for value, share in right.items() if share < gates.UNRENDERABLE}
    figures.append(Figure(name="generator words unrenderable", value=float(len(poor))))
    return [
        *figures,
        *(Figure(name=f"unrenderable {value.value}", value=share) for value, share in poor.items()),
    ]


def single_words(models: Path) -> dict[Value, float]:
    """Every value, asked for by one word, to the share of its pictures that show it."""
    from sandbox.world.concepts import VALUES

    rng = random.Random(0)
    prompts = [single(value.attribute, value.value, rng) for value in VALUES for _ in range(SEEDS_A_WORD)]
    seen = draw(models, prompts, seed=6_000_000).seen
    return {
        value: float(np.mean([_shows(s, value) for s in seen[i * SEEDS_A_WORD : (i + 1) * SEEDS_A_WORD]]))
        for i, value in enumerate(VALUES)
    }

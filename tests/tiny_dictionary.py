"""A dictionary folder of random weights on a random image-text model, drawn by a random pipeline."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from sae.card import BackboneSpec, Origin, ProbeSet
from sae.dictionary import SparseDictionary
from tests.measured_models import plain
from tests.tiny_models import WIDTH, write_open_clip
from tests.tiny_pipelines import tiny_sd15

N_FEATURES = 40
CARD = {
    "generator": "tiny",
    "draws": "Noise.",
    "size": 32,
    "vocabulary": ["fish", "bird", "striped", "red", "water"],
    "search_template": "a picture of {}",
    "judge_template": "a photo of {}",
    "steps": 2,
    "guidance": 2.0,
}
LEXICON = {
    "words": {
        "fish": {"category": "object"},
        "bird": {"category": "object"},
        "striped": {"category": "texture"},
        "red": {"category": "colour"},
        "water": {"category": "background", "preposition": "on"},
    }
}


def write_dictionary(root: Path, *, generator: str | None = "../sd") -> Path:
    """Write backbone, pipeline and dictionary under ``root``; the dictionary's folder."""
    write_open_clip(root / "clip")
    torch.manual_seed(0)
    tiny_sd15(root / "scratch").save_pretrained(root / "sd", safe_serialization=True)
    (root / "sd" / "card.json").write_text(json.dumps(CARD))
    (root / "sd" / "lexicon.json").write_text(json.dumps(LEXICON))
    origin = Origin(
        name="tiny",
        backbone=BackboneSpec(kind="open_clip", source="../clip"),
        hook_point="pooled",
        generator=generator,
        probe_set=ProbeSet(source="sandbox.sets", images=3000),
    )
    random_dictionary().save(root / "tiny", origin)
    return root / "tiny"


def random_dictionary(seed: int = 0) -> SparseDictionary:
    """A TopK dictionary nobody trained."""
    encoder = torch.randn(WIDTH, N_FEATURES, generator=torch.Generator().manual_seed(seed))
    return plain("topk", encoder, encoder.T, k=4)

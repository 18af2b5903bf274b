"""What the measures say where nothing was learnt: untrained dictionaries, and backbones of random weights."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from sae.activations import FeatureReader
from sae.backbone import VisionBackbone, load_backbone
from sae.card import BackboneSpec, Origin
from sae.dictionary import SparseDictionary, load_dictionary
from sae.errors import BadDictionary
from sae.measures.heads import model_of
from sae.training import TrainingConfig, train_dictionary
from sae.untrained import untrained_twin


def untrained(dictionary: SparseDictionary, activations: Tensor, *, seed: int) -> SparseDictionary | None:
    """The twin of a dictionary with the weights training begins with, as sparse on (n, d) activations.

    See ``sae.untrained``. None for an architecture that has none.
    """
    origin = Origin(name="twin", backbone=BackboneSpec(kind="timm", source="none"), hook_point="none")
    with tempfile.TemporaryDirectory() as place:
        known, twin = Path(place) / "known", Path(place) / "twin"
        try:
            dictionary.to("cpu").save(known, origin)
            untrained_twin(known, twin, seed=seed, activations=activations)
            return load_dictionary(twin).to(dictionary.W_enc.device)
        except (BadDictionary, KeyError):
            return None


def noise_backbone(
    spec: BackboneSpec, *, seed: int, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> VisionBackbone | None:
    """The same architecture with random weights: every matrix drawn anew, normal, with its own mean and
    deviation (arXiv 2501.17727); vectors stay. None where the model cannot be reached.
    """
    backbone = load_backbone(spec, device=device, dtype=dtype)
    model = model_of(backbone)
    if model is None:
        return None
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1 and parameter.is_floating_point():
                held = parameter.double().cpu()
                drawn = torch.randn(held.shape, generator=generator, dtype=torch.float64)
                parameter.copy_(drawn * held.std(correction=0) + held.mean())
    return backbone


def on_backbone(reader: FeatureReader, backbone: VisionBackbone) -> FeatureReader:
    """The same reader on another backbone of the same shape."""
    return replace(reader, backbone=backbone)


def trained_on(
    activations: Tensor, like: SparseDictionary, *, l0: float, steps: int, seed: int
) -> SparseDictionary:
    """A TopK dictionary of the size and the L0 of another, trained on (n, d) activations."""
    k = min(like.n_features, max(1, like.k if like.k is not None else round(l0)))
    config = TrainingConfig(
        n_features=like.n_features, k=k, steps=steps, batch_size=min(1024, len(activations)), log_every=steps
    )
    return train_dictionary(activations, config, seed=seed)

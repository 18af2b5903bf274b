from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sae.card import BackboneSpec, Origin, ProbeSet, read_card
from sae.dictionary import Gate, SparseDictionary, load_dictionary
from sae.errors import BadDictionary
from sae.training import TrainingConfig, train_dictionary
from sae.untrained import untrained_twin

WIDTH, FEATURES = 16, 48


def activations(n: int = 403) -> Tensor:
    return 2 * torch.randn(n, WIDTH, generator=torch.Generator().manual_seed(0)) + 5


def trained(root: Path, architecture: str = "topk", **origin: Any) -> Path:
    """A trained dictionary beside folders of what it names."""
    for name in ("clip", "sd", "pictures"):
        (root / name).mkdir(exist_ok=True)
    known = train_dictionary(
        activations(), TrainingConfig(n_features=FEATURES, k=5, steps=30, batch_size=101, lr=3e-3)
    )
    thresholds = {"relu": None, "batchtopk": torch.tensor(1.5), "jumprelu": torch.rand(FEATURES) * 2}
    if architecture == "gated":
        gate = Gate(r_mag=torch.rand(FEATURES), b_mag=torch.rand(FEATURES))
        known = replace(known, architecture="gated", k=None, gate=gate)
    elif architecture != "topk":
        known = replace(known, architecture=architecture, k=None, threshold=thresholds[architecture])
    clip = BackboneSpec(kind="open_clip", source="../clip")
    named = Origin(name="known", backbone=clip, hook_point="pooled", tagger=clip).model_copy(update=origin)
    known.save(root / "known", named)
    return root / "known"


def l0(dictionary: SparseDictionary, x: Tensor) -> float:
    return float((dictionary.encode(x) > 0).sum(1).float().mean())


def test_a_twin_has_the_shape_and_none_of_the_weights(tmp_path: Path) -> None:
    folder = trained(tmp_path)
    card = untrained_twin(folder, tmp_path / "twin", seed=3)
    known, twin = load_dictionary(folder), load_dictionary(tmp_path / "twin")
    assert card.name == "known-untrained" and card == read_card(tmp_path / "twin")
    assert (card.architecture, card.width, card.n_features, card.k) == ("topk", WIDTH, FEATURES, 5)
    assert torch.equal(twin.mean, known.mean) and torch.equal(twin.scale, known.scale)
    assert torch.equal(twin.W_enc, twin.W_dec.T) and not twin.b_enc.any() and not twin.b_dec.any()
    torch.testing.assert_close(twin.W_dec.norm(dim=1), torch.ones(FEATURES))
    assert (twin.W_dec * known.W_dec).sum(1).mean() < 0.5


def test_a_seed_draws_the_same_twin(tmp_path: Path) -> None:
    folder = trained(tmp_path)
    first, again, other = (untrained_twin(folder, tmp_path / f"{n}", seed=n // 2) for n in range(3))
    assert first.weights == again.weights != other.weights


def test_what_a_twin_names_is_found_from_its_own_folder(tmp_path: Path) -> None:
    folder = trained(
        tmp_path, generator="diffusers:../sd", probe_set=ProbeSet(source="../pictures", images=9)
    )
    card = untrained_twin(folder, tmp_path / "elsewhere" / "deep" / "twin", seed=0)
    assert card.backbone.source == str(tmp_path / "clip") and card.tagger == card.backbone
    assert card.generator == f"diffusers:{tmp_path / 'sd'}"
    assert card.probe_set is not None and card.probe_set.source == str(tmp_path / "pictures")


def test_hub_ids_stay_as_they_are(tmp_path: Path) -> None:
    hub = BackboneSpec(kind="timm", source="timm/vit_tiny", revision="main")
    folder = trained(tmp_path, backbone=hub, tagger=None, generator="org/model@rev", probe_set=None)
    card = untrained_twin(folder, tmp_path / "twin", seed=0)
    assert (card.backbone, card.tagger, card.generator, card.probe_set) == (hub, None, "org/model@rev", None)


@pytest.mark.parametrize("architecture", ["batchtopk", "jumprelu", "relu", "gated"])
def test_a_twin_is_as_sparse_as_the_trained_one(tmp_path: Path, architecture: str) -> None:
    folder, x = trained(tmp_path, architecture), activations()
    untrained_twin(folder, tmp_path / "twin", seed=0, activations=x)
    known, twin = load_dictionary(folder), load_dictionary(tmp_path / "twin")
    assert 1 < l0(known, x) < FEATURES / 2
    assert l0(twin, x) == pytest.approx(l0(known, x), abs=0.02)


@pytest.mark.parametrize("architecture", ["batchtopk", "jumprelu"])
def test_a_threshold_cannot_be_set_without_activations(tmp_path: Path, architecture: str) -> None:
    folder = trained(tmp_path, architecture)
    with pytest.raises(BadDictionary, match=f"untrained {architecture} dictionary lacks a threshold"):
        untrained_twin(folder, tmp_path / "twin", seed=0)
    assert not (tmp_path / "twin").exists()


def test_relu_without_activations_starts_without_biases(tmp_path: Path) -> None:
    untrained_twin(trained(tmp_path, "relu"), tmp_path / "twin", seed=0)
    assert not load_dictionary(tmp_path / "twin").b_enc.any()

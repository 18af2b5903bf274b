"""Every export reads back as the same dictionary, and what a format cannot express is refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from sae.card import BackboneSpec, Origin, ProbeSet
from sae.dictionary import Gate, SparseDictionary
from sae.errors import BadDictionary
from sae.exports import export as exporting
from sae.exports.abilities import AFTER_SCALE
from sae.exports.export import TARGETS, Target, export
from sae.exports.folding import fold
from sae.exports.round_trip import difference, doubled
from sae.formats.parts import PEERS_NORM
from sae.loading import load

D, F = 7, 19
ORIGIN = Origin(
    name="my dictionary_1",
    backbone=BackboneSpec(kind="open_clip", source="laion/CLIP-ViT-B-32"),
    hook_point="block.3",
    pooling="cls",
    probe_set=ProbeSet(source="pictures", images=1234),
)


def dictionary(architecture: str = "topk", *, seed: int = 0, **changes: Any) -> SparseDictionary:
    """Random weights, a mean and a scale that are not 0 and 1."""
    chance = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=chance)

    made = SparseDictionary(
        architecture,
        W_enc=draw(D, F) / 2,
        b_enc=draw(F),
        W_dec=torch.nn.functional.normalize(draw(F, D)),
        b_dec=draw(D),
        mean=draw(D) * 3,
        scale=torch.tensor(0.4),
    )
    parts: dict[str, dict[str, Any]] = {
        "topk": {"k": 4},
        "batchtopk": {"k": 4, "threshold": torch.tensor(0.7)},
        "jumprelu": {"threshold": torch.rand(F, generator=chance) + 0.05},
        "gated": {"gate": Gate(draw(F) * 0.3, draw(F))},
        "relu": {},
    }
    return replace(made, **(parts[architecture] | changes))


DICTIONARIES: dict[str, Callable[[], SparseDictionary]] = {
    **{name: partial(dictionary, name) for name in ("relu", "topk", "batchtopk", "jumprelu", "gated")},
    "topk-abs": lambda: dictionary("topk", sign="abs"),
    "topk-keep": lambda: dictionary("topk", sign="keep"),
    "batchtopk-no-k": lambda: dictionary("batchtopk", k=None),
    "batchtopk-abs": lambda: dictionary("batchtopk", sign="abs"),
    "uncalibrated": lambda: dictionary("batchtopk", threshold=None),
    "layer-norm": lambda: dictionary("topk", input_norm=PEERS_NORM),
    "norm-after-scale": lambda: dictionary("relu", input_norm=AFTER_SCALE),
    "torch-norm": lambda: dictionary("relu", input_norm=PEERS_NORM.model_copy(update={"ddof": 0})),
    "tanh": lambda: dictionary("relu", soft_cap=1.0),
    "soft-cap": lambda: dictionary("topk", soft_cap=2.5),
    "threshold-0": lambda: dictionary("batchtopk", threshold=torch.tensor(0.0)),
    "plain-decoder": lambda: replace(dictionary("topk"), mean=torch.zeros(D), b_dec=torch.zeros(D)),
}  # fmt: skip
WRITABLE = {
    "saelens": {
        *("relu", "topk", "batchtopk", "jumprelu", "gated", "topk-abs", "batchtopk-no-k", "layer-norm"),
        *("threshold-0", "plain-decoder"),
    },
    "sparsify": {"topk", "plain-decoder"},
    "dictionary_learning": {
        *("relu", "topk", "batchtopk", "jumprelu", "gated", "batchtopk-no-k", "threshold-0", "plain-decoder")
    },
    "prisma": {"relu", "topk", "gated", "layer-norm", "tanh", "plain-decoder"},
    "saev": {"relu", "topk", "batchtopk", "threshold-0", "plain-decoder"},
    "msae": {
        *("relu", "topk", "batchtopk", "jumprelu", "topk-abs", "topk-keep", "batchtopk-no-k"),
        *("norm-after-scale", "tanh", "soft-cap", "plain-decoder"),
    },
    "torch": {
        *("relu", "topk", "batchtopk", "jumprelu", "gated", "topk-abs", "batchtopk-no-k", "layer-norm"),
        *("threshold-0", "plain-decoder"),
    },
}


@pytest.mark.parametrize("format", TARGETS)
@pytest.mark.parametrize("name", DICTIONARIES)
def test_what_is_exported_reads_back_as_the_same(name: str, format: str, tmp_path: Path) -> None:
    made = DICTIONARIES[name]()
    target = tmp_path / "out" / ("sae.pt" if TARGETS[format].one_file else "sae")
    if name not in WRITABLE[format]:
        with pytest.raises(BadDictionary, match="cannot express") as refused:
            export(made, target, format, origin=ORIGIN)
        assert "\n" not in str(refused.value) and not target.exists()
        return
    exported = export(made, target, format, origin=ORIGIN)
    assert exported.path == target and exported.difference <= 1e-5
    read = load(target).dictionary
    x = torch.randn(33, D, generator=torch.Generator().manual_seed(7), dtype=torch.float64) * 2.5 + made.mean
    assert (doubled(read).reconstruct(x) - doubled(made).reconstruct(x)).abs().max() <= 1e-5
    assert [path.name for path in target.parent.iterdir()] == [target.name]


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.floats(0.01, 100), st.floats(-50, 50))
def test_folding_changes_no_reconstruction(seed: int, scale: float, shift: float) -> None:
    for architecture in ("topk", "gated", "jumprelu"):
        made = dictionary(architecture, seed=seed)
        made = doubled(replace(made, scale=torch.tensor(scale), mean=made.mean + shift))
        folded = fold(made)
        bare = SparseDictionary(
            architecture,
            W_enc=folded.W_enc,
            b_enc=folded.b_enc,
            W_dec=folded.W_dec,
            b_dec=folded.b_dec,
            mean=torch.zeros(D),
            scale=torch.tensor(1.0),
            k=made.k,
            threshold=made.threshold,
            gate=folded.gate,
        )
        # Float32 biases hold what the mean adds to them to a few parts in ten million.
        assert difference(made, bare) <= 1e-5 * max(1.0, abs(shift) * scale)


def test_files_say_where_the_activations_come_from(tmp_path: Path) -> None:
    for format in ("saelens", "prisma", "dictionary_learning"):
        export(dictionary("topk"), tmp_path / format, format, origin=ORIGIN)
    prisma = load(tmp_path / "prisma").hints
    assert prisma.backbone == ORIGIN.backbone and prisma.hook_point() == "block.3" and prisma.tokens == "cls"
    assert load(tmp_path / "saelens").hints.model == load(tmp_path / "dictionary_learning").hints.model
    assert (tmp_path / "prisma" / "n_images_1234.pt").is_file()
    tensors = load_file(tmp_path / "saelens" / "sae_weights.safetensors")
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == {
        "W_enc": (D, F), "b_enc": (F,), "W_dec": (F, D), "b_dec": (D,)
    }  # fmt: skip
    assert json.loads((tmp_path / "saelens" / "cfg.json").read_text())["architecture"] == "topk"


def test_torch_loads_what_is_exported_without_running_anything(tmp_path: Path) -> None:
    export(dictionary("topk"), tmp_path / "a.pth", "torch")
    export(DICTIONARIES["plain-decoder"](), tmp_path / "b.pth", "torch")
    export(dictionary("topk"), tmp_path / "learning", "dictionary_learning")
    assert "state_dict" in torch.load(tmp_path / "a.pth", weights_only=True)
    seed_project = torch.load(tmp_path / "b.pth", weights_only=True)
    assert seed_project["model_state_dict"]["encoder.weight"].shape == (F, D)
    assert torch.load(tmp_path / "learning" / "ae.pt", weights_only=True)["k"] == 4


def test_a_format_that_reads_back_otherwise_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forgetful(made: SparseDictionary, folder: Path, origin: Origin | None) -> None:
        TARGETS["sparsify"].write(replace(made, b_dec=made.b_dec + 1e-3), folder, origin)

    monkeypatch.setitem(exporting.TARGETS, "forgetful", Target(forgetful, "a folder"))
    with pytest.raises(BadDictionary, match="reconstructs differently when read back"):
        export(dictionary("topk"), tmp_path / "out", "forgetful")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten_and_formats_are_named(tmp_path: Path) -> None:
    (tmp_path / "sae").mkdir()
    export(dictionary("topk"), tmp_path / "sae", "sparsify")
    with pytest.raises(BadDictionary, match="exists already"):
        export(dictionary("topk"), tmp_path / "sae", "sparsify")
    with pytest.raises(BadDictionary, match="exists already"):
        export(dictionary("topk"), tmp_path, "saev")
    with pytest.raises(BadDictionary, match="saelens, sparsify"):
        export(dictionary("topk"), tmp_path / "b", "onnx")


def test_a_wide_dictionary_with_near_ties_is_no_different_from_itself() -> None:
    chance = torch.Generator().manual_seed(1)
    d, f = 16, 3000
    made = SparseDictionary(
        "batchtopk",
        W_enc=torch.randn(d, f, generator=chance),
        b_enc=torch.zeros(f),
        W_dec=torch.randn(f, d, generator=chance),
        b_dec=torch.zeros(d),
        mean=torch.zeros(d),
        scale=torch.tensor(1.0),
        threshold=torch.tensor(3.0),
    )
    shaken = replace(made, b_enc=made.b_enc + 1e-7)
    assert difference(made, shaken) < 1e-4
    assert difference(made, replace(made, threshold=torch.tensor(3.1))) > 1e-2
    assert difference(made, replace(made, W_enc=made.W_enc[:, 1:], W_dec=made.W_dec[1:])) == float("inf")

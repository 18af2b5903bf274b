"""Files as sparsify and those that follow it write them, with their own formulas."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.format_writing import (
    Case,
    Draw,
    Written,
    linear,
    only_top,
    only_top_of_batch,
    relu,
    topk_relu,
)

K = 3
THRESHOLD = 0.8
Activate = Callable[[Tensor], Tensor]


def _sparsify(
    config: dict[str, Any], act: Activate, *, name: str = "sae.safetensors"
) -> Callable[[Path, int], Written]:
    def write(folder: Path, seed: int) -> Written:
        draw = Draw(seed)
        encoder, b_e, W_dec, b_d = draw(draw.n, draw.d), draw(draw.n), draw(draw.n, draw.d), draw(draw.d)
        run = folder / "layers.5"
        run.mkdir()
        save_file({"encoder.weight": encoder, "encoder.bias": b_e, "W_dec": W_dec, "b_dec": b_d}, run / name)
        sidecar = "cfg.json" if name == "sae.safetensors" else "config.json"
        (run / sidecar).write_text(json.dumps(config | {"d_in": draw.d, "hidden_size": draw.d}))

        def formula(x: Tensor) -> Tensor:
            return act(linear(x - b_d, encoder, b_e)) @ W_dec.double() + b_d.double()

        return Written(run, formula)

    return write


def _visual(h: Tensor) -> Tensor:
    """TopK within [visual | shared], of shares 2 : 12 : 2 of eleven features."""
    absent = torch.arange(11) >= 11 * 2 // 16 + 11 * 12 // 16
    return topk_relu(relu(h).masked_fill(absent, 0), K)


_SPARSIFY = {
    "activation": "topk",
    "expansion_factor": 32,
    "normalize_decoder": False,
    "num_latents": 0,
    "k": K,
}
_TOPK_SAE = {"model_type": "topk_sae", "latent_size": 0, "expansion_factor": 16, "k": K, "multi_topk": False}
_SIGNED: dict[str, Any] = {"expansion_factor": 32, "k": K, "signed": True}


CASES: tuple[Case, ...] = (
    Case("sparsify", _sparsify(_SPARSIFY, lambda h: topk_relu(h, K)), "sparsify"),
    Case("sparsify-signed", _sparsify(_SIGNED, lambda h: only_top(h, h.abs(), K)), "sparsify"),
    Case("topk-sae", _sparsify(_TOPK_SAE, lambda h: topk_relu(h, K), name="model.safetensors"), "sparsify"),
    Case(
        "vl-sae",
        _sparsify(
            _TOPK_SAE | {"model_type": "vl_topk_sae", "vl_split_ratio": [2, 12, 2]},
            _visual,
            name="model.safetensors",
        ),
        "vl-sae",
    ),
    Case(
        "matryoshka-sae",
        _sparsify(
            _TOPK_SAE | {"model_type": "matryoshka_sae", "group_sizes": [4, 7], "active_groups": 2},
            lambda h: only_top_of_batch(relu(h), relu(h), K),
            name="model.safetensors",
        ),
        "sparsify",
    ),
)

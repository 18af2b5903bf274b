"""Files as dictionary_learning writes them, with its own formulas."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.format_writing import (
    Case,
    Draw,
    Written,
    above,
    linear,
    relu,
    topk_relu,
)

K = 3
THRESHOLD = 0.8
Activate = Callable[[Tensor], Tensor]


def _learning(
    kind: str, *, factor: float | None = None, config: bool = True
) -> Callable[[Path, int], Written]:
    def write(folder: Path, seed: int) -> Written:
        draw = Draw(seed)
        state, formula = _LEARNING[kind](draw)
        run = folder / "trainer_0"
        run.mkdir()
        trainer = {"dict_class": kind, "activation_dim": draw.d, "dict_size": draw.n, "k": K, "lr": 1e-4}
        trainer |= {
            "layer": 11,
            "lm_name": "openai/clip-vit-large-patch14",
            "submodule_name": "resid_post_layer_11",
        }
        if config:
            (run / "config.json").write_text(
                json.dumps({"trainer": trainer, "buffer": {"d_submodule": draw.d}})
            )
        if factor is None:
            torch.save(state, run / "ae.pt")
            return Written(run / "ae.pt", formula)
        held = {
            "step": 9,
            "ae": state,
            "optimizer": {},
            "config": {"trainer": trainer},
            "norm_factor": factor,
        }
        torch.save(held, run / "ae.pt")
        # The library trains on x / factor.
        return Written(run, lambda x: formula(x.double() / factor) * factor)

    return write


def _linear_state(draw: Draw) -> dict[str, Tensor]:
    return {
        "encoder.weight": draw(draw.n, draw.d),
        "encoder.bias": draw(draw.n),
        "decoder.weight": draw(draw.d, draw.n),
    }


def _autoencoder(draw: Draw, act: Activate = relu, name: str = "bias") -> Any:
    state, bias = _linear_state(draw), draw(draw.d)

    def formula(x: Tensor) -> Tensor:
        h = linear(x - bias, state["encoder.weight"], state["encoder.bias"])
        return linear(act(h), state["decoder.weight"], bias)

    return OrderedDict(state | {name: bias}), formula


def _ranked(draw: Draw, act: Activate, threshold: float) -> Any:
    state, formula = _autoencoder(draw, act, "b_dec")
    numbers = {"k": torch.tensor(K, dtype=torch.int32), "threshold": torch.tensor(threshold)}
    return state | numbers, formula


def _autoencoder_new(draw: Draw) -> Any:
    state = _linear_state(draw) | {"decoder.bias": draw(draw.d)}

    def formula(x: Tensor) -> Tensor:
        h = linear(x, state["encoder.weight"], state["encoder.bias"])
        return linear(relu(h), state["decoder.weight"], state["decoder.bias"])

    return state, formula


def _gated(draw: Draw) -> Any:
    encoder, decoder, bias = draw(draw.n, draw.d), draw(draw.d, draw.n), draw(draw.d)
    r, gate, magnitude = draw(draw.n, scale=0.3), draw(draw.n), draw(draw.n)

    def formula(x: Tensor) -> Tensor:
        products = linear(x - bias, encoder)
        size = relu(products * r.double().exp() + magnitude.double())
        return linear(size * (products + gate.double() > 0), decoder, bias)

    state = {"decoder_bias": bias, "r_mag": r, "gate_bias": gate, "mag_bias": magnitude}
    return state | {"encoder.weight": encoder, "decoder.weight": decoder}, formula


def _jumprelu(draw: Draw) -> Any:
    state = draw.four() | {"threshold": draw.positive(draw.n)}

    def formula(x: Tensor) -> Tensor:
        h = x.double() @ state["W_enc"].double() + state["b_enc"].double()
        return above(h, state["threshold"]) @ state["W_dec"].double() + state["b_dec"].double()

    return state, formula


def _matryoshka(draw: Draw) -> Any:
    four = draw.four()
    groups = {"group_sizes": torch.tensor([4, 7]), "k": torch.tensor(K, dtype=torch.int32)}

    def formula(x: Tensor) -> Tensor:
        h = (x - four["b_dec"]).double() @ four["W_enc"].double() + four["b_enc"].double()
        return above(h, THRESHOLD) @ four["W_dec"].double() + four["b_dec"].double()

    return four | groups | {"threshold": torch.tensor(THRESHOLD)}, formula


_LEARNING: dict[str, Callable[[Draw], Any]] = {
    "AutoEncoder": _autoencoder,
    "AutoEncoderNew": _autoencoder_new,
    "GatedAutoEncoder": _gated,
    "JumpReluAutoEncoder": _jumprelu,
    "AutoEncoderTopK": lambda draw: _ranked(draw, lambda h: topk_relu(h, K), -1.0),
    "BatchTopKSAE": lambda draw: _ranked(draw, lambda h: above(h, THRESHOLD), THRESHOLD),
    "MatryoshkaBatchTopKSAE": _matryoshka,
    "MatroyshkaBatchTopKSAE": _matryoshka,
}


CASES: tuple[Case, ...] = (
    *(Case(f"learning-{kind}", _learning(kind), "dictionary_learning") for kind in _LEARNING),
    *(
        Case(f"learning-backup-{kind}", _learning(kind, factor=2.7), "dictionary_learning")
        for kind in (
            "AutoEncoder",
            "GatedAutoEncoder",
            "JumpReluAutoEncoder",
            "AutoEncoderTopK",
            "BatchTopKSAE",
        )
    ),
    Case(
        "learning-batchtopk-flavored",
        _learning("BatchTopKSAE", config=False),
        "dictionary_learning",
        {"flavor": "dictionary_learning-batchtopk"},
    ),
)

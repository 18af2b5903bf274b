"""Files as overcomplete writes them, with its own formulas."""

from __future__ import annotations

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
    instance,
    linear,
    only_top_of_batch,
    relu,
    strangers,
    topk_relu,
)

K = 3
THRESHOLD = 0.8
Activate = Callable[[Tensor], Tensor]


def _complete(
    act: Activate, *, parts: tuple[str, ...] = (), whole: str | None = None
) -> Callable[[Path, int], Written]:
    """overcomplete's; parts: 'bn' encoder, 'jump' thresholds, 'archetypes'. whole: the class to pickle."""

    def write(folder: Path, seed: int) -> Written:
        draw = Draw(seed)
        encoder, decoder = (
            _complete_encoder(draw, "bn" in parts),
            _complete_decoder(draw, "archetypes" in parts),
        )
        state = encoder[0] | decoder[0]
        if "jump" in parts:
            state["thresholds"] = draw(draw.n, scale=0.5)

        def formula(x: Tensor) -> Tensor:
            h = encoder[1](x)
            z = relu(h) * (h >= state["thresholds"].double().exp()) if "jump" in parts else act(h)
            reconstructed: Tensor = z @ decoder[1]()
            return reconstructed

        if whole is None:
            torch.save(OrderedDict(state), folder / "sae.pt")
        else:
            _save_module(whole, state, folder / "sae.pt")
        return Written(folder / "sae.pt", formula)

    return write


def _complete_encoder(draw: Draw, batch_norm: bool) -> Any:
    weight, bias = draw(draw.n, draw.d), draw(draw.n)
    state = {"encoder.final_block.0.weight": weight, "encoder.final_block.0.bias": bias}
    if not batch_norm:
        return state, lambda x: linear(x, weight, bias)
    gain, shift, mean, variance = draw(draw.n), draw(draw.n), draw(draw.n), draw.positive(draw.n)
    named = {"weight": gain, "bias": shift, "running_mean": mean, "running_var": variance}
    state |= {f"encoder.final_block.1.{name}": tensor for name, tensor in named.items()}
    state["encoder.final_block.1.num_batches_tracked"] = torch.tensor(9)

    def encode(x: Tensor) -> Tensor:
        normed = (linear(x, weight, bias) - mean.double()) / (variance.double() + 1e-5).sqrt()
        return normed * gain.double() + shift.double()

    return state, encode


def _complete_decoder(draw: Draw, archetypes: bool) -> Any:
    multiplier = torch.tensor(0.3)
    if not archetypes:
        weights = draw(draw.n, draw.d)
        state = {"dictionary._weights": weights, "dictionary.multiplier": multiplier}
        unit = weights.double() / weights.double().norm(dim=1, keepdim=True)
        return state, lambda: unit * multiplier.double().exp()
    mix, points, relax = draw(draw.n, 7), draw(7, draw.d), draw(draw.n, draw.d, scale=0.1)
    mix[:, 0] = draw.positive(draw.n)
    rows = relu(mix.double()) / relu(mix.double()).sum(1, keepdim=True)
    named = {"W": mix, "C": points, "Relax": relax, "multiplier": multiplier}
    state = {f"dictionary.{name}": tensor for name, tensor in named.items()}
    return state, lambda: (rows @ points.double() + relax.double()) * multiplier.double().exp()


def _save_module(kind: str, state: dict[str, Tensor], path: Path) -> None:
    """The whole module, as torch.save(sae) pickles it."""
    classes = (
        f"overcomplete.sae.{kind}",
        "overcomplete.sae.modules.MLPEncoder",
        "overcomplete.sae.dictionary.DictionaryLayer",
    )
    with strangers(*classes, "torch_nn.Linear") as (sae, mlp, layer, block):
        top = {"encoder": instance(mlp), "dictionary": instance(layer, normalization="l2")}
        final = {
            "_modules": {
                "0": instance(
                    block, _parameters=_under(state, "encoder.final_block.0."), _buffers={}, _modules={}
                )
            }
        }
        vars(top["encoder"]).update(
            _parameters={},
            _buffers={},
            _modules={"final_block": instance(block, _parameters={}, _buffers={}, **final)},
        )
        vars(top["dictionary"]).update(_parameters=_under(state, "dictionary."), _buffers={}, _modules={})
        settings = (
            {"top_k": 3 * 7, "running_threshold": torch.tensor(THRESHOLD)}
            if "Batch" in kind
            else {"top_k": K}
        )
        torch.save(instance(sae, training=False, _parameters={}, _buffers={}, _modules=top, **settings), path)


def _under(state: dict[str, Tensor], prefix: str) -> dict[str, Any]:
    return {
        name.removeprefix(prefix): torch.nn.Parameter(tensor)
        for name, tensor in state.items()
        if name.startswith(prefix)
    }


CASES: tuple[Case, ...] = (
    Case("overcomplete-relu", _complete(relu), "overcomplete", {"flavor": "overcomplete-relu"}),
    Case("overcomplete-topk", _complete(lambda h: topk_relu(h, K)), "overcomplete", {"k": K}),
    Case(
        "overcomplete-topk-bn", _complete(lambda h: topk_relu(h, K), parts=("bn",)), "overcomplete", {"k": K}
    ),
    Case("overcomplete-jump", _complete(relu, parts=("jump",)), "overcomplete"),
    Case(
        "overcomplete-ra-topk",
        _complete(lambda h: topk_relu(h, K), parts=("archetypes",)),
        "overcomplete",
        {"k": K},
    ),
    Case("overcomplete-ra-jump", _complete(relu, parts=("archetypes", "jump")), "overcomplete"),
    Case(
        "overcomplete-topk-module",
        _complete(lambda h: topk_relu(h, K), whole="topk_sae.TopKSAE"),
        "overcomplete",
    ),
    Case("overcomplete-relu-module", _complete(relu, whole="base.SAE"), "overcomplete"),
    Case(
        "overcomplete-batchtopk-module",
        _complete(lambda h: above(h, THRESHOLD), whole="batchtopk_sae.BatchTopKSAE"),
        "overcomplete",
    ),
    Case(
        "overcomplete-batchtopk",
        _complete(lambda h: only_top_of_batch(relu(h), relu(h), K)),
        "overcomplete",
        {"k": K, "flavor": "overcomplete-batchtopk"},
    ),
)

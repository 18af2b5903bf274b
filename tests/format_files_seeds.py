"""Files as the seed projects, MSAE, DN-CBM and ai-safety-foundation write them, with their own formulas."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.format_writing import (
    Case,
    Draw,
    Formula,
    Written,
    instance,
    linear,
    only_top,
    only_top_of_batch,
    relu,
    strangers,
    topk_relu,
    unit_norm,
)

K = 3


def _martetten(wrap: Callable[[dict[str, Tensor]], Any], name: str) -> Callable[[Path, int], Written]:
    def write(folder: Path, seed: int) -> Written:
        draw = Draw(seed)
        encoder, bias = draw(draw.n, draw.d), draw(draw.n)
        decoder = draw(draw.d, draw.n)
        state = {"encoder.weight": encoder, "encoder_bias": bias, "decoder.weight": decoder}
        torch.save(wrap(state), folder / name)
        return Written(folder / name, lambda x: linear(topk_relu(linear(x, encoder, bias), K), decoder))

    return write


def _epoch(state: dict[str, Tensor]) -> Any:
    optimiser = {"state": {0: {"step": torch.tensor(5.0)}}, "param_groups": [{"lr": 2e-4, "params": [0, 1]}]}
    metrics = {"loss": 0.1, "mse": 0.1, "l1": 2.0, "l0": 500.0, "explained_variance": 0.8}
    return {"epoch": 7, "model_state_dict": state, "optimizer_state_dict": optimiser, "metrics": metrics}


def _described(state: dict[str, Tensor]) -> dict[str, Any]:
    clip = {"model_name": "ViT-B-32", "pretrained": "laion2b_s34b_b79k", "layer": 11}
    sae = {"d_model": 768, "expansion_factor": 64, "k": K, "sparsity_coeff": 0.0}
    config = {"clip": clip, "sae": sae}
    return {"model_state_dict": state, "sae_config": config, "training_config": {"lr": 2e-4}}


def _nworkv(wrapped: bool) -> Callable[[Path, int], Written]:
    def write(folder: Path, seed: int) -> Written:
        draw = Draw(seed)
        state = OrderedDict(
            {
                "latent_bias": draw(draw.n),
                "layernorm_before.weight": draw(draw.d),
                "layernorm_before.bias": draw(draw.d),
                "encoder.weight": draw(draw.n, draw.d),
                "encoder.bias": draw(draw.n),
                "decoder.weight": draw(draw.d, draw.n),
                "decoder.bias": draw(draw.d),
            }
        )
        path = folder / ("CHEKPOINT_e3_20250910_.chk" if wrapped else "sae_20250910_101112")
        rest = {"epoch": 3, "optimizer_state_dict": {}, "scheduler": {"gamma": 0.7}, "criterion": None}
        torch.save(rest | {"model_state_dict": state} if wrapped else state, path)
        return Written(path, lambda x: _nworkv_formula(x, state))

    return write


def _nworkv_formula(x: Tensor, state: dict[str, Tensor]) -> Tensor:
    gain, shift = state["layernorm_before.weight"].double(), state["layernorm_before.bias"].double()
    u = torch.nn.functional.layer_norm(x.double(), x.shape[1:], gain, shift, eps=1e-12)
    h = linear(u, state["encoder.weight"], state["encoder.bias"]) + state["latent_bias"].double()
    return linear(relu(only_top(h, h, K)), state["decoder.weight"], state["decoder.bias"])


def _sative(folder: Path, seed: int) -> Written:
    draw = Draw(seed)
    encoder, b_e, decoder, b_d = draw(draw.n, draw.d), draw(draw.n), draw(draw.d, draw.n), draw(draw.d)
    path = folder / "12_00064_004" / "weights_003"
    path.mkdir(parents=True)
    named = {"encoder_weight": encoder, "encoder_bias": b_e, "decoder_weight": decoder, "decoder_bias": b_d}
    for name, tensor in named.items():
        np.save(path / f"{name}.npy", tensor.numpy())
    return Written(path, lambda x: linear(relu(linear(x - b_d, encoder, b_e)), decoder, b_d))


def _msae(words: str, act: Formula, **how: Any) -> Callable[[Path, int], Written]:
    """``words``: the name between d and the data; how: tied, normalise, cap, centred."""

    def write(folder: Path, seed: int) -> Written:
        draw = Draw(seed)
        model = OrderedDict(
            pre_bias=draw(draw.d),
            encoder=draw(draw.d, draw.n),
            latent_bias=draw(draw.n),
            latents_activation_frequency=torch.zeros(draw.n, dtype=torch.int64),
        )
        if not how.get("tied"):
            model["decoder"] = draw(draw.n, draw.d)
        if "JumpReLU" in words:
            model["activation.log_threshold"] = draw.positive(draw.n).log()
        centred = how.get("centred", True)
        mean, s = (draw(draw.d), 0.37) if centred else (0.0, 1.0)
        data = "cc3m_ViT-L~14_train_image_2905936_768"
        path = folder / f"{draw.n}_{draw.d}_{words}_{data}.pth"
        held = {"model": model, "mean_center": mean, "scaling_factor": torch.tensor(s) if centred else s}
        torch.save(held | {"target_norm": None}, path)
        return Written(path, lambda x: _msae_formula(x, model, mean, s, act=act, how=how))

    return write


def _msae_formula(x: Tensor, model: Any, mean: Any, s: float, *, act: Formula, how: dict[str, Any]) -> Tensor:
    v = (x.double() - torch.as_tensor(mean).double()) * torch.tensor(s).double()
    normed = unit_norm(v) if how.get("normalise") else None
    bias, encoder = model["pre_bias"].double(), model["encoder"].double()
    h = ((normed.u if normed else v) - bias) @ encoder + model["latent_bias"].double()
    if "activation.log_threshold" in model:
        z = relu(h) * (h > model["activation.log_threshold"].double().exp())
    else:
        z = act(h)
    if "cap" in how:
        z = how["cap"] * torch.tanh(z / how["cap"])
    decoded = z @ (model["decoder"].double() if "decoder" in model else encoder.T) + bias
    decoded = normed.back(decoded) if normed else decoded
    return decoded / torch.tensor(s).double() + torch.as_tensor(mean).double()


def _components(*, dot: str, axis: bool, pickled: bool) -> Callable[[Path, int], Written]:
    def write(folder: Path, seed: int) -> Written:
        draw = Draw(seed)
        tied, encoder, b_e, decoder = draw(draw.d), draw(draw.n, draw.d), draw(draw.n), draw(draw.d, draw.n)
        layers = {
            "tied_bias": tied,
            "pre_encoder_bias._bias_reference": tied,
            f"encoder.{dot}weight": encoder,
            f"encoder.{dot}bias": b_e,
            f"decoder.{dot}weight": decoder,
            "post_decoder_bias._bias_reference": tied,
        }
        state = OrderedDict((name, tensor[None] if axis else tensor) for name, tensor in layers.items())
        path = folder / ("sae-model-state.pt" if pickled else "sparse_autoencoder_final.pt")
        _save_state(state, path, draw, pickled=pickled)
        return Written(path, lambda x: linear(relu(linear(x - tied, encoder, b_e)), decoder, tied))

    return write


def _save_state(state: Any, path: Path, draw: Draw, *, pickled: bool) -> None:
    if not pickled:
        torch.save(state, path)
        return
    module = "sparse_autoencoder.autoencoder.model"
    with strangers(f"{module}.SparseAutoencoderState", f"{module}.SparseAutoencoderConfig") as (outer, inner):
        config = instance(inner, n_input_features=draw.d, n_learned_features=draw.n, n_components=1)
        torch.save(instance(outer, config=config, state_dict=state, fields_set={"config"}), path)


def _identity(h: Tensor) -> Tensor:
    return h


_MSAE = {
    "msae-matryoshka": _msae("TopKReLU_3_RW_False_False_0.0", lambda h: topk_relu(h, K)),
    "msae-relu": _msae("ReLU_003_False_False_0.0", relu, centred=False),
    "msae-jumprelu": _msae("JumpReLU_False_False_0.0", relu),
    "msae-topk": _msae("TopK_9_False_False_0.0", lambda h: only_top(h, h, 9)),
    "msae-topk-abs": _msae("TopKabs_3_False_False_0.0", lambda h: only_top(h, h.abs(), K)),
    "msae-topk-abs-relu": _msae("TopKabsReLU_3_False_False_0.0", lambda h: relu(only_top(h, h.abs(), K))),
    "msae-batchtopk": _msae("BatchTopKReLU_3_False_False_0.0", lambda h: relu(only_top_of_batch(h, h, K))),
    "msae-batchtopk-abs": _msae("BatchTopKabs_3_False_False_0.0", lambda h: only_top_of_batch(h, h.abs(), K)),
    "msae-tied-capped": _msae("TopKReLU_3_UW_True_False_2.0", lambda h: topk_relu(h, K), tied=True, cap=2.0),
    "msae-normalised": _msae("TopKReLU_3_False_True_0.0", lambda h: topk_relu(h, K), normalise=True),
    "msae-identity": _msae("Identity_False_False_0.0", _identity),
}

CASES: tuple[Case, ...] = (
    Case("martetten-epoch", _martetten(_epoch, "sae_epoch_07.pth"), "martetten", {"k": K}),
    Case(
        "martetten-clean",
        _martetten(lambda state: _described(state) | {"evr": 0.8057}, "sae_best_clean.pth"),
        "martetten",
    ),
    Case(
        "martetten-exported",
        _martetten(
            lambda state: _described(state) | {"log_path": "logs/x", "metrics": {"dict_size": 11}},
            "sae_clip_vitb32_layer11_ef64.pth",
        ),
        "martetten",
    ),
    Case("nworkv-state", _nworkv(False), "nworkv", {"k": K}),
    Case("nworkv-checkpoint", _nworkv(True), "nworkv", {"k": K}),
    Case("sative", _sative, "sative"),
    *(Case(name, write, "msae") for name, write in _MSAE.items()),
    Case("dn-cbm", _components(dot="_", axis=True, pickled=False), "dn-cbm"),
    Case("dn-cbm-flat", _components(dot="_", axis=False, pickled=False), "dn-cbm"),
    Case("asf-state", _components(dot="", axis=True, pickled=True), "asf"),
    Case("asf-bare", _components(dot="", axis=False, pickled=False), "asf"),
)

"""Files as SAELens writes them, since version 6 and before, with its own formulas."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.format_writing import (
    Case,
    Draw,
    Formula,
    Written,
    above,
    instance,
    lengths,
    only_top,
    relu,
    strangers,
    topk_relu,
    unit_norm,
)

K = 3
THRESHOLD = 0.8


def _config(draw: Draw, **more: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "sae_lens_version": "6.54.12",
        "sae_lens_training_version": "6.54.12",
        "model_name": "gpt2",
    }
    metadata |= {"hook_name": "blocks.5.hook_resid_post", "hook_head_index": None}
    plain = {
        "d_in": draw.d,
        "d_sae": draw.n,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
    }
    plain |= {"normalize_activations": "none", "reshape_activations": "none", "architecture": "standard"}
    return plain | {"metadata": metadata} | more


def _formula(
    state: dict[str, Tensor], act: Formula, *, subtract: bool = True, rescale: bool = False
) -> Formula:
    def reconstruct(x: Tensor) -> Tensor:
        bias = state["b_dec"].double()
        h = (x.double() - bias * subtract) @ state["W_enc"].double() + state["b_enc"].double()
        lengths = state["W_dec"].double().norm(dim=1) if rescale else torch.ones(len(state["W_dec"])).double()
        return (act(h * lengths) / lengths) @ state["W_dec"].double() + bias

    return reconstruct


def _save(folder: Path, state: dict[str, Tensor], config: dict[str, Any]) -> Path:
    save_file(
        {name: tensor.contiguous() for name, tensor in state.items()}, folder / "sae_weights.safetensors"
    )
    (folder / "cfg.json").write_text(json.dumps(config))
    save_file({"sparsity": torch.zeros(config["d_sae"])}, folder / "sparsity.safetensors")
    return folder


def _plain(act: Formula, **config: Any) -> Callable[[Path, int], Written]:
    """Of the four tensors and the given settings."""

    def write(folder: Path, seed: int) -> Written:
        draw = Draw(seed)
        state, more = draw.four(), {}
        if config.get("architecture") == "jumprelu":
            more["threshold"] = draw.positive(draw.n)
        if "batchtopk" in config.get("architecture", ""):
            more["topk_threshold"] = torch.tensor(THRESHOLD, dtype=torch.float64)
        said = _config(draw, **config)
        reconstruct = _formula(
            state,
            (lambda h: above(h, more["threshold"])) if "threshold" in more else act,
            subtract=said["apply_b_dec_to_input"],
            rescale=said.get("rescale_acts_by_decoder_norm", False),
        )
        return Written(_save(folder, state | more, said), reconstruct)

    return write


def _gated(folder: Path, seed: int) -> Written:
    draw = Draw(seed)
    state = {name: tensor for name, tensor in draw.four().items() if name != "b_enc"}
    state |= {"b_gate": draw(draw.n), "r_mag": draw(draw.n, scale=0.3), "b_mag": draw(draw.n)}

    def reconstruct(x: Tensor) -> Tensor:
        products = (x - state["b_dec"]).double() @ state["W_enc"].double()
        size = relu(products * state["r_mag"].double().exp() + state["b_mag"].double())
        open_gates = products + state["b_gate"].double() > 0
        return (size * open_gates) @ state["W_dec"].double() + state["b_dec"].double()

    return Written(_save(folder, state, _config(draw, architecture="gated")), reconstruct)


def _normalised(how: str) -> Callable[[Path, int], Written]:
    def write(folder: Path, seed: int) -> Written:
        draw = Draw(seed)
        state = draw.four()
        inner = _formula(state, lambda h: topk_relu(h, K))
        before, after = _NORMS[how](draw, folder)
        path = _save(folder, state, _config(draw, architecture="topk", k=K, normalize_activations=how))

        def reconstruct(x: Tensor) -> Tensor:
            reconstructed: Tensor = after(inner(before(x.double())), x.double())
            return reconstructed

        return Written(path, reconstruct)

    return write


def _layer_norm(draw: Draw, folder: Path) -> Any:
    return lambda x: unit_norm(x).u, lambda u, x: unit_norm(x).back(u)


def _constant_norm(draw: Draw, folder: Path) -> Any:
    def factor(x: Tensor) -> Tensor:
        return math.sqrt(draw.d) / lengths(x)

    return lambda x: x * factor(x), lambda u, x: u / factor(x)


def _expected(draw: Draw, folder: Path) -> Any:
    (folder / "activation_scaler.json").write_text(json.dumps({"scaling_factor": 0.42}))
    return lambda x: x * 0.42, lambda u, x: u / 0.42


def _whitening(draw: Draw, folder: Path) -> Any:
    mean, mixing = draw(draw.d), draw(draw.d, draw.d).double()
    values, vectors = torch.linalg.eigh(mixing @ mixing.T + torch.eye(draw.d))
    matrix, inverse = vectors * values.rsqrt(), values.sqrt()[:, None] * vectors.T
    held = {"mean": mean.double(), "matrix": matrix.contiguous(), "inverse_matrix": inverse.contiguous()}
    save_file(held, folder / "activation_whitening.safetensors")
    (folder / "activation_scaler.json").write_text(json.dumps({"scaling_factor": None}))
    return lambda x: (x - mean.double()) @ matrix, lambda u, x: u @ inverse + mean.double()


_NORMS: dict[str, Callable[[Draw, Path], Any]] = {
    "layer_norm": _layer_norm,
    "constant_norm_rescale": _constant_norm,
    "expected_average_only_in": _expected,
    "covariance_whitening": _whitening,
}


def _flat(act: Formula, **config: Any) -> Callable[[Path, int], Written]:
    """Before version 6: one flat configuration, with the weights stretched after fine-tuning."""

    def write(folder: Path, seed: int) -> Written:
        draw = Draw(seed)
        state, factor = draw.four(), draw.positive(draw.n)
        said = {
            "d_in": draw.d,
            "d_sae": draw.n,
            "hook_point": "blocks.5.hook_resid_post",
            "hook_point_layer": 5,
        }
        said |= {"model_name": "gpt2", "apply_b_dec_to_input": True, "finetuning_scaling_factor": True}
        stretched = state | {"W_dec": state["W_dec"] * factor[:, None]}
        path = _save(folder, state | {"scaling_factor": factor}, said | config)
        return Written(path, _formula(stretched, act))

    return write


def _oldest(folder: Path, seed: int) -> Written:
    draw = Draw(seed)
    state = draw.four()
    with strangers("sae_lens.training.config.LanguageModelSAERunnerConfig") as (kind,):
        config = instance(kind, hook_point="blocks.2.hook_resid_pre", d_in=draw.d, expansion_factor=2)
        torch.save({"cfg": config, "state_dict": state}, folder / "final_sparse_autoencoder_gpt2.pt")
    return Written(folder, _formula(state, relu))


_TOPK = {"k": K, "architecture": "topk"}
_BATCH = {"k": K, "rescale_acts_by_decoder_norm": True}

_WRITERS = {
    "standard": _plain(relu),
    "standard-plain": _plain(relu, apply_b_dec_to_input=False),
    "topk": _plain(lambda h: topk_relu(h, K), **_TOPK),
    "topk-rescaled": _plain(lambda h: topk_relu(h, K), **_TOPK, rescale_acts_by_decoder_norm=True),
    "abstopk": _plain(lambda h: only_top(h, h.abs(), K), architecture="abstopk", k=K),
    "jumprelu": _plain(relu, architecture="jumprelu", apply_b_dec_to_input=False),
    "gated": _gated,
    "batchtopk": _plain(lambda h: above(h, THRESHOLD), architecture="batchtopk", **_BATCH),
    "matryoshka": _plain(lambda h: above(h, THRESHOLD), architecture="matryoshka_batchtopk", **_BATCH),
    **{f"{how}": _normalised(how) for how in _NORMS},
    "flat-topk": _flat(
        lambda h: topk_relu(h, K),
        activation_fn_str="topk",
        activation_fn_kwargs={"k": K},
        architecture="standard",
    ),
    "flat-tanh": _flat(lambda h: torch.tanh(relu(h)), activation_fn="tanh-relu", normalize_activations=False),
    "oldest": _oldest,
}

CASES: tuple[Case, ...] = tuple(Case(f"saelens-{name}", write, "saelens") for name, write in _WRITERS.items())

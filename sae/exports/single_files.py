"""saev, MSAE and a plain torch file: everything in one file."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import torch

from sae.card import Origin
from sae.dictionary import SparseDictionary
from sae.errors import UnfitRequest
from sae.exports.abilities import AFTER_SCALE, Abilities
from sae.exports.folders import saelens_config, spread_threshold
from sae.exports.folding import Folded, fold

SAEV = Abilities("saev", ("relu", "topk", "batchtopk"))
MSAE = Abilities(
    "MSAE",
    ("relu", "topk", "batchtopk", "jumprelu"),
    signs=("relu", "keep", "abs", "abs-relu"),
    norms=(None, AFTER_SCALE),
    soft_caps=None,
)
_MSAE_RANKS = {"relu": "TopKReLU", "keep": "TopK", "abs": "TopKabs", "abs-relu": "TopKabsReLU"}
_SAEV_SCHEMA = 5


def write_saev(dictionary: SparseDictionary, folder: Path, origin: Origin | None) -> None:
    """sae.pt: a line of JSON and a torch file; nothing is subtracted."""
    SAEV.refuse_beyond(dictionary)
    folded = fold(dictionary)
    tensors = {"W_enc": folded.W_enc, "b_enc": folded.b_enc, "W_dec": folded.W_dec, "b_dec": folded.b_dec}
    if dictionary.threshold is not None:
        tensors["activation.threshold"] = dictionary.threshold.cpu()
    config = {
        "d_model": dictionary.width,
        "d_sae": dictionary.n_features,
        "activation": _saev_activation(dictionary),
        "reinit_blend": 0.0,
        "remove_parallel_grads": False,
        "normalize_w_dec": False,
    }
    header = {"schema": _SAEV_SCHEMA, "cfg": config, "commit": "unknown", "lib": "namesae"}
    weights = io.BytesIO()
    torch.save(tensors, weights)
    (folder / "sae.pt").write_bytes(json.dumps(header).encode() + b"\n" + weights.getvalue())


def _saev_activation(dictionary: SparseDictionary) -> dict[str, Any]:
    sparsity = {"cls": "NoSparsity", "params": {"key": "no-sparsity"}}
    if dictionary.architecture == "relu":
        return {"cls": "Relu", "params": {"key": "relu", "sparsity": sparsity}}
    if dictionary.k is None:
        raise UnfitRequest("saev cannot express a batchtopk dictionary that has no k; choose another format.")
    ranked = {"top_k": dictionary.k, "sparsity": sparsity}
    if dictionary.architecture == "topk":
        return {"cls": "TopK", "params": {"key": "top-k", **ranked}}
    return {"cls": "BatchTopK", "params": {"key": "batch-top-k", **ranked}}


def write_msae(dictionary: SparseDictionary, folder: Path, origin: Origin | None) -> None:
    """'{n}_{d}_{activation}[_{k}]_{tied}_{normalise}_{soft cap}_{name}.pth': its name is its configuration.

    Mean and scale stay what they are; b_dec is subtracted there.
    """
    MSAE.refuse_beyond(dictionary)
    held = dictionary.to("cpu")
    folded = Folded(held.W_enc, held.b_enc, held.W_dec, held.b_dec).subtracting()
    model = {
        "pre_bias": folded.b_dec,
        "encoder": folded.W_enc,
        "latent_bias": folded.b_enc,
        "decoder": folded.W_dec,
        "latents_activation_frequency": torch.zeros(dictionary.n_features, dtype=torch.int64),
    }
    if dictionary.threshold is not None:
        thresholds = spread_threshold(dictionary)
        if not bool((thresholds > 0).all()):
            raise UnfitRequest(
                "MSAE cannot express a threshold of 0, whose logarithm it keeps; choose another format."
            )
        model["activation.log_threshold"] = thresholds.log()
    content = {"model": model, "mean_center": held.mean, "scaling_factor": held.scale, "target_norm": None}
    torch.save(content, folder / _msae_name(dictionary, origin))


def _msae_name(dictionary: SparseDictionary, origin: Origin | None) -> str:
    if dictionary.architecture == "topk":
        activation = f"{_MSAE_RANKS[dictionary.sign]}_{dictionary.k}"
    else:
        # The word after ReLU is the decimals of its L1 penalty.
        activation = "ReLU_0" if dictionary.architecture == "relu" else "JumpReLU"
    normalised, cap = dictionary.input_norm is not None, dictionary.soft_cap or 0.0
    data = re.sub(r"[^\w~.-]", "~", origin.name if origin else "dictionary")
    return f"{dictionary.n_features}_{dictionary.width}_{activation}_False_{normalised}_{cap!r}_{data}.pth"


def write_torch(dictionary: SparseDictionary, folder: Path, origin: Origin | None) -> None:
    """dictionary.pth: weights and configuration and nothing else, which torch loads with weights_only.

    A TopK over a decoder without bias is written as SAE-for-CLIP does, anything else with SAELens' names.
    """
    torch.save(_torch_content(dictionary), folder / "dictionary.pth")


def _torch_content(dictionary: SparseDictionary) -> dict[str, Any]:
    plain = dictionary.architecture == "topk" and dictionary.sign == "relu"
    folded = fold(dictionary)
    if plain and dictionary.input_norm is None and dictionary.soft_cap is None and not folded.b_dec.any():
        state = {
            "encoder.weight": folded.W_enc.T.contiguous(),
            "encoder_bias": folded.b_enc,
            "decoder.weight": folded.W_dec.T.contiguous(),
        }
        sizes = {"d_model": dictionary.width, "dict_size": dictionary.n_features, "k": dictionary.k}
        return {"model_state_dict": state, "sae_config": {"sae": sizes}}
    config, tensors = saelens_config(dictionary)
    return {"cfg": config, "state_dict": tensors}

"""SAELens, sparsify, dictionary_learning and Prisma: a folder of weights beside their configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from sae.card import Origin
from sae.dictionary import SparseDictionary
from sae.exports.abilities import NORMS, Abilities, norm_name
from sae.exports.folding import Folded, fold
from sae.formats.parts import PEERS_NORM

SAELENS = Abilities(
    "SAELens",
    ("relu", "topk", "batchtopk", "jumprelu", "gated"),
    signs=("relu", "abs"),
    norms=(None, PEERS_NORM),
)
SPARSIFY = Abilities("sparsify", ("topk",), signs=("relu",))
LEARNING = Abilities("dictionary_learning", ("relu", "topk", "batchtopk", "jumprelu", "gated"))
PRISMA = Abilities("Prisma", ("relu", "topk", "gated"), norms=tuple(NORMS.values()), soft_caps=(1.0,))
_SAELENS_VERSION = "6.54.12"
_UNIT = 1e-3


def write_saelens(dictionary: SparseDictionary, folder: Path, origin: Origin | None) -> None:
    """cfg.json and sae_weights.safetensors, nothing subtracted; batchtopk becomes jumprelu as there."""
    kind, tensors = _saelens_weights(dictionary)
    metadata = {
        "sae_lens_version": _SAELENS_VERSION,
        "sae_lens_training_version": None,
        "model_name": origin.backbone.source if origin else None,
        "hook_name": origin.hook_point if origin else None,
    }
    config = {
        "d_in": dictionary.width,
        "d_sae": dictionary.n_features,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": False,
        "normalize_activations": norm_name(dictionary),
        "reshape_activations": "none",
        "metadata": metadata,
        "architecture": kind,
    }
    ranked = {"k": dictionary.k, "rescale_acts_by_decoder_norm": False} if "topk" in kind else {}
    _write_json(folder / "cfg.json", config | ranked)
    _save(tensors, folder / "sae_weights.safetensors")


def saelens_config(dictionary: SparseDictionary) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """SAELens' configuration and weights for a file that holds both."""
    kind, tensors = _saelens_weights(dictionary)
    config = {
        "architecture": kind,
        "d_in": dictionary.width,
        "d_sae": dictionary.n_features,
        "apply_b_dec_to_input": False,
        "normalize_activations": norm_name(dictionary),
    }
    return config | ({"k": dictionary.k} if "topk" in kind else {}), tensors


def _saelens_weights(dictionary: SparseDictionary) -> tuple[str, dict[str, Tensor]]:
    SAELENS.refuse_beyond(dictionary)
    folded = fold(dictionary)
    tensors = {"W_enc": folded.W_enc, "W_dec": folded.W_dec, "b_dec": folded.b_dec}
    if folded.gate is not None:
        return "gated", tensors | {"b_gate": folded.b_enc, **folded.gate._asdict()}
    tensors["b_enc"] = folded.b_enc
    if dictionary.architecture == "topk":
        return ("abstopk" if dictionary.sign == "abs" else "topk"), tensors
    if dictionary.threshold is None:
        return "standard", tensors
    return "jumprelu", tensors | {"threshold": spread_threshold(dictionary)}


def write_sparsify(dictionary: SparseDictionary, folder: Path, origin: Origin | None) -> None:
    """cfg.json and sae.safetensors; b_dec is subtracted there."""
    SPARSIFY.refuse_beyond(dictionary)
    folded = fold(dictionary).subtracting()
    config = {
        "activation": "topk",
        "expansion_factor": max(1, dictionary.n_features // dictionary.width),
        "normalize_decoder": _has_unit_rows(folded),
        "num_latents": dictionary.n_features,
        "k": dictionary.k,
        "multi_topk": False,
        "skip_connection": False,
        "transcode": False,
        "d_in": dictionary.width,
    }
    _write_json(folder / "cfg.json", config)
    tensors = {"encoder.weight": folded.W_enc.T, "encoder.bias": folded.b_enc}
    _save(tensors | {"W_dec": folded.W_dec, "b_dec": folded.b_dec}, folder / "sae.safetensors")


def write_learning(dictionary: SparseDictionary, folder: Path, origin: Origin | None) -> None:
    """config.json and ae.pt, as the class of that library that the dictionary is."""
    LEARNING.refuse_beyond(dictionary)
    kind, tensors = _learning_weights(dictionary)
    trainer = {
        "dict_class": kind,
        "activation_dim": dictionary.width,
        "dict_size": dictionary.n_features,
        "k": dictionary.k,
        "lm_name": origin.backbone.source if origin else None,
        "submodule_name": origin.hook_point if origin else None,
    }
    _write_json(folder / "config.json", {"trainer": trainer, "buffer": {}})
    torch.save({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "ae.pt")


def _learning_weights(dictionary: SparseDictionary) -> tuple[str, dict[str, Tensor]]:
    folded = fold(dictionary)
    if folded.gate is not None:
        taken = folded.subtracting()
        assert taken.gate is not None
        biases = {"decoder_bias": taken.b_dec, "gate_bias": taken.b_enc, "mag_bias": taken.gate.b_mag}
        return "GatedAutoEncoder", _linear(taken) | biases | {"r_mag": taken.gate.r_mag}
    if dictionary.architecture == "relu":
        return "AutoEncoderNew", _linear(folded) | {
            "encoder.bias": folded.b_enc,
            "decoder.bias": folded.b_dec,
        }
    if dictionary.architecture == "topk" or (dictionary.architecture == "batchtopk" and dictionary.k):
        return _learning_ranked(dictionary, folded.subtracting())
    tensors = {"W_enc": folded.W_enc, "b_enc": folded.b_enc, "W_dec": folded.W_dec, "b_dec": folded.b_dec}
    return "JumpReluAutoEncoder", tensors | {"threshold": spread_threshold(dictionary)}


def _learning_ranked(dictionary: SparseDictionary, folded: Folded) -> tuple[str, dict[str, Tensor]]:
    threshold = torch.tensor(-1.0) if dictionary.threshold is None else dictionary.threshold.cpu()
    settings = {"k": torch.tensor(dictionary.k, dtype=torch.int32), "threshold": threshold}
    kind = "AutoEncoderTopK" if dictionary.architecture == "topk" else "BatchTopKSAE"
    return kind, _linear(folded) | {"encoder.bias": folded.b_enc, "b_dec": folded.b_dec, **settings}


def write_prisma(dictionary: SparseDictionary, folder: Path, origin: Origin | None) -> None:
    """config.json and n_images_N.pt; b_dec is subtracted there."""
    PRISMA.refuse_beyond(dictionary)
    folded = fold(dictionary).subtracting()
    tensors = {"W_enc": folded.W_enc, "W_dec": folded.W_dec, "b_enc": folded.b_enc, "b_dec": folded.b_dec}
    if folded.gate is not None:
        # The library's gated class keeps a b_enc that it does not use.
        tensors |= {"b_enc": torch.zeros_like(folded.b_enc), "b_gate": folded.b_enc, **folded.gate._asdict()}
    ranked = dictionary.architecture == "topk"
    plain = "relu" if dictionary.soft_cap is None else "tanh-relu"
    config = {
        "model_class_name": "HookedViT",
        "architecture": "gated" if folded.gate is not None else "standard",
        "activation_fn_str": "topk" if ranked else plain,
        "activation_fn_kwargs": {"k": dictionary.k} if ranked else {},
        "normalize_activations": norm_name(dictionary),
        "d_in": dictionary.width,
        "d_sae": dictionary.n_features,
        "expansion_factor": dictionary.n_features / dictionary.width,
        "is_transcoder": False,
    }
    _write_json(folder / "config.json", config | _prisma_place(origin))
    images = origin.probe_set.images if origin and origin.probe_set else 0
    torch.save({name: each.contiguous() for name, each in tensors.items()}, folder / f"n_images_{images}.pt")


def _prisma_place(origin: Origin | None) -> dict[str, Any]:
    if origin is None:
        return {}
    kind, _, index = origin.hook_point.partition(".")
    block = {"hook_point_layer": int(index), "layer_subtype": "hook_resid_post"}
    tokens = {"cls_token_only": origin.pooling == "cls"}
    tokens["use_patches_only"] = origin.pooling in ("max", "mean", "top-p")
    placed = block if kind == "block" and index.isdecimal() else {}
    prefix = "open-clip:" if origin.backbone.kind == "open_clip" else ""
    return {"model_name": f"{prefix}{origin.backbone.source}", **tokens, **placed}


def spread_threshold(dictionary: SparseDictionary) -> Tensor:
    """(F,) thresholds, one number for all where it has one."""
    assert dictionary.threshold is not None
    return dictionary.threshold.float().cpu().expand(dictionary.n_features).clone()


def _linear(folded: Folded) -> dict[str, Tensor]:
    return {"encoder.weight": folded.W_enc.T, "decoder.weight": folded.W_dec.T}


def _has_unit_rows(folded: Folded) -> bool:
    return bool(((folded.W_dec.norm(dim=1) - 1).abs() < _UNIT).all())


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _save(tensors: dict[str, Tensor], path: Path) -> None:
    # Clones: safetensors refuses tensors that share memory.
    save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, path)

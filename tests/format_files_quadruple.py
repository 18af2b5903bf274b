"""Files of W_enc, b_enc, W_dec and b_dec of HugoFry, Prisma, bussmann, saev and Gemma Scope, and formulas."""

from __future__ import annotations

import gzip
import io
import json
import math
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
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
    only_top_of_batch,
    relu,
    strangers,
    topk_relu,
    unit_norm,
)

K = 3
THRESHOLD = 0.8


class Quadruple(NamedTuple):
    """The four and what a library does with them."""

    state: dict[str, Tensor]
    subtract: bool = True
    use_b_enc: bool = True
    norm: str = "none"

    def reconstruct(self, act: Formula) -> Formula:
        """The library's formula."""
        return lambda x: self._formula(x.double(), act)

    def _formula(self, x: Tensor, act: Formula) -> Tensor:
        W_enc, b_enc, W_dec, b_dec = (
            self.state[name].double() for name in ("W_enc", "b_enc", "W_dec", "b_dec")
        )
        normed, factor = unit_norm(x), math.sqrt(x.shape[1]) / lengths(x)
        u = {"none": x, "layer_norm": normed.u, "constant_norm_rescale": x * factor}[self.norm]
        out = act((u - b_dec * self.subtract) @ W_enc + b_enc * self.use_b_enc) @ W_dec + b_dec
        return {"none": out, "layer_norm": normed.back(out), "constant_norm_rescale": out / factor}[self.norm]


def four(draw: Draw) -> dict[str, Tensor]:
    """As a module's state dict has them."""
    return OrderedDict(
        W_dec=draw(draw.n, draw.d), W_enc=draw(draw.d, draw.n), b_enc=draw(draw.n), b_dec=draw(draw.d)
    )


def _hugofry(cls: str, name: str, **settings: Any) -> Callable[[Path, int], Written]:
    def write(folder: Path, seed: int) -> Written:
        draw = Draw(seed)
        state = four(draw)
        attributes = {
            "model_name": "openai/clip-vit-large-patch14",
            "block_layer": -2,
            "module_name": "resid",
        }
        attributes |= {
            "class_token": True,
            "d_in": draw.d,
            "d_sae": draw.n,
            "dtype": torch.float32,
            "seed": 42,
        }
        attributes |= {
            "gated_sae": False,
            "device": torch.device("cpu"),
            "checkpoint_path": "checkpoints",
        } | settings
        with strangers(cls) as (kind,):
            held = {"cfg": instance(kind, **attributes), "state_dict": state}
            if name.endswith(".gz"):
                (folder / name).write_bytes(gzip.compress(pickle.dumps(held)))
            else:
                torch.save(held, folder / name)
        return Written(folder / name, Quadruple(state).reconstruct(relu))

    return write


def _prisma(
    act: Formula, norm: str = "layer_norm", *, pickled: bool = False, **config: Any
) -> Callable[[Path, int], Written]:
    def write(folder: Path, seed: int) -> Written:
        draw = Draw(seed)
        state = four(draw)
        said = {"model_name": "open-clip:laion/CLIP-ViT-B-32-DataComp.XL-s13B-b90K", "hook_point_layer": 9}
        said |= {"model_class_name": "HookedViT", "layer_subtype": "hook_resid_post", "cls_token_only": False}
        said |= {
            "use_patches_only": False,
            "architecture": "standard",
            "activation_fn_str": "relu",
            "d_in": draw.d,
        }
        said |= {"activation_fn_kwargs": {}, "normalize_activations": norm, "is_transcoder": False} | config
        torch.save(torch.zeros(draw.n), folder / "n_images_2600058_log_feature_sparsity.pt")
        path = folder / "n_images_2600058.pt"
        if pickled:
            with strangers("vit_prisma.sae.config.VisionModelSAERunnerConfig") as (kind,):
                torch.save({"cfg": instance(kind, **said), "state_dict": state}, path)
        else:
            torch.save(state, path)
            (folder / "config.json").write_text(json.dumps(said))
        return Written(folder, Quadruple(state, norm=norm).reconstruct(act))

    return write


def _prisma_gated(folder: Path, seed: int) -> Written:
    draw = Draw(seed)
    state = four(draw) | {"b_gate": draw(draw.n), "r_mag": draw(draw.n, scale=0.3), "b_mag": draw(draw.n)}
    torch.save(state, folder / "n_images_9.pt")
    said = {"architecture": "gated", "layer_subtype": "hook_mlp_out", "normalize_activations": "layer_norm"}
    (folder / "config.json").write_text(json.dumps(said))

    def reconstruct(x: Tensor) -> Tensor:
        normed, bias = unit_norm(x), state["b_dec"].double()
        products = (normed.u - bias) @ state["W_enc"].double()
        size = relu(products * state["r_mag"].double().exp() + state["b_mag"].double())
        z = size * (products + state["b_gate"].double() > 0)
        return normed.back(z @ state["W_dec"].double() + bias)

    return Written(folder, reconstruct)


def _bussmann(kind: str, *, unit: bool = True, hub: bool = False) -> Callable[[Path, int], Written]:
    def write(folder: Path, seed: int) -> Written:
        draw = Draw(seed)
        state = four(draw)
        logs = draw.positive(draw.n).log()
        acts: dict[str, Formula] = {
            "vanilla": relu,
            "topk": lambda h: topk_relu(h, K),
            "jumprelu": lambda h: above(h, logs.double().exp()),
        }
        act = acts.get(kind, lambda h: above(h, THRESHOLD))
        more = {"jumprelu": {"jumprelu.log_threshold": logs}, "vanilla": {}, "topk": {}}
        whole = state | more.get(kind, {"threshold": torch.tensor(THRESHOLD)})
        config = {
            "sae_type": kind,
            "act_size": draw.d,
            "dict_size": draw.n,
            "top_k": K,
            "input_unit_norm": unit,
        }
        (folder / "config.json").write_text(
            json.dumps(config | {"group_sizes": "[4, 7]", "model_type": "sae"})
        )
        if hub:
            save_file({f"sae.{name}": tensor for name, tensor in whole.items()}, folder / "model.safetensors")
        else:
            torch.save(whole, folder / "sae.pt")
        meant = Quadruple(
            state,
            subtract=kind != "jumprelu",
            use_b_enc=kind in ("vanilla", "jumprelu"),
            norm="layer_norm" if unit else "none",
        )
        return Written(folder, meant.reconstruct(act))

    return write


def _saev(schema: int | None, cls: str, act: Formula) -> Callable[[Path, int], Written]:
    def write(folder: Path, seed: int) -> Written:
        draw = Draw(seed)
        state = four(draw)
        if cls == "BatchTopK":
            state["activation.threshold"] = torch.tensor(THRESHOLD)
        buffer = io.BytesIO()
        torch.save(state, buffer)
        header = json.dumps(_saev_header(draw, schema, cls)).encode()
        (folder / "sae.pt").write_bytes(header + b"\n" + buffer.getvalue())
        old = schema is None or schema < 2
        return Written(folder / "sae.pt", Quadruple(state, subtract=old).reconstruct(act))

    return write


def _saev_header(draw: Draw, schema: int | None, cls: str) -> dict[str, Any]:
    first = {"d_vit": draw.d, "exp_factor": 2, "sparsity_coeff": 4e-4, "ghost_grads": False, "seed": 42}
    if schema is None:
        return first
    if schema == 1:
        return {"schema": 1, "cfg": first | {"top_k": K}, "cls": cls, "commit": "unknown", "lib": "0.0.0"}
    params: dict[str, Any] = {
        "key": cls.lower(),
        "sparsity": {"cls": "NoSparsity", "params": {"key": "no-sparsity"}},
    }
    params |= {} if cls == "Relu" else {"top_k": K, "aux": {"cls": "AuxK", "params": {"k_aux": 512}}}
    config = {"d_model": draw.d, "d_sae": draw.n, "activation": {"cls": cls, "params": params}}
    return {"schema": schema, "cfg": config | {"normalize_w_dec": True}, "commit": "unknown", "lib": "0.0.0"}


def _gemma(folder: Path, seed: int) -> Written:
    draw = Draw(seed)
    state, threshold = four(draw), draw.positive(draw.n)
    arrays: dict[str, Any] = {
        name: tensor.numpy() for name, tensor in (state | {"threshold": threshold}).items()
    }
    np.savez(folder / "params.npz", **arrays)
    return Written(
        folder / "params.npz", Quadruple(state, subtract=False).reconstruct(lambda h: above(h, threshold))
    )


def _bare(
    act: Formula, *, subtract: bool, use_b_enc: bool = True, norm: str = "none"
) -> Callable[[Path, int], Written]:
    """No word on whose it is."""

    def write(folder: Path, seed: int) -> Written:
        state = four(Draw(seed))
        torch.save(state, folder / "sae.pt")
        meant = Quadruple(state, subtract=subtract, use_b_enc=use_b_enc, norm=norm)
        return Written(folder / "sae.pt", meant.reconstruct(act))

    return write


def _top(h: Tensor) -> Tensor:
    return topk_relu(h, K)


_BARE: dict[str, tuple[Callable[[Path, int], Written], dict[str, Any]]] = {
    "hugofry": (_bare(relu, subtract=True), {}),
    "prisma": (_bare(relu, subtract=True, norm="layer_norm"), {}),
    "prisma-none": (_bare(_top, subtract=True), {"k": K}),
    "saelens-plain": (_bare(relu, subtract=False), {}),
    "saev-plain": (_bare(_top, subtract=False), {"k": K}),
    "saev-subtracting": (_bare(relu, subtract=True), {}),
    "bussmann-topk": (_bare(_top, subtract=True, use_b_enc=False), {"k": K}),
    "bussmann-batchtopk": (
        _bare(lambda h: only_top_of_batch(relu(h), relu(h), K), subtract=True, use_b_enc=False),
        {"k": K},
    ),
}

CASES: tuple[Case, ...] = (
    Case(
        "hugofry",
        _hugofry("sae_training.config.ViTSAERunnerConfig", "final_sparse_autoencoder.pt"),
        "hugofry",
    ),
    Case("hugofry-gzip", _hugofry("sae_training.config.ViTSAERunnerConfig", "sae.pkl.gz"), "hugofry"),
    Case(
        "patchsae",
        _hugofry("src.sae_training.config.ViTSAERunnerConfig", "2621440.pt", class_token=False),
        "hugofry",
    ),
    Case(
        "conceptscope",
        _hugofry("src.sae_training.config.Config", "clip-vit-large-patch14_-2_resid_32768.pt"),
        "hugofry",
    ),
    Case("prisma", _prisma(relu), "prisma"),
    Case("prisma-none", _prisma(relu, "none"), "prisma"),
    Case("prisma-constant-norm", _prisma(relu, "constant_norm_rescale"), "prisma"),
    Case("prisma-topk", _prisma(_top, activation_fn_str="topk", activation_fn_kwargs={"k": K}), "prisma"),
    Case("prisma-tanh", _prisma(lambda h: torch.tanh(relu(h)), activation_fn_str="tanh-relu"), "prisma"),
    Case("prisma-pickled", _prisma(relu, pickled=True), "prisma"),
    Case("prisma-gated", _prisma_gated, "prisma"),
    *(
        Case(f"bussmann-{kind}", _bussmann(kind), "bussmann")
        for kind in ("vanilla", "topk", "batchtopk", "jumprelu")
    ),
    Case("bussmann-matryoshka", _bussmann("global-matryoshka-topk", unit=False), "bussmann"),
    Case("bussmann-hub", _bussmann("topk", hub=True), "bussmann"),
    Case("saev-unversioned", _saev(None, "Relu", relu), "saev"),
    Case("saev-1-topk", _saev(1, "TopK", _top), "saev"),
    *(Case(f"saev-{schema}", _saev(schema, "Relu", relu), "saev") for schema in (2, 3, 4, 5)),
    Case("saev-5-topk", _saev(5, "TopK", _top), "saev"),
    Case("saev-5-batchtopk", _saev(5, "BatchTopK", lambda h: above(h, THRESHOLD)), "saev"),
    Case("gemma-scope", _gemma, "gemma-scope"),
    *(
        Case(f"bare-{flavor}", write, "quadruple", {"flavor": flavor} | more)
        for flavor, (write, more) in _BARE.items()
    ),
)

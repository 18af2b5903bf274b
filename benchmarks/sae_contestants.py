"""What trains in the benchmarks: this project, and its peers in the order of their own loops."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple

import torch
from torch import Tensor

BETAS = (0.9, 0.999)
SHARES = (1 / 16, 1 / 16, 1 / 8, 1 / 4, 1 / 2)
"""Of the features, in each group of a matryoshka dictionary."""


@dataclass(frozen=True)
class Settings:
    """What every contestant is given alike."""

    contestant: str
    architecture: str
    """topk, multi-topk (k and 4 k), batchtopk, matryoshka, relu, jumprelu or gated."""
    rows: str
    """A file of ``torch.save``: {"train": (n, d), "held_out": (m, d)}."""
    n_features: int
    k: int
    """Activations a row, or the L0 that jumprelu aims at."""
    batch: int
    steps: int
    lr: float
    weight: float = 0.0
    """Of the sparsity term, beside squared errors summed over a row: of a row's summed activations (relu,
    gated), of (l0 / k - 1) squared (jumprelu)."""
    dead_after: int = 10_000_000
    auxk: float = 0.0
    """Weight of AuxK, for those that have it."""
    seed: int = 0
    threads: int = 2
    device: str = "cpu"
    clock: str = "wall"
    """wall, or processor: seconds that this process computed, which others on the machine add less to."""


class Contestant(NamedTuple):
    """What a library trains."""

    step: Callable[[Tensor, int], object]
    """One whole step on (b, d) rows: forward, backward, optimiser, normalisation, count of the dead."""
    encode: Callable[[Tensor], Tensor]
    """(b, d) to (b, F)."""
    decode: Callable[[Tensor], Tensor]
    """(b, F) to (b, d)."""


def ours(at: Settings, sample: Tensor) -> Contestant:
    """This project's presets at the budget that all are given."""
    from sae.sparse_steps import SparseGradients
    from sae.trainer.member import Member, Start
    from sae.trainer.recipe_file import read_preset
    from sae.trainer.schedule import Plan

    changes: dict[str, object] = {
        "n_features": at.n_features,
        "steps": at.steps,
        "batch_size": at.batch,
        "optimiser.lr": at.lr,
        "optimiser.betas": list(BETAS),
        "optimiser.warm_up": 0,
        "optimiser.decay": 0,
        "dead.policy": "auxk" if at.auxk else "none",
        "dead.after": at.dead_after,
        "dead.weight": at.auxk,
    }
    if at.architecture not in ("relu", "gated"):
        changes["k"] = at.k
    if at.architecture in ("relu", "gated", "jumprelu"):
        # The presets' losses are over the variance, which is d here.
        changes["loss.weight"] = at.weight / sample.shape[1]
    preset = "topk" if at.architecture == "multi-topk" else at.architecture
    if at.architecture == "multi-topk":
        changes["nesting"] = {"by": "k", "ks": [at.k, 4 * at.k], "weights": [1, 1 / 8], "average": False}
    recipe = read_preset(
        f"namesae-{preset}", changes=[f"{key}={json.dumps(value)}" for key, value in changes.items()]
    )
    member = Member(Start(recipe, Plan.of(recipe, None), at.seed), sample, gradients=SparseGradients())
    return Contestant(
        lambda x, step: member.step(x, at=step),
        lambda x: member.dictionary(sample).encode(x),
        lambda z: member.dictionary(sample).decode(z),
    )


def matmul(at: Settings, sample: Tensor) -> Contestant:
    """The encoder's product alone: what no exact step can do without."""
    width = sample.shape[1]
    weights = torch.randn(at.n_features, width, device=sample.device).mul(width**-0.5)
    out = torch.empty(at.batch, at.n_features, device=sample.device)
    return Contestant(lambda x, _: torch.mm(x, weights.T, out=out), lambda x: x, lambda z: z)


def dictionary_learning(at: Settings, sample: Tensor) -> Contestant:
    """Its own trainers; nnsight and wandb, which it imports and does not need here, are stubbed."""
    for name in ("nnsight", "wandb"):
        sys.modules.setdefault(name, types.ModuleType(name))
    sys.modules["nnsight"].LanguageModel = object  # type: ignore[attr-defined]
    ranked = {"k": at.k, "auxk_alpha": at.auxk}
    batched = ranked | {"threshold_start_step": at.steps // 2, "threshold_beta": 0.99}
    gradual = {"sparsity_warmup_steps": None}
    kinds: dict[str, tuple[str, str, dict[str, Any]]] = {
        "topk": ("top_k", "TopKTrainer", ranked),
        "batchtopk": ("batch_top_k", "BatchTopKTrainer", batched),
        "matryoshka": (
            "matryoshka_batch_top_k",
            "MatryoshkaBatchTopKTrainer",
            batched | {"group_fractions": list(SHARES)},
        ),
        "relu": ("standard", "StandardTrainer", gradual | {"l1_penalty": at.weight}),
        "jumprelu": (
            "jumprelu",
            "JumpReluTrainer",
            gradual | {"sparsity_penalty": at.weight, "target_l0": float(at.k)},
        ),
        "gated": ("gdm", "GatedSAETrainer", gradual | {"l1_penalty": at.weight}),
    }
    if at.architecture not in kinds:
        raise NotImplementedError(f"it has no {at.architecture}")
    module, name, own = kinds[at.architecture]
    trainer = getattr(import_module(f"dictionary_learning.trainers.{module}"), name)(
        steps=at.steps,
        activation_dim=sample.shape[1],
        dict_size=at.n_features,
        layer=0,
        lm_name="none",
        lr=at.lr,
        warmup_steps=0,
        seed=at.seed,
        device=at.device,
        **own,
    )
    if hasattr(trainer, "dead_feature_threshold"):
        trainer.dead_feature_threshold = at.dead_after
    return Contestant(lambda x, step: trainer.update(step, x), trainer.ae.encode, trainer.ae.decode)


def sparsify(at: Settings, sample: Tensor) -> Contestant:
    """Its SparseCoder, in the order of its trainer's loop, with Adam in place of signum."""
    if at.architecture not in ("topk", "multi-topk"):
        raise NotImplementedError(f"it has no {at.architecture}")
    multi = at.architecture == "multi-topk"
    if at.device == "cpu":
        # Its Triton kernels load wherever Triton is installed, and then need a GPU.
        os.environ["SPARSIFY_DISABLE_TRITON"] = "1"
    library = import_module("sparsify")
    torch.manual_seed(at.seed)
    how = library.SparseCoderConfig(num_latents=at.n_features, k=at.k, multi_topk=multi)
    coder = library.SparseCoder(sample.shape[1], how, at.device)
    coder.b_dec.data = sample[: at.batch].mean(0)
    optimiser = torch.optim.Adam(coder.parameters(), lr=at.lr, betas=BETAS)
    idle = torch.zeros(at.n_features, dtype=torch.long, device=sample.device)
    fired = torch.zeros(at.n_features, dtype=torch.bool, device=sample.device)

    def step(x: Tensor, _: int) -> None:
        coder.set_decoder_norm_to_unit_norm()
        out = coder(x, dead_mask=idle > at.dead_after if at.auxk else None)
        fired[out.latent_indices.flatten()] = True
        (out.fvu + at.auxk * out.auxk_loss + out.multi_topk_fvu / 8).backward()
        coder.remove_gradient_parallel_to_decoder_directions()
        optimiser.step()
        optimiser.zero_grad()
        idle.add_(len(x))
        idle[fired] = 0
        fired.zero_()

    def encode(x: Tensor) -> Tensor:
        out = coder.encode(x)
        return x.new_zeros(len(x), at.n_features).scatter(1, out.top_indices, out.top_acts)

    return Contestant(step, encode, lambda z: z @ coder.W_dec + coder.b_dec)


def overcomplete(at: Settings, sample: Tensor) -> Contestant:
    """Its SAEs with linear encoders, in its training loop's order; its ``__init__``, which may not import, is

    passed by.
    """
    if "overcomplete" not in sys.modules:
        found = importlib.util.find_spec("overcomplete")
        if found is None or found.submodule_search_locations is None:
            raise ImportError("No module named 'overcomplete'")
        package = types.ModuleType("overcomplete")
        package.__path__ = list(found.submodule_search_locations)
        sys.modules["overcomplete"] = package
    library, losses = import_module("overcomplete.sae"), import_module("overcomplete.sae.losses")
    trackers = import_module("overcomplete.sae.trackers")
    if at.architecture not in ("topk", "relu"):
        raise NotImplementedError(f"its {at.architecture} is another one, if it has it")
    torch.manual_seed(at.seed)
    width, topk = sample.shape[1], at.architecture == "topk"
    start = library.TopKSAE(width, at.n_features, top_k=at.k) if topk else library.SAE(width, at.n_features)
    model = start.untied(bias=True).to(at.device)
    # It has no bias of its own: rows are centred for it.
    centre = sample.mean(0)
    optimiser = torch.optim.Adam(model.parameters(), lr=at.lr, betas=BETAS)
    tracker = trackers.DeadCodeTracker(at.n_features, at.device)
    penalty = 0.0 if topk else at.weight / (at.batch * width)

    def step(x: Tensor, _: int) -> None:
        optimiser.zero_grad()
        x = x - centre
        before, z, decoded = model(x)
        loss = losses.mse_l1(x, decoded, before, z, model.get_dictionary(), penalty=penalty)
        tracker.update(z)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()

    return Contestant(
        step, lambda x: model.encode(x - centre)[1], lambda z: z @ model.get_dictionary() + centre
    )


def saelens(at: Settings, sample: Tensor, *, sparse: bool = False) -> Contestant:
    """Its training SAEs, in the order of its trainer's step."""
    if sparse and at.architecture != "topk":
        raise NotImplementedError("its sparse activations are TopK's")
    library, given = import_module("sae_lens.saes"), import_module("sae_lens.saes.sae").TrainStepInput
    ranked = {"k": at.k, "aux_loss_coefficient": at.auxk}
    ends = torch.tensor(SHARES).cumsum(0).mul(at.n_features).round().int().tolist()
    kinds: dict[str, tuple[str, dict[str, Any]]] = {
        "topk": ("TopK", ranked | {"use_sparse_activations": sparse}),
        "batchtopk": ("BatchTopK", ranked),
        "matryoshka": ("MatryoshkaBatchTopK", ranked | {"matryoshka_widths": ends}),
        "relu": ("Standard", {"l1_coefficient": at.weight}),
        "jumprelu": (
            "JumpReLU",
            {"l0_coefficient": at.weight, "target_l0": at.k, "jumprelu_sparsity_loss_mode": "quadratic"},
        ),
        "gated": ("Gated", {"l1_coefficient": at.weight}),
    }
    if at.architecture not in kinds:
        raise NotImplementedError(f"it has no {at.architecture}")
    name, own = kinds[at.architecture]
    torch.manual_seed(at.seed)
    how = getattr(library, f"{name}TrainingSAEConfig")(
        d_in=sample.shape[1], d_sae=at.n_features, device=at.device, **own
    )
    coder = getattr(library, f"{name}TrainingSAE")(how)
    optimiser = torch.optim.Adam(coder.parameters(), lr=at.lr, betas=BETAS)
    idle = torch.zeros(at.n_features, device=sample.device)
    frequency = torch.zeros(at.n_features, device=sample.device)

    def step(x: Tensor, number: int) -> None:
        coder.train()
        dead = idle > at.dead_after / at.batch
        out = coder.training_forward_pass(given(x, {"l1": at.weight, "l0": at.weight}, dead, number, False))
        with torch.no_grad():
            firing = out.feature_acts.bool().float()
            fired = firing.sum(-2).bool()
            fired = fired.to_dense() if fired.is_sparse else fired
            idle.add_(1)
            idle[fired] = 0
            frequency.add_(firing.sum(0))
        out.loss.backward()
        torch.nn.utils.clip_grad_norm_(coder.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()

    def encode(x: Tensor) -> Tensor:
        if at.architecture in ("batchtopk", "matryoshka"):
            # As the JumpReLU that it saves these as.
            h: Tensor = coder.encode_with_hidden_pre(x)[1].relu()
            return h.where(h > coder.topk_threshold, 0)
        z: Tensor = coder.encode(x)
        return z.to_dense() if z.is_sparse else z

    return Contestant(step, encode, coder.decode)


CONTESTANTS: dict[str, Callable[[Settings, Tensor], Contestant]] = {
    "ours": ours,
    "encoder-matmul": matmul,
    "dictionary_learning": dictionary_learning,
    "sparsify": sparsify,
    "overcomplete": overcomplete,
    "saelens": saelens,
    "saelens-sparse": lambda at, sample: saelens(at, sample, sparse=True),
}

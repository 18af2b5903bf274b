"""One dictionary in training: its coder, its optimiser and everything else that the next step depends on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sae.dictionary import SparseDictionary
from sae.sparse_update import update
from sae.trainer.canonical import calibrated, canonical
from sae.trainer.coder import Coder
from sae.trainer.dead import resample
from sae.trainer.gradients import Gradients, Knobs, Outcome, autograd
from sae.trainer.measure import Measured, Prepared, measure, prepare
from sae.trainer.recipe import Recipe
from sae.trainer.schedule import Plan, annealed_k, learning_rate, ramp


class Start(NamedTuple):
    """What a training begins from."""

    recipe: Recipe
    plan: Plan
    seed: int


class Member:
    """One of the dictionaries that train on a stream."""

    def __init__(
        self, start: Start, rows: Tensor, *, measured: Measured | None = None, gradients: Gradients = autograd
    ) -> None:
        """``rows``: (n, d) of the stream, which mean, scale and first biases are measured on."""
        self.recipe, self.plan = start.recipe, start.plan
        self.generator = torch.Generator().manual_seed(start.seed)
        self.measured = measured or measure(rows, start.recipe.input)
        sample = prepare(rows, start.recipe.input, by=self.measured).u if _looks(start.recipe) else None
        coder = Coder(rows.shape[1], start.recipe, generator=self.generator, sample=sample)
        self.coder = coder.to(rows.device)
        self.optimiser = _optimiser(self.coder, start.recipe)
        self.averaged = {name: weight.detach().clone() for name, weight in self._averages()}
        self.rounds = 0
        self._gradients = gradients

    def step(self, x: Tensor, *, at: int) -> Outcome:
        """One update on (b, d) activations; ``at`` counts steps from 0."""
        batch = prepare(x, self.recipe.input, by=self.measured)
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate(at) * group["share"]
        outcome = self._gradients(self.coder, batch, self._knobs(at))
        update(self.coder, self.optimiser, clip=self.recipe.optimiser.clip)
        self._after(batch, outcome, at)
        return outcome

    def rate(self, at: int) -> float:
        """The learning rate of a step."""
        how = self.recipe.optimiser
        return learning_rate(at, how, plan=self.plan, n_features=self.coder.n_features)

    @torch.no_grad()
    def dictionary(self, rows: Tensor) -> SparseDictionary:
        """The dictionary as it is now; (n, d) rows calibrate a batchtopk one that has no threshold."""
        kept = {name: weight.detach().clone() for name, weight in self._averages()}
        self._set(self.averaged)
        found = canonical(self.coder, self.measured)
        self._set(kept)
        if self.recipe.architecture != "batchtopk" or found.threshold is not None:
            return found
        return calibrated(found, rows)

    def state(self) -> dict[str, Tensor]:
        """Everything the next step depends on, by name."""
        held = {f"weight.{name}": tensor.detach() for name, tensor in self.coder.state_dict().items()}
        for name, weight in self.coder.named_parameters():
            for moment, tensor in self.optimiser.state.get(weight, {}).items():
                held[f"optimiser.{moment}.{name}"] = torch.as_tensor(tensor)
        held |= {f"average.{name}": tensor for name, tensor in self.averaged.items()}
        held |= {f"measured.{name}": tensor for name, tensor in self.measured._asdict().items()}
        return held | {"generator": self.generator.get_state(), "rounds": torch.tensor(self.rounds)}

    @torch.no_grad()
    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from what ``state`` gave. KeyError and RuntimeError when it is another recipe's."""
        device = self.coder.W_enc.device
        self.coder.load_state_dict({name: state[f"weight.{name}"] for name in self.coder.state_dict()})
        for name, weight in self.coder.named_parameters():
            # Steps are counted on the CPU, as Adam does.
            for key in [
                key for key in state if key.startswith("optimiser.") and key.split(".", 2)[2] == name
            ]:
                moment = key.split(".")[1]
                # Adam counts steps on the CPU, and goes on in the memory layout of its weights.
                self.optimiser.state[weight][moment] = (
                    state[key] if moment == "step" else torch.empty_like(weight).copy_(state[key])
                )
        self.averaged = {name: state[f"average.{name}"].to(device) for name in self.averaged}
        self.measured = Measured(*(state[f"measured.{name}"].to(device) for name in Measured._fields))
        self.generator.set_state(state["generator"].cpu())
        self.rounds = int(state["rounds"])

    def _knobs(self, at: int) -> Knobs:
        loss = self.recipe.loss
        return Knobs(
            k=annealed_k(at, self.recipe, plan=self.plan),
            sparsity=loss.weight * ramp(at, loss.warm_up, plan=self.plan),
            cuts=cuts(self.recipe, self.coder.n_features, generator=self.generator),
            measured=self.measured,
        )

    def _after(self, batch: Prepared, outcome: Outcome, at: int) -> None:
        how, size = self.recipe.dead, self.recipe.batch_size
        if outcome.least is not None and at >= self.recipe.threshold.from_step:
            self._follow(outcome.least)
        for name, weight in self._averages():
            # While there are few steps the last tenth of them counts: a long memory would be of the start.
            decay = min(self.recipe.optimiser.average or 0, (1 + at) / (10 + at))
            self.averaged[name].lerp_(weight.detach(), 1 - decay)
        again = (at + 1) * size // how.every > at * size // how.every
        if how.policy == "resample" and again and (how.rounds is None or self.rounds < how.rounds):
            self.rounds += 1
            both = (batch.u, batch.target)
            resample(self.coder, self.optimiser, batch=both, generator=self.generator)

    def _follow(self, least: Tensor) -> None:
        floor, decay = self.coder.floor, self.recipe.threshold.decay
        moved = torch.where(floor < 0, least, floor * decay + least * (1 - decay))
        floor.copy_(torch.where(least.isfinite(), moved, floor))

    def _averages(self) -> list[tuple[str, nn.Parameter]]:
        """The weights of which a running mean is kept."""
        kept = self.recipe.optimiser.average is not None
        return [each for each in self.coder.named_parameters() if kept and each[1].requires_grad]

    @torch.no_grad()
    def _set(self, weights: dict[str, Tensor]) -> None:
        for name, weight in self._averages():
            weight.copy_(weights[name])


def cuts(recipe: Recipe, n_features: int, *, generator: torch.Generator) -> tuple[int, ...]:
    """Features of each nested prefix, rising, the last all; empty where nothing is nested by prefix.

    Random prefixes have lengths of a Pareto distribution cut at all features (arXiv 2503.17547).
    """
    how = recipe.nesting
    if how is None or how.by == "k":
        return ()
    if how.by == "prefix":
        ends = torch.tensor(how.shares, dtype=torch.float64).cumsum(0) * n_features
        return (*(max(1, round(float(end))) for end in ends[:-1]), n_features)
    chance = torch.rand(how.count - 1, generator=generator, dtype=torch.float64)
    # The inverse of the distribution function of a Pareto distribution between 1 and F.
    tail = 1 - chance * (1 - float(n_features) ** -how.power)
    lengths = (tail ** (-1 / how.power)).long().clamp(1, n_features).sort().values
    return (*(int(length) for length in lengths), n_features)


def _looks(recipe: Recipe) -> bool:
    """Whether the first weights depend on rows."""
    calibrated = recipe.architecture == "jumprelu" and recipe.jump.start == "calibrated"
    return recipe.decoder.start == "data" or recipe.decoder.bias_start != "zeros" or calibrated


def _optimiser(coder: Coder, recipe: Recipe) -> torch.optim.Optimizer:
    how = recipe.optimiser
    learnt = [weight for weight in coder.parameters() if weight.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [weight for weight in learnt if weight is not coder.theta], "share": 1.0},
        {"params": [weight for weight in learnt if weight is coder.theta], "share": recipe.jump.rate},
    ]
    kinds: dict[str, Callable[..., torch.optim.Optimizer]] = {
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
    }
    groups = [group for group in groups if group["params"]]
    return kinds[how.kind](groups, betas=how.betas, eps=how.eps, weight_decay=how.weight_decay)

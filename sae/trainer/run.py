"""Train several dictionaries on one stream of activations, in one pass that can be stopped anywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from sae.dictionary import SparseDictionary
from sae.errors import BadCheckpoint, BadRecipe
from sae.stream import ActivationStream
from sae.trainer.checkpoint import Course, read_checkpoint, write_checkpoint
from sae.trainer.gradients import Gradients, Outcome
from sae.trainer.member import Member, Start
from sae.trainer.recipe import Recipe
from sae.trainer.schedule import Plan, annealed_k


class Seen(NamedTuple):
    """What one logged step says of one dictionary; ``fvu`` and ``l0`` are of its batch alone."""

    name: str
    step: int
    """Steps done."""
    steps: int
    epoch: int
    """From 0."""
    loss: float
    fvu: float
    l0: float
    dead: int
    lr: float
    k: int | None


def _silent(seen: Seen) -> None:
    """Log nothing."""


class Stopped(Exception):
    """A training was asked to stop, and did so after a step; its checkpoint is written."""


@dataclass(frozen=True)
class Keeping:
    """Where checkpoints and logs go, and whether to go on."""

    checkpoint: Path | None = None
    """Its file."""
    every: int = 1000
    """Steps between two checkpoints."""
    log: Callable[[Seen], None] = _silent
    log_every: int = 100
    stopped: Callable[[], bool] = lambda: False
    """Asked after each step."""


class Training:
    """Dictionaries in training.

    The same recipes, stream and seed give the same dictionaries bit by bit, stopped and continued or not.
    """

    def __init__(
        self,
        recipes: Mapping[str, Recipe],
        stream: ActivationStream,
        *,
        seed: int = 0,
        source: str = "",
        gradients: Gradients | None = None,
    ) -> None:
        """``gradients`` None: at the active entries alone, where the recipe allows it.

        BadRecipe when recipes do not fit each other or the stream, or no recipe does.
        """
        self._stream, self._gradients = stream, gradients
        self.course = Course(
            recipes=dict(recipes),
            batch_size=_batch_size(recipes),
            seed=seed,
            source=source,
            width=stream.width,
            rows=stream.rows,
        )
        self.sample = self._first_rows()
        """(n, d) rows that everything is measured on."""
        self.members = {name: self._member(recipe) for name, recipe in recipes.items()}

    @property
    def steps(self) -> int:
        """Of the longest."""
        return max(member.plan.steps for member in self.members.values())

    def run(self, keeping: Keeping | None = None) -> dict[str, SparseDictionary]:
        """Train to the end and return every dictionary by name. Stopped when asked to."""
        keeping = keeping or Keeping()
        first, size = self.course.step, self.course.batch_size
        batches = self._stream.batches(size, seed=self.course.seed, start=first)
        for at in range(first, self.steps):
            batch = next(batches)
            for name, member in self.members.items():
                if at < member.plan.steps:
                    self._log(name, at, member.step(batch, at=at), keeping)
            self.course = self.course.model_copy(update={"step": at + 1})
            stopped = keeping.stopped()
            if keeping.checkpoint is not None and (stopped or (at + 1) % keeping.every == 0):
                self.save(keeping.checkpoint)
            if stopped:
                raise Stopped
        return {name: member.dictionary(self.sample) for name, member in self.members.items()}

    def save(self, path: Path) -> None:
        """Write a checkpoint."""
        write_checkpoint(
            path, self.course, states={name: member.state() for name, member in self.members.items()}
        )

    def resume(self, path: Path) -> int:
        """Go on from a checkpoint; the steps done. BadCheckpoint when it is of another training."""
        course, states = read_checkpoint(path)
        for field in ("recipes", "batch_size", "seed", "source", "width", "rows"):
            was, now = getattr(course, field), getattr(self.course, field)
            if was != now:
                raise BadCheckpoint(_differs(path, field, was, now))
        try:
            for name, member in self.members.items():
                member.restore(states[name])
        except (KeyError, RuntimeError, TypeError) as error:
            raise BadCheckpoint(f"{path} lacks a part of the training; remove it and train again.") from error
        self.course = course
        return course.step

    def _member(self, recipe: Recipe) -> Member:
        try:
            recipe.features(self._stream.width)
            start = Start(recipe, Plan.of(recipe, self._stream.rows), self.course.seed)
            gradients = self._gradients or _sparse_gradients()
            return Member(start, self.sample[: recipe.input.rows], gradients=gradients)
        except ValueError as error:
            raise BadRecipe(str(error)) from error

    def _first_rows(self) -> Tensor:
        """Rows that everything is measured on: those of the first batches."""
        wanted = max(recipe.input.rows for recipe in self.course.recipes.values())
        wanted = min(wanted, self._stream.rows or wanted)
        found, count = [], 0
        for batch in self._stream.batches(self.course.batch_size, seed=self.course.seed):
            found.append(batch)
            count += len(batch)
            if count >= wanted:
                break
        return torch.cat(found)[:wanted]

    def _log(self, name: str, at: int, outcome: Outcome, keeping: Keeping) -> None:
        member = self.members[name]
        steps = member.plan.steps
        if (at + 1) % keeping.log_every and at + 1 != steps:
            return
        keeping.log(
            Seen(
                name,
                at + 1,
                steps,
                epoch=member.plan.epoch(at),
                loss=float(outcome.loss),
                fvu=float(outcome.fvu),
                l0=float(outcome.l0),
                dead=int(outcome.dead),
                lr=member.rate(at),
                k=annealed_k(at, member.recipe, plan=member.plan),
            )
        )


def _sparse_gradients() -> Gradients:
    # Imported here: it is written in terms of this package.
    from sae.sparse_steps import SparseGradients

    return SparseGradients()


def _batch_size(recipes: Mapping[str, Recipe]) -> int:
    sizes = {name: recipe.batch_size for name, recipe in recipes.items()}
    if not sizes:
        raise BadRecipe("No recipe was given; give one or more.")
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise BadRecipe(
            f"Dictionaries on one stream share its batches; batch_size differs ({listed}); set one for all."
        )
    return next(iter(sizes.values()))


def _differs(path: Path, field: str, was: object, now: object) -> str:
    if field == "recipes":
        return f"{path} is a training of other recipes; give the recipes it began with, or another folder."
    return f"{path} is a training with {field} {was!r}, not {now!r}; give that again, or another folder."

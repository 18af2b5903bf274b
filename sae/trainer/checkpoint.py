"""A training on disk: one safetensors file with its JSON in the header, there whole or not at all."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sae.errors import BadCheckpoint
from sae.feature import Frozen
from sae.trainer.recipe import Recipe
from sae.whole_file import whole_file

KEY = "training"


class Course(Frozen):
    """What is trained on what, and how far it is. Equal up to ``step``: the same training."""

    recipes: dict[str, Recipe]
    """By name."""
    batch_size: int
    seed: int
    source: str
    """What the stream reads."""
    width: int
    rows: int | None
    step: int = 0
    """Steps done."""


def write_checkpoint(path: Path, course: Course, *, states: dict[str, dict[str, Tensor]]) -> None:
    """Write the state of every dictionary, by name, in one step."""
    held = {
        f"{name}/{key}": tensor.detach().cpu().contiguous().clone()
        for name, state in states.items()
        for key, tensor in state.items()
    }
    with whole_file(path) as partial:
        save_file(held, partial, metadata={KEY: course.model_dump_json()})


def read_checkpoint(path: Path) -> tuple[Course, dict[str, dict[str, Tensor]]]:
    """What was written. BadCheckpoint in one sentence when it is something else."""
    try:
        with safe_open(path, framework="pt") as file:
            course = Course.model_validate_json((file.metadata() or {})[KEY])
            states: dict[str, dict[str, Tensor]] = {name: {} for name in course.recipes}
            for key in file.keys():  # noqa: SIM118 - it is no mapping
                name, _, rest = key.rpartition("/")
                states[name][rest] = file.get_tensor(key)
    except (OSError, SafetensorError, KeyError, ValidationError) as error:
        raise BadCheckpoint(f"{path} is no checkpoint of a training; remove it and train again.") from error
    return course, states

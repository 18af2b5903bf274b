"""What ``namesae sae train`` does: activations and recipes to dictionaries."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NamedTuple, TextIO

from namesae.reporters import take_stdout, tell, write_json
from namesae.sae_extracting import Model
from namesae.sae_images import ImageChoice
from namesae.stopping import Interrupted, Stop, stoppable
from namesae.training_progress import TrainingProgress
from sae.card import CARD_FILE
from sae.trainer.recipe import Recipe
from sae.trainer.recipe_file import preset_names, read_preset, read_recipes, write_recipe
from tools.errors import UsageError

if TYPE_CHECKING:
    from namesae.sae_training_source import TrainingSource
    from sae.diagnosis import Diagnosis
    from sae.dictionary import SparseDictionary
    from sae.event_file import EventWriter
    from sae.fit import Fit
    from sae.trainer.run import Seen, Training

CHECKPOINT, RECIPE, LOGS = "checkpoint.safetensors", "recipe.yaml", "logs"
FIT_ROWS = 20_000
"""Rows the printed figures of a dictionary are of."""
MANY_EPOCHS = 4
"""From here on reading images through the model for every epoch costs more than storing activations."""


class Order(NamedTuple):
    """A training, as the person said it."""

    images: ImageChoice
    """A store, or images."""
    model: Model
    out: Path
    config: Path | None = None
    presets: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    layer: int | None = None
    resume: bool = False
    dry_run: bool = False
    seed: int = 0
    every: int = 1000
    log_every: int = 50
    quiet: bool = False
    as_json: bool = False


class Finished(NamedTuple):
    """One trained dictionary."""

    name: str
    folder: Path
    dictionary: SparseDictionary
    fit: Fit


def train_dictionaries(order: Order) -> int:
    """Train what is asked for and say what came of it; the exit code."""
    recipes = recipes_of(order)
    folders = _folders(order.out, recipes)
    if order.resume and all((folder / CARD_FILE).is_file() for folder in folders.values()):
        tell(f"{order.out} is trained already.", sys.stderr)
        return 0
    _refuse_used(order)
    from namesae.sae_training_source import open_source

    source = open_source(order.images, order.model, layer=order.layer)
    training = _training(recipes, source, order)
    diagnosis = _diagnosed(training)
    out = take_stdout() if order.as_json else sys.stdout
    _announce(order, recipes, diagnosis=diagnosis, out=out)
    if source.live and not order.quiet:
        _warn_of_epochs(training)
    if order.dry_run:
        return 0
    with stoppable() as stop:
        try:
            found = _run(training, order, folders=folders)
        except Interrupted:
            return _interrupted(stop)
    for each in _saved(found, source, training=training, folders=folders):
        _tell_finished(each, out, as_json=order.as_json)
    (order.out / CHECKPOINT).unlink(missing_ok=True)
    return 0


def recipes_of(order: Order) -> dict[str, Recipe]:
    """The recipes by name. UsageError where none is given; BadRecipe."""
    found = {name: read_preset(name, changes=order.changes) for name in order.presets}
    if order.config is not None:
        found |= read_recipes(order.config, changes=order.changes)
    if not found:
        raise UsageError(f"Give a recipe: --config FILE, or --preset with {', '.join(preset_names())}.")
    return found


def _folders(out: Path, recipes: dict[str, Recipe]) -> dict[str, Path]:
    return {name: out if len(recipes) == 1 else out / name for name in recipes}


def _refuse_used(order: Order) -> None:
    used = order.out.exists() and any(order.out.iterdir())
    if used and not order.resume and not order.dry_run:
        raise UsageError(f"Folder {order.out} is not empty; continue with --resume or choose another --out.")


def _training(recipes: dict[str, Recipe], source: TrainingSource, order: Order) -> Training:
    from sae.stream import DeviceStream
    from sae.trainer.run import Training
    from tools.device import best_device

    stream = DeviceStream(source.stream, best_device())
    training = Training(recipes, stream, seed=order.seed, source=source.identity)
    path = order.out / CHECKPOINT
    if order.resume and path.is_file():
        done = training.resume(path)
        if not order.quiet:
            tell(f"Going on after step {done:,} of {training.steps:,}.", sys.stderr)
    return training


def _diagnosed(training: Training) -> Diagnosis:
    from sae.diagnosis import diagnose

    return diagnose(training.sample[:FIT_ROWS].cpu())


def _announce(order: Order, recipes: dict[str, Recipe], *, diagnosis: Diagnosis, out: TextIO) -> None:
    from sae.diagnosis import in_words

    if order.as_json:
        told = {name: recipe.model_dump(mode="json") for name, recipe in recipes.items()}
        write_json("launch", {"recipes": told, "diagnosis": diagnosis.model_dump(mode="json")}, out=out)
        return
    if order.quiet and not order.dry_run:
        return
    tell(in_words(diagnosis), sys.stderr)
    if order.dry_run:
        for name, recipe in recipes.items():
            tell(f"\n# {name}\n{write_recipe(recipe)}".rstrip(), out)


def _warn_of_epochs(training: Training) -> None:
    course = training.course
    epochs = training.steps * course.batch_size / course.rows if course.rows else 0.0
    if epochs >= MANY_EPOCHS:
        tell(
            f"  Every image is read through the model about {epochs:,.0f} times: run namesae sae extract "
            "first and train on the store, or set fewer steps.",
            sys.stderr,
        )


def _run(training: Training, order: Order, *, folders: dict[str, Path]) -> dict[str, SparseDictionary]:
    from sae.event_file import EventWriter
    from sae.trainer.run import Keeping, Stopped

    for name, folder in folders.items():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / RECIPE).write_text(write_recipe(training.course.recipes[name]), encoding="utf-8")
    begun = training.course.step or None
    with ExitStack() as open_, _asked_to_stop() as stopped, TrainingProgress(quiet=order.quiet) as progress:
        places = {name: order.out / LOGS / ("" if len(folders) == 1 else name) for name in folders}
        writers = {
            name: open_.enter_context(EventWriter(place, purge_step=begun and begun + 1))
            for name, place in places.items()
        }
        keeping = Keeping(
            checkpoint=order.out / CHECKPOINT,
            every=order.every,
            log=_logger(writers, progress),
            log_every=order.log_every,
            stopped=stopped,
        )
        try:
            return training.run(keeping)
        except Stopped:
            raise Interrupted(signal.SIGTERM) from None


def _logger(writers: dict[str, EventWriter], progress: TrainingProgress) -> Callable[[Seen], None]:
    def log(seen: Seen) -> None:
        figures = {"loss": seen.loss, "fvu": seen.fvu, "l0": seen.l0, "dead": float(seen.dead), "lr": seen.lr}
        if seen.k is not None:
            figures["k"] = float(seen.k)
        writers[seen.name].add({**figures, "epoch": float(seen.epoch)}, step=seen.step)
        progress(seen)

    return log


@contextmanager
def _asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Whether a signal asked for it: the step in progress is finished, and its checkpoint written."""
    asked: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        asked.append(number)

    try:
        before = signal.signal(signal.SIGTERM, note)
    except ValueError:
        # Not the main thread: nobody's signals are ours.
        yield lambda: False
        return
    try:
        yield lambda: bool(asked)
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupted(stop: Stop) -> int:
    tell("Stopped by a signal; the same command with --resume continues.", sys.stderr)
    return 128 + (stop.number or signal.SIGTERM)


def _saved(
    found: dict[str, SparseDictionary],
    source: TrainingSource,
    *,
    training: Training,
    folders: dict[str, Path],
) -> Iterator[Finished]:
    from sae.fit import measure_fit

    for name, dictionary in found.items():
        folder = folders[name]
        fit = measure_fit(dictionary, training.sample[:FIT_ROWS])
        dictionary.save(folder, source.origin.model_copy(update={"name": folder.resolve().name}))
        yield Finished(name, folder, dictionary, fit)


def _tell_finished(each: Finished, out: TextIO, *, as_json: bool) -> None:
    if as_json:
        figures = {"fvu": each.fit.fvu, "l0": each.fit.l0, "silent": each.fit.silent}
        write_json("dictionary", {"name": each.name, "folder": str(each.folder), **figures}, out=out)
        return
    shape = f"{each.dictionary.architecture} {each.dictionary.width} -> {each.dictionary.n_features}"
    fit = f"FVU {each.fit.fvu:.4f}   L0 {each.fit.l0:.1f}   silent {each.fit.silent:.1%}"
    tell(f"{each.name}   {shape}   {fit}   {each.folder}", out)

"""What ``namesae sae visualize`` and ``steer`` do."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from namesae.reporters import tell, write_json
from namesae.sae_images import ImageChoice
from namesae.sae_looking import Desk, explained, index_of, open_desk, sayer
from namesae.sae_shown import default_words, listed_words, shown_picture
from namesae.selection import choose_features, parse_selection
from sae.activations import FeatureReader
from sae.edit import Edit, Mode
from sae.feature import Feature, Frozen
from sae.measures.heads import Head
from sae.relevance.subject import hooked
from sae.statistics import firing_facts
from sae.steering import Outcome, Shift, Steering, outcomes, strength, word_head
from sae.visualisation import Search, Visualised, strip, visualise
from sae.whole_file import whole_file
from tools.errors import UsageError

_SPAN = re.compile(r"(\d+)(?:-(\d+))?")
SHOWN = 8
"""Words that change most, of those that are told."""


class VisualizeWanted(NamedTuple):
    """What ``visualize`` was asked for."""

    feature: str
    out: Path
    steps: int = 256
    seeds: int = 3
    press: float = 0.5
    images: ImageChoice | None = None
    quiet: bool = False
    as_json: bool = False


class SteerWanted(NamedTuple):
    """What ``steer`` was asked for."""

    feature: str
    image: str | None = None
    mode: Mode = "add"
    alpha: float = 99.0
    words: str | None = None
    template: str = "a picture of {}"
    patches: str | None = None
    images: ImageChoice | None = None
    quiet: bool = False
    as_json: bool = False


class Attempt(Frozen):
    """One image that was made."""

    seed: int
    activation: float
    share: float
    started: float


class Visualisation(Frozen):
    """What was drawn, as --json says it."""

    feature: str
    p99: float | None
    """99th percentile of its activations on real images; None where there are no images to tell."""
    attempts: tuple[Attempt, ...]
    """In order of the pictures."""
    picture: str


class Steered(Frozen):
    """What steering did, as --json says it."""

    features: tuple[str, ...]
    image: str
    mode: Mode
    alpha: float
    amounts: tuple[float, ...]
    """In the features' own units; the factor for scale."""
    outcome: Outcome


def draw_visualisation(wanted: VisualizeWanted) -> int:
    """Look for images and say how active the feature is on them."""
    feature = parse_feature(wanted.feature)
    desk = open_desk(feature.dictionary, say=sayer(wanted.quiet))
    search = Search(steps=wanted.steps, seeds=tuple(range(wanted.seeds)), press=wanted.press)

    def log(step: int) -> None:
        if step % 32 == 0 or step == wanted.steps:
            desk.say(f"{step} of {wanted.steps} steps")

    with explained():
        reader = desk.reader()
        found = visualise(reader, feature.index, search=search, log=log)
        p99 = _p99(desk, feature.index, wanted.images)
    wanted.out.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(wanted.out) as partial:
        strip([each.image for each in found]).save(partial, format="PNG")
    _tell_visualisation(wanted, found, p99=p99)
    return 0


def show_steering(wanted: SteerWanted) -> int:
    """Steer and say what changes."""
    desk = open_desk(parse_selection(wanted.feature).dictionary, say=sayer(wanted.quiet))
    features = [each.index for each in choose_features(parse_selection(wanted.feature), desk.listed)]
    with explained():
        reader = desk.reader()
        shown = shown_picture(desk, wanted.image, feature=features[0], images=wanted.images)
        pixels = reader.backbone.preprocess([shown.image])
        edits = _edits(wanted, desk, features=features)
        steering = Steering(edits, _patches(wanted.patches, reader, pixels))
        outcome = outcomes(reader, pixels, steering, head=_head(wanted, desk, reader, pixels=pixels))[0]
    steered = Steered(
        features=tuple(f"{desk.listed.name}#{each}" for each in features),
        image=shown.name,
        mode=wanted.mode,
        alpha=wanted.alpha,
        amounts=tuple(edit.amount for edit in edits),
        outcome=outcome,
    )
    _tell_steering(steered, as_json=wanted.as_json)
    return 0


def parse_feature(text: str) -> Feature:
    """A feature; UsageError where the text is none."""
    try:
        return Feature.parse(text)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _p99(desk: Desk, feature: int, images: ImageChoice | None) -> float | None:
    """Over a folder or the probe set; None where there is neither, or the feature is dead."""
    if images is None and desk.card.probe_set is None:
        return None
    index = index_of(desk, desk.source(images))
    return firing_facts(index.images(feature)[1]).p99 or None


def _edits(wanted: SteerWanted, desk: Desk, *, features: list[int]) -> tuple[Edit, ...]:
    """An edit a feature, each by the feature's own activations."""
    if wanted.mode == "ablate":
        return tuple(Edit(each, "ablate") for each in features)
    if wanted.mode == "scale":
        return tuple(Edit(each, "scale", wanted.alpha / 100) for each in features)
    percentile = abs(wanted.alpha)
    if percentile > 100:
        raise UsageError(f"Percentile {wanted.alpha:g} does not exist; give --alpha from -100 to 100.")
    index = index_of(desk, desk.source(wanted.images))
    sign = -1 if wanted.alpha < 0 else 1
    held = ((each, strength(index.images(each)[1], percentile)) for each in features)
    return tuple(Edit(each, wanted.mode, sign * amount) for each, amount in held)


def _head(wanted: SteerWanted, desk: Desk, reader: FeatureReader, *, pixels: Tensor) -> Head:
    if "{}" not in wanted.template:
        raise UsageError(f"Template {wanted.template!r} has no place for a word; write one with {{}}.")
    if reader.backbone.has_text:
        words = default_words(desk) if wanted.words is None else listed_words(wanted.words)
    elif wanted.words is not None:
        raise UsageError("This backbone knows no words, only its own classes; leave out --words.")
    else:
        words = ()
    return word_head(reader, words, template=wanted.template, pixels=pixels)


def _patches(text: str | None, reader: FeatureReader, pixels: Tensor) -> Tensor | None:
    """(p,) bool of the patches chosen; None for all."""
    if text is None:
        return None
    if reader.pooling in ("none", "cls"):
        raise UsageError("This dictionary reads one vector an image, no patches; leave out --patches.")
    grid = hooked(reader).patch_grid(pixels, reader.hook_point)
    chosen = torch.zeros(grid.rows * grid.columns, dtype=torch.bool)
    for part in text.split(","):
        found = _SPAN.fullmatch(part.strip())
        if found is None or int(found[2] or found[1]) >= len(chosen):
            raise UsageError(f"Patches {part.strip()!r} do not exist; give some from 0 to {len(chosen) - 1}.")
        chosen[int(found[1]) : int(found[2] or found[1]) + 1] = True
    return chosen


def _tell_visualisation(wanted: VisualizeWanted, found: tuple[Visualised, ...], *, p99: float | None) -> None:
    attempts = tuple(
        Attempt(**{name: getattr(each, name) for name in Attempt.model_fields}) for each in found
    )
    record = Visualisation(feature=wanted.feature, p99=p99, attempts=attempts, picture=str(wanted.out))
    if wanted.as_json:
        write_json("visualisation", record.model_dump(mode="json"), out=sys.stdout)
        return
    for each in attempts:
        much = f", {each.activation / p99:.2f} x its 99th percentile on images ({p99:.3g})" if p99 else ""
        tell(
            f"seed {each.seed}: activation {each.activation:.3g}, from {each.started:.3g} in noise{much}; "
            f"{each.share:.0%} of all that is active",
            sys.stdout,
        )
    tell(record.picture, sys.stdout)


def _tell_steering(steered: Steered, *, as_json: bool) -> None:
    if as_json:
        write_json("steering", steered.model_dump(mode="json"), out=sys.stdout)
        return
    outcome = steered.outcome
    rows = zip(steered.features, steered.amounts, outcome.before, outcome.after, strict=True)
    for name, amount, before, after in rows:
        how = "" if steered.mode == "ablate" else f" {amount:.3g}"
        tell(
            f"{name} on {steered.image}: {steered.mode}{how}, activation {before:.3g} -> {after:.3g}",
            sys.stdout,
        )
    tell(
        f"moved the activations by {outcome.moved:.1%} of their length; other features by "
        f"{outcome.disturbed:.1%} of theirs",
        sys.stdout,
    )
    for shift in most_changed(outcome.shifts):
        tell(
            f"{shift.before:8.2%} -> {shift.after:8.2%}  {shift.after - shift.before:+8.2%}  {shift.word}",
            sys.stdout,
        )


def most_changed(shifts: tuple[Shift, ...], *, count: int = SHOWN) -> list[Shift]:
    """The words whose probability changes most, what rises most first."""
    chosen = sorted(shifts, key=lambda each: -abs(each.after - each.before))[:count]
    return sorted(chosen, key=lambda each: each.before - each.after)

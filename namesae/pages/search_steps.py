"""The iteration strip: each prompt of a search, what the feature did on its images, and what that changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from agent.records import Intent, Proposal, Trial
from namesae.pages.figures import figure
from namesae.pages.plot_scale import Scale, round_figures

Change = Literal["better", "against", "same", "nothing"]
WIDTH, NARROW, HEIGHT = 1080, 400, 140
LEFT, RIGHT, TOP, BOTTOM = 34, 8, 10, 20


class Shown(NamedTuple):
    """An image with what the feature does on it."""

    image: str | None
    """None where nothing usable was drawn."""
    activation: float | None
    fires: bool
    note: str = ""


class SearchStep(NamedTuple):
    """One trial and what came of it."""

    number: int
    prompt: str
    intent: Intent
    rationale: str
    claim: str
    mean: float | None
    best: float | None
    """Highest mean up to and with this one."""
    images: tuple[Shown, ...]
    change: Change
    outcome: str


class StepPlot(NamedTuple):
    """Mean activation by trial, as an SVG: dots, the best so far as a line, the firing threshold."""

    width: int
    height: int
    dots: tuple[tuple[float, float, bool, str], ...]
    """(x, y, whether it fires, what it says)."""
    best: str
    """Points of a polyline."""
    ticks: tuple[tuple[float, str], ...]
    """(y, label)."""
    threshold: float | None
    """Its y; None where it lies above all."""


def search_steps(trials: Iterable[Trial], *, threshold: float) -> tuple[SearchStep, ...]:
    """The trials in the order they were made."""
    steps: list[SearchStep] = []
    best: tuple[float, str] | None = None
    for number, trial in enumerate(trials, start=1):
        step, best = _step(trial, best, number=number, threshold=threshold)
        steps.append(step)
    return tuple(steps)


def step_plot(steps: Sequence[SearchStep], *, threshold: float, width: int = WIDTH) -> StepPlot | None:
    """The course of a search; None with fewer than two trials that were drawn."""
    drawn = [step for step in steps if step.mean is not None]
    highest = max((step.mean for step in drawn if step.mean is not None), default=0.0)
    if len(drawn) < 2 or highest <= 0:
        return None
    across = Scale(1, len(steps), LEFT + 6, width - RIGHT - 6)
    up = Scale(0.0, highest * 1.06, HEIGHT - BOTTOM, TOP)
    dots = tuple(
        (across.at(step.number), up.at(step.mean), step.mean > threshold, _said(step))
        for step in drawn
        if step.mean is not None
    )
    points = [(across.at(step.number), up.at(step.best)) for step in drawn if step.best is not None]
    ticks = tuple((up.at(each), f"{each:g}") for each in round_figures(highest, most=4))
    mark = up.at(threshold) if threshold <= highest * 1.06 else None
    return StepPlot(width, HEIGHT, dots, _staircase(points), ticks, mark)


def _step(
    trial: Trial, best: tuple[float, str] | None, *, number: int, threshold: float
) -> tuple[SearchStep, tuple[float, str] | None]:
    known = [value for value in trial.activations if value is not None]
    mean = sum(known) / len(known) if known else None
    proposal = trial.proposal
    risen = mean is not None and (best is None or mean > best[0]) and proposal.intent != "control"
    change, outcome = _outcome(trial, mean, best=best, threshold=threshold)
    now = (mean, proposal.prompt) if risen and mean is not None else best
    step = SearchStep(
        number=number,
        prompt=proposal.prompt,
        intent=proposal.intent,
        rationale=proposal.rationale,
        claim=proposal.claim,
        mean=mean,
        best=None if now is None else now[0],
        images=_images(trial, threshold=threshold),
        change=change,
        outcome=outcome,
    )
    return step, now


def _images(trial: Trial, *, threshold: float) -> tuple[Shown, ...]:
    return tuple(
        Shown(image, value, value is not None and value > threshold, f"seed {seed}")
        for image, value, seed in zip(trial.images, trial.activations, trial.seeds, strict=True)
    )


def _outcome(
    trial: Trial, mean: float | None, *, best: tuple[float, str] | None, threshold: float
) -> tuple[Change, str]:
    if trial.fault is not None:
        return "nothing", f"Not drawn: {trial.fault}"
    if mean is None:
        return "nothing", "No usable image came of it."
    known = [value for value in trial.activations if value is not None]
    fired = sum(value > threshold for value in known)
    contradiction = _contradiction(trial.proposal, fired, len(known))
    if contradiction:
        return "against", contradiction
    if best is None or (mean > best[0] and trial.proposal.intent != "control"):
        before = "" if best is None else f", before {figure(best[0])}"
        if not fired:
            return "same", f"Best mean so far, though it fires on none: {figure(mean)}{before}."
        return "better", f"New best mean: {figure(mean)}{before}."
    count = f"fires on {fired} of {len(known)}"
    if trial.proposal.intent == "control":
        return "same", f"As a control should, it {count}."
    return "same", f"It {count}; best stays “{best[1]}” with {figure(best[0])}."


def _contradiction(proposal: Proposal, fired: int, count: int) -> str:
    """What the images say against the claim that was tested; empty where nothing."""
    claim = f"“{proposal.claim}”" if proposal.claim else "what was expected"
    if proposal.expects == "fires" and 2 * fired < count:
        return f"Fires on {fired} of {count}: against {claim}."
    if proposal.expects == "rests" and 2 * fired > count:
        return f"Fires on {fired} of {count}, where it should rest: against {claim}."
    if proposal.intent == "control" and fired:
        return f"Fires on {fired} of {count} control images."
    return ""


def _staircase(points: Sequence[tuple[float, float]]) -> str:
    path: list[str] = []
    last: float | None = None
    for x, y in points:
        if last is not None:
            path.append(f"{x:g},{last:g}")
        path.append(f"{x:g},{y:g}")
        last = y
    return " ".join(path)


def _said(step: SearchStep) -> str:
    return f"{step.number}. {step.prompt}: mean {figure(step.mean)}"

"""A run laid out for its page, finished or not: pure, from its status and its events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import NamedTuple

from agent.events import Asked, Event, Judged, Observed, Planned, Raced, Scored, Streamed
from agent.hypotheses import Hypothesis
from agent.records import Explanation, Proposal, Trial
from agent.streaming import settled
from namesae.lines import event_line
from namesae.pages.figures import figure
from namesae.pages.run_graph import Node
from namesae.pages.run_progress import NodeSpend, nodes_of, spends_of
from namesae.pages.search_steps import Shown
from namesae.service.job_records import RunStatus

MOST_LINES = 400
"""Events that are listed, the latest."""


class PromptRow(NamedTuple):
    """A prompt of a round."""

    prompt: str
    intent: str
    rationale: str
    mean: float | None
    images: tuple[Shown, ...]
    fault: str | None
    drawing: bool
    """Whether its pictures are still to come."""


class RoundView(NamedTuple):
    """One plan, its pictures, and what they changed."""

    number: int
    plan: str
    reason: str
    names: tuple[str, ...]
    refused: tuple[tuple[str, str], ...]
    rows: tuple[PromptRow, ...]
    change: str
    """What the leading hypothesis was before and after; '' where nothing is known."""


class CallRow(NamedTuple):
    """One exchange with an LLM, without its messages."""

    at: int
    """Its number among the calls of the run, from 0."""
    round: int
    model: str
    mode: str
    seconds: float
    tokens: int | None
    usd: float | None
    fault: str | None
    recorded: bool
    blind: bool


class EventRow(NamedTuple):
    """One event as a line."""

    at: float
    """Seconds since the epoch."""
    clock: str
    """The same in words, UTC."""
    node: str
    said: str


class RunView(NamedTuple):
    """Everything the page of a run shows."""

    status: RunStatus
    told: Explanation | None
    nodes: tuple[Node, ...]
    spends: tuple[NodeSpend, ...]
    rounds: tuple[RoundView, ...]
    hypotheses: tuple[Hypothesis, ...]
    race: Raced | None
    judged: Judged | None
    sealed: tuple[Shown, ...]
    """The judge's images, strongest first."""
    calls: tuple[CallRow, ...]
    lines: tuple[EventRow, ...]
    """Latest first."""
    writing: str
    """What an LLM has written of a reply that is not whole yet."""
    threshold: float
    density: float | None
    seconds: float
    """From its first event to its last, or to ``now`` while it runs."""

    @property
    def live(self) -> bool:
        """Whether something may still happen."""
        return self.status.state in ("queued", "running", "waiting")


def run_view(
    status: RunStatus, events: Iterable[Event], *, told: Explanation | None, reviewed: bool, now: float
) -> RunView:
    """``reviewed``: whether a person is to rule on the name. ``now``: seconds since the epoch."""
    said = settled(events)
    facts = next((each.what.facts for each in reversed(said) if isinstance(each.what, Observed)), None)
    threshold = 0.0 if facts is None else facts.threshold
    last = said[-1].what if said else None
    return RunView(
        status=status,
        told=told,
        nodes=nodes_of(status, said, reviewed=reviewed),
        spends=spends_of(said),
        rounds=rounds_of(said, threshold=threshold),
        hypotheses=_hypotheses(said),
        race=next((each.what for each in reversed(said) if isinstance(each.what, Raced)), None),
        judged=next((each.what for each in reversed(said) if isinstance(each.what, Judged)), None),
        sealed=_sealed(told, threshold),
        calls=calls_of(said),
        lines=tuple(_line(each) for each in reversed(said[-MOST_LINES:])),
        writing=last.text if isinstance(last, Streamed) and not last.done else "",
        threshold=threshold,
        density=None if facts is None else facts.density,
        seconds=_seconds(said, now if status.state == "running" else None),
    )


def rounds_of(events: Sequence[Event], *, threshold: float) -> tuple[RoundView, ...]:
    """The plans in order, each with what was scored for it; of a repeated node the later telling counts."""
    plans: dict[int, Planned] = {}
    trials: dict[int, tuple[Trial, ...]] = {}
    number = 0
    for event in events:
        if isinstance(event.what, Planned):
            number = event.round
            plans[number] = event.what
        elif isinstance(event.what, Scored):
            trials[number] = event.what.trials
    ordered = sorted(plans.items())
    afterwards = {number: plan for (number, _), (_, plan) in pairwise(ordered)}
    return tuple(
        _round(number + 1, plan, trials.get(number), after=afterwards.get(number), threshold=threshold)
        for number, plan in ordered
    )


def calls_of(events: Iterable[Event]) -> tuple[CallRow, ...]:
    """Every exchange with an LLM, in order."""
    asked = [event for event in events if isinstance(event.what, Asked)]
    return tuple(_call(at, event) for at, event in enumerate(asked))


def _line(event: Event) -> EventRow:
    clock = datetime.fromtimestamp(event.at, UTC).strftime("%H:%M:%S")
    return EventRow(event.at, clock, event.node, event_line(event))


def _call(at: int, event: Event) -> CallRow:
    assert isinstance(event.what, Asked)
    call = event.what.call
    return CallRow(
        at=at,
        round=event.round + 1,
        model=call.model,
        mode=call.mode,
        seconds=call.seconds,
        tokens=call.usage.tokens,
        usd=call.usage.usd,
        fault=call.fault,
        recorded=call.recorded,
        blind=call.blind,
    )


def _round(
    number: int,
    plan: Planned,
    trials: tuple[Trial, ...] | None,
    *,
    after: Planned | None,
    threshold: float,
) -> RoundView:
    if trials is None:
        rows = [_coming(each) for each in plan.granted if not plan.names]
    else:
        rows = sorted(
            (_row(each, threshold) for each in trials),
            key=lambda row: -(row.mean or 0.0) - (row.mean is not None),
        )
    return RoundView(
        number=number,
        plan=plan.plan,
        reason=plan.reason,
        names=plan.names,
        refused=tuple((each.prompt, each.why) for each in plan.refused),
        rows=tuple(rows),
        change=_change(plan.hypotheses, after.hypotheses if after is not None else ()),
    )


def _coming(proposal: Proposal) -> PromptRow:
    return PromptRow(proposal.prompt, proposal.intent, proposal.rationale, None, (), None, True)


def _row(trial: Trial, threshold: float) -> PromptRow:
    known = [value for value in trial.activations if value is not None]
    images = tuple(
        Shown(image, value, value is not None and value > threshold, f"seed {seed}")
        for image, value, seed in zip(trial.images, trial.activations, trial.seeds, strict=True)
    )
    mean = sum(known) / len(known) if known else None
    proposal = trial.proposal
    return PromptRow(proposal.prompt, proposal.intent, proposal.rationale, mean, images, trial.fault, False)


def _change(before: Sequence[Hypothesis], after: Sequence[Hypothesis]) -> str:
    """What the leading claim was, and what it is after the round's images."""
    if not after:
        return ""
    now = after[0]
    was = next((each for each in before if each.claim == now.claim), None)
    if before and before[0].claim != now.claim:
        return f"“{now.claim}” ({_stands(now)}) takes the lead from “{before[0].claim}”."
    if was is not None and (was.weight, was.state) != (now.weight, now.state):
        return f"“{now.claim}” goes from {_stands(was)} to {_stands(now)}."
    return f"“{now.claim}” stays {_stands(now)}."


def _stands(each: Hypothesis) -> str:
    return each.state if each.weight is None else f"{each.state}, weight {figure(each.weight)}"


def _hypotheses(events: Sequence[Event]) -> tuple[Hypothesis, ...]:
    """As the proposer last held them."""
    plans = [event.what for event in events if isinstance(event.what, Planned)]
    return next((plan.hypotheses for plan in reversed(plans) if plan.hypotheses), ())


def _sealed(told: Explanation | None, threshold: float) -> tuple[Shown, ...]:
    evidence = None if told is None else told.evidence
    if evidence is None:
        return ()
    pairs = zip(evidence.sealed_images, evidence.sealed_activations, strict=True)
    ordered = sorted(pairs, key=lambda each: -each[1])
    return tuple(Shown(image, value, value > threshold) for image, value in ordered)


def _seconds(events: Sequence[Event], now: float | None) -> float:
    if not events:
        return 0.0
    return max(0.0, (now if now is not None else events[-1].at) - events[0].at)

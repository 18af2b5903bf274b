"""Forking runs: what the command line, Python and the service call."""

from __future__ import annotations

import time
import warnings
from typing import NamedTuple

from pydantic import Field

from agent.budget import Limits
from agent.events import Event, EventSink, Forked, ignore
from agent.records import Explanation, ForkPoint, Proposal
from agent.request import Fork, Request, RunSettings
from agent.runs_store import RunRow
from namesae.dictionaries import find_dictionary
from namesae.reviewing import carry_on, require_models
from namesae.settings import Settings
from namesae.traces import find_run
from namesae.wiring import LIBRARIES, State, Workbench
from sae.feature import Frozen


class ForkOrder(Frozen):
    """A fork, asked for; None leaves a setting as it was in the run."""

    run: str
    step: int = Field(ge=0)
    seed: int | None = None
    images: int | None = None
    usd: float | None = None
    proposer: str | None = None
    review: bool | None = None
    add: tuple[Proposal, ...] = ()
    """Prompts to draw next."""
    drop: tuple[str, ...] = ()
    """Prompts not to draw next."""
    again: bool = False


class AcceptedFork(NamedTuple):
    """A fork that can be made."""

    request: Request
    bench: Workbench
    run: str
    """The id of its run; that of the stored answer where there is one."""
    found: Explanation | None
    """The stored answer to an equal fork."""


def fork_run(order: ForkOrder, *, state: State, settings: Settings, emit: EventSink = ignore) -> Explanation:
    """Start a run from the state of another at one of its steps: the stored answer to an equal fork, else
    that run, continued where it was interrupted. UsageError where no fork can start there."""
    fork = accept_fork(order, state=state, settings=settings)
    if fork.found is not None:
        return fork.found
    return carry_on(fork.request, fork.run, bench=fork.bench, emit=emit)


def accept_fork(order: ForkOrder, *, state: State, settings: Settings) -> AcceptedFork:
    """Write down that a fork is to be made, before any work; raises as ``fork_run`` does."""
    row = find_run(order.run, state, settings=settings)
    bench = Workbench(
        _fork_settings(order, row, settings),
        state,
        listed=find_dictionary(row.request.feature.dictionary, settings),
    )
    require_models(row, bench)
    request = _fork_request(order, row, bench=bench)
    found = None if order.again else state.runs.find(request)
    if found is not None:
        return AcceptedFork(request, bench, found.run, found)
    at = _step_time(request, state)
    run = state.runs.begin(request, now=time.time(), again=order.again)
    origin = ForkPoint(run=row.run, step=order.step)
    told = Forked(origin=origin, changes=tuple(_changes(order)))
    state.events.begin_fork(Event(run=run, at=time.time(), node="fork", what=told), until=at)
    return AcceptedFork(request, bench, run, None)


def _fork_settings(order: ForkOrder, row: RunRow, settings: Settings) -> Settings:
    kind, _, model = row.request.proposer.partition(":")
    changed: dict[str, object] = {"proposer": order.proposer or kind}
    if order.proposer is None and model and f"{kind}_model" in Settings.model_fields:
        changed[f"{kind}_model"] = model
    changed["seed"] = row.request.settings.seed if order.seed is None else order.seed
    return settings.model_copy(update=changed)


def _fork_request(order: ForkOrder, row: RunRow, *, bench: Workbench) -> Request:
    from agent.forks import proposal_of

    before, card = row.request.settings, bench.models.draw.card
    limits = before.limits.model_dump()
    if order.images is not None:
        limits |= {"images": order.images, "race_images": order.images * 36 // 100}
    if order.usd is not None:
        limits["usd"] = order.usd
    return Request(
        feature=row.request.feature,
        models=row.request.models,
        proposer=bench.proposer.name,
        proposer_fingerprint=bench.proposer.fingerprint,
        settings=RunSettings(
            seed=bench.settings.seed,
            limits=Limits.model_validate(limits),
            images_per_prompt=before.images_per_prompt,
            review=before.review if order.review is None else order.review,
        ),
        fork=Fork(
            origin=ForkPoint(run=row.run, step=order.step),
            add=tuple(proposal_of(each.prompt, each.intent, card=card) for each in order.add),
            drop=order.drop,
        ),
    )


def _step_time(request: Request, state: State) -> float:
    """When the step was reached; UsageError where no fork of it can start as requested."""
    from agent.checkpointer import RedisCheckpointer
    from agent.forks import forked_state, steps_of
    from agent.graph import build_graph

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=LIBRARIES)
        graph = build_graph(RedisCheckpointer(state.client))
        forked_state(graph, request, request.run_id())
        assert request.fork is not None
        origin = request.fork.origin
        return next(each.at for each in steps_of(graph, origin.run) if each.number == origin.step)


def _changes(order: ForkOrder) -> list[str]:
    """What the fork changes, a phrase each."""
    told = [
        ("seed", order.seed),
        ("images", order.images),
        ("dollars", order.usd),
        ("proposer", order.proposer),
        ("review", order.review),
    ]
    said = [f"{what} {value}" for what, value in told if value is not None]
    said += [f"draws {each.prompt!r}" for each in order.add]
    return [*said, *(f"does not draw {prompt!r}" for prompt in order.drop)]

"""One naming from request to explanation: ``name_feature`` is what everything that asks for names calls."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any, cast, get_type_hints

from pydantic import TypeAdapter, ValidationError

from agent.budget import Limits, Spent
from agent.events import Ended, Event, Happening, Started
from agent.records import Explanation
from agent.request import Request
from agent.runs_store import RunStore
from agent.state import SCHEMA, NamingState
from agent.toolbox import Toolbox
from tools.claims import Claims
from tools.errors import BudgetError, IntegrityError, NamesaeError, UsageError

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver

    from agent.graph import NamingGraph, RunControl

OpenToolbox = Callable[[str], Toolbox]
"""Run id to tools; called only when there is work to do."""

POLL_S = 0.5
STEPS_PER_ROUND = 3
STEPS_BESIDES = 16


class Drained(NamesaeError):
    """The run was asked to stop and stopped after a step; the same command continues it."""

    exit_code = 128 + signal.SIGTERM


LIMITS_OF_A_PERSON = {
    "limit_images": "{0.images:,} search images (--max-images)",
    "limit_seconds": "{0.seconds:g} seconds",
    "limit_llm_calls": "{0.llm_calls:,} LLM calls",
    "limit_tokens": "{0.tokens:,} tokens",
    "limit_usd": "${0.usd:g} for the LLM (--cost-limit)",
}
"""By the code of a run that they stopped before its first image, how they are told, with the flag if any."""


class OutOfBudget(BudgetError):
    """A limit came before the first image, so that nothing could be decided."""

    def __init__(self, explanation: Explanation, limits: Limits) -> None:
        told = LIMITS_OF_A_PERSON[explanation.code or ""].format(limits)
        remedy = "raise it and repeat the command" if "--" in told else "repeat the command with --again"
        super().__init__(
            f"Naming {explanation.feature} reached its limit of {told} before the first image was drawn; "
            f"{remedy}, what was recorded is not done again."
        )
        self.explanation = explanation
        """What the run recorded: verdict failed, and its cost."""


@dataclass(frozen=True)
class Desk:
    """Where runs are kept."""

    store: RunStore
    saver: BaseCheckpointSaver[Any]


def name_feature(
    request: Request, open_toolbox: OpenToolbox, *, desk: Desk, again: bool = False
) -> Explanation:
    """Name a feature: the stored answer to an equal request, else a run, continued where it was interrupted.

    ``again``: a new run although there is an answer. A run that another process works on is waited for.
    Raises what a tool cannot mend: DependencyError, IntegrityError, UsageError; Drained after SIGTERM. The
    run stays as it is and the same call continues it. OutOfBudget when a limit allows no verdict: another
    limit is another request, served by a run of its own from what this one recorded.
    """
    found = None if again else desk.store.find(request)
    if found is not None:
        return found
    run = desk.store.begin(request, now=time.time(), again=again)
    while True:
        with Claims(desk.store.client, "run").taken([run]) as ours:
            row = desk.store.row(run)
            if row is not None and row.explanation is not None:
                return _within_budget(row.explanation, request)
            if ours:
                told = _carry_out(request, run, toolbox=open_toolbox(run), desk=desk)
                return _within_budget(told, request)
        time.sleep(POLL_S)


def _carry_out(request: Request, run: str, *, toolbox: Toolbox, desk: Desk) -> Explanation:
    _refuse_unpriced(request, toolbox)
    explanation = _run_graph(request, run, toolbox=toolbox, saver=desk.saver)
    desk.store.finish(request, explanation, now=toolbox.clock())
    ended = Ended(name=explanation.name, verdict=explanation.verdict, confidence=explanation.confidence)
    _tell(toolbox, run, node="record", what=ended)
    return explanation


def _within_budget(explanation: Explanation, request: Request) -> Explanation:
    if explanation.code in LIMITS_OF_A_PERSON:
        raise OutOfBudget(explanation, request.settings.limits)
    return explanation


def _run_graph(
    request: Request, run: str, *, toolbox: Toolbox, saver: BaseCheckpointSaver[Any]
) -> Explanation:
    from agent.graph import GraphDrained, RunControl, build_graph

    graph, control = build_graph(saver), RunControl()
    limit = STEPS_PER_ROUND * request.settings.limits.rounds + STEPS_BESIDES
    config: Any = {"configurable": {"thread_id": run}, "recursion_limit": limit}
    held = _held(graph, config, run=run)
    if held is not None and held.get("explanation") is not None:
        return held["explanation"]
    resumed, feature = held is not None, str(request.feature)
    limits = request.settings.limits
    started = Started(feature=feature, proposer=toolbox.proposer.name, resumed=resumed, images=limits.images)
    _tell(toolbox, run, node="start", what=started)
    begin = None if resumed else _beginning(request, run)
    try:
        with drained_by_sigterm(control):
            state = graph.invoke(begin, config, context=toolbox, durability="sync", control=control)
    except GraphDrained as drained:
        raise Drained(f"Run {run} stopped after a step; repeat the command to continue it.") from drained
    return cast(NamingState, state)["explanation"]


def _beginning(request: Request, run: str) -> NamingState:
    return {
        "schema": SCHEMA,
        "run": run,
        "feature": request.feature,
        "settings": request.settings,
        "spent": Spent(),
        "drawn": 0,
    }


def _held(graph: NamingGraph, config: Any, *, run: str) -> NamingState | None:
    """The checkpointed state, validated anew: the checkpointer revives models without validating them."""
    snapshot = graph.get_state(config)
    if not snapshot.created_at:
        return None
    values = cast("dict[str, Any]", snapshot.values)
    try:
        if values and values.get("schema") != SCHEMA:
            raise ValueError(f"schema {values.get('schema')}")
        return cast(NamingState, {name: _validated(name, value) for name, value in values.items()})
    except (ValidationError, ValueError) as error:
        raise IntegrityError(
            f"Run {run} was begun by another version of namesae; start a new one with --again."
        ) from error


def _validated(channel: str, value: object) -> object:
    # Tuples come back from a checkpoint as lists, which is no fault.
    adapter: TypeAdapter[object] = TypeAdapter(get_type_hints(NamingState)[channel])
    return adapter.validate_python(adapter.dump_python(value, warnings="none"))


def _refuse_unpriced(request: Request, toolbox: Toolbox) -> None:
    """A limit in dollars means nothing where the price is unknown: say so before anything is spent."""
    usd = request.settings.limits.usd
    if toolbox.proposer.paid and not toolbox.proposer.priced and usd is not None:
        raise UsageError(
            f"The price of {toolbox.proposer.name} is unknown, so the limit of ${usd:g} a feature cannot be "
            "kept; pass --yes to run without it."
        )


@contextlib.contextmanager
def drained_by_sigterm(control: RunControl) -> Iterator[None]:
    """While inside, SIGTERM lets the step in progress finish; elsewhere than in the main thread, nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def drain(number: int, frame: FrameType | None) -> None:
        control.request_drain("SIGTERM")

    before = signal.signal(signal.SIGTERM, drain)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _tell(toolbox: Toolbox, run: str, *, node: str, what: Happening) -> None:
    toolbox.emit(Event(run=run, at=toolbox.clock(), node=node, what=what))

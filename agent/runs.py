"""One naming from request to explanation: ``name_feature`` is what everything that asks for names calls."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from agent.budget import Limits, Spent
from agent.events import Ended, Event, EventSink, Happening, Started, tee
from agent.forks import plant_fork, validated
from agent.halting import (
    Cancelled,
    Halt,
    Halted,
    cancelled_explanation,
    drained_when,
    not_asked,
)
from agent.halting import Drained as Drained
from agent.halting import drained_by_sigterm as drained_by_sigterm
from agent.records import Explanation, Question
from agent.request import Request
from agent.review import question_of
from agent.run_brief import Briefing
from agent.runs_store import RunStore
from agent.state import SCHEMA, NamingState
from agent.toolbox import Toolbox
from tools.claims import Claims
from tools.errors import BudgetError, NamesaeError, UsageError

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver

    from agent.graph import NamingGraph
    from agent.proposer import Proposer

OpenToolbox = Callable[[str], Toolbox]
"""Run id to tools; called only when there is work to do."""

POLL_S = 0.5
STEPS_PER_ROUND = 3
STEPS_BESIDES = 16


class AwaitsReview(NamesaeError):
    """The run has a name, and a person is to rule on it before it goes on."""

    def __init__(self, question: Question) -> None:
        super().__init__(
            f"Run {question.run} waits for a review of {question.name!r}: namesae review {question.run}"
        )
        self.question = question


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
    asked: Halted = not_asked
    """What whoever works here is asked to do, whatever the run: a worker that leaves pauses all."""

    def halted(self, run: str) -> Halt | None:
        """What a run is asked to do now; to be cancelled goes before to be paused."""
        told = (self.asked(), self.store.halted(run))
        return "cancel" if "cancel" in told else told[0] or told[1]


def name_feature(
    request: Request, open_toolbox: OpenToolbox, *, desk: Desk, again: bool = False
) -> Explanation:
    """Name a feature: the stored answer to an equal request, else a run, continued where it was interrupted.

    ``again``: a new run although there is an answer. A run that another process works on is waited for.
    Raises what a tool cannot mend: DependencyError, IntegrityError, UsageError; Drained after SIGTERM. The
    run stays as it is and the same call continues it. OutOfBudget when a limit allows no verdict: another
    limit is another request, served by a run of its own from what this one recorded. AwaitsReview where the
    request asks for a review and nobody has ruled on the name yet. A run that somebody pauses is Drained too;
    one that is cancelled ends with that verdict.
    """
    found = None if again else desk.store.find(request)
    if found is not None:
        return found
    run = desk.store.begin(request, now=time.time(), again=again)
    return continue_run(request, run, open_toolbox=open_toolbox, desk=desk)


def continue_run(request: Request, run: str, *, open_toolbox: OpenToolbox, desk: Desk) -> Explanation:
    """Carry an accepted run to its explanation, wherever it stands; raises as ``name_feature`` does."""
    while True:
        with Claims(desk.store.client, "run").taken([run]) as ours:
            row = desk.store.row(run)
            if row is not None and row.explanation is not None:
                return _within_budget(row.explanation, request)
            if row is not None and row.waits and row.question is not None:
                raise AwaitsReview(row.question)
            if ours:
                told = _carry_out(request, run, toolbox=open_toolbox(run), desk=desk)
                return _within_budget(told, request)
        if desk.asked() is not None:
            raise _drained(run)
        time.sleep(POLL_S)


def cancel_run(
    request: Request, run: str, *, store: RunStore, open_desk: Callable[[], Desk], emit: EventSink
) -> Explanation | None:
    """End a run that nobody works on; None where somebody does, who is asked to.

    ``open_desk`` imports the graph, and is called for a run that had begun.
    """
    store.halt(run, "cancel")
    with Claims(store.client, "run").taken([run]) as ours:
        row = store.row(run)
        if row is not None and row.explanation is not None:
            return row.explanation
        if not ours:
            return None
        state = _last_state(run, open_desk()) if store.has_steps(run) else None
        told = cancelled_explanation(request, run, state=state, now=time.time())
        return _filed(request, told, store=store, emit=emit, now=time.time())


def _last_state(run: str, desk: Desk) -> NamingState | None:
    from agent.graph import build_graph

    return _held(build_graph(desk.saver), {"configurable": {"thread_id": run}}, run=run)


def _carry_out(request: Request, run: str, *, toolbox: Toolbox, desk: Desk) -> Explanation:
    refuse_unpriced(request, toolbox.proposer)
    try:
        explanation = _run_graph(request, run, toolbox=toolbox, desk=desk)
    except Cancelled as stopped:
        explanation = cancelled_explanation(request, run, state=stopped.state, now=toolbox.clock())
    return _filed(request, explanation, store=desk.store, emit=toolbox.emit, now=toolbox.clock())


def _filed(
    request: Request, explanation: Explanation, *, store: RunStore, emit: EventSink, now: float
) -> Explanation:
    """The explanation, on record and told."""
    store.finish(request, explanation, now=now)
    ended = Ended(name=explanation.name, verdict=explanation.verdict, confidence=explanation.confidence)
    emit(Event(run=explanation.run, at=now, node="record", what=ended))
    return explanation


def _within_budget(explanation: Explanation, request: Request) -> Explanation:
    if explanation.code in LIMITS_OF_A_PERSON:
        raise OutOfBudget(explanation, request.settings.limits)
    return explanation


def _run_graph(request: Request, run: str, *, toolbox: Toolbox, desk: Desk) -> Explanation:
    from agent.graph import build_graph

    graph = build_graph(desk.saver)
    limit = STEPS_PER_ROUND * request.settings.limits.rounds + STEPS_BESIDES
    config: Any = {"configurable": {"thread_id": run}, "recursion_limit": limit}
    held = _held(graph, config, run=run)
    if held is None and request.fork is not None:
        plant_fork(graph, request, run)
        held = _held(graph, config, run=run)
    started: Started | None = None
    while held is None or held.get("explanation") is None:
        _refuse_halted(desk, run, held=held)
        entry: object = _beginning(request, run)
        if held is not None:
            entry = _ruling(graph, config, held=held, toolbox=toolbox, store=desk.store)
        if started is None:
            started = _started(request, toolbox, resumed=held is not None)
            toolbox = _briefed(toolbox, run, desk=desk, held=held)
            _tell(toolbox, run, node="start", what=started)
        drained = _invoke(graph, entry, config=config, toolbox=toolbox, halted=lambda: desk.halted(run))
        held = _held(graph, config, run=run)
        if drained and (held is None or held.get("explanation") is None):
            _refuse_halted(desk, run, held=held)
            raise _drained(run)
    return held["explanation"]


def _invoke(graph: NamingGraph, entry: Any, *, config: Any, toolbox: Toolbox, halted: Halted) -> bool:
    """Until the graph ends or waits for a person; True where SIGTERM or ``halted`` stopped it."""
    from agent.graph import GraphDrained, RunControl

    control = RunControl()
    try:
        with drained_by_sigterm(control), drained_when(halted, control):
            graph.invoke(entry, config, context=toolbox, durability="sync", control=control)
    except GraphDrained:
        return True
    return False


def _refuse_halted(desk: Desk, run: str, *, held: NamingState | None) -> None:
    """Cancelled or Drained where the run is asked to stop."""
    halt = desk.halted(run)
    if halt == "cancel":
        raise Cancelled(run, held)
    if halt == "pause":
        raise _drained(run)


def _drained(run: str) -> Drained:
    return Drained(f"Run {run} stopped after a step; repeat the command to continue it.")


def _briefed(toolbox: Toolbox, run: str, *, desk: Desk, held: NamingState | None) -> Toolbox:
    """The tools, with how far the run is kept in one line."""
    spent = Spent() if held is None else held["spent"]
    briefing = Briefing(spent, keep=lambda brief: desk.store.note(run, brief))
    return replace(toolbox, emit=tee(toolbox.emit, briefing))


def _ruling(
    graph: NamingGraph, config: Any, *, held: NamingState, toolbox: Toolbox, store: RunStore
) -> object:
    """What the graph goes on with: a person's ruling where it waits for one; AwaitsReview without it."""
    from agent.graph import Command

    snapshot = graph.get_state(config)
    if snapshot.next != ("review",):
        return None
    ruling = store.ruling(held["run"], len(held.get("reviewed", ())))
    if ruling is not None:
        return Command(resume=ruling.model_dump(mode="json"))
    if not snapshot.interrupts:
        return None
    raise AwaitsReview(store.ask(question_of(held, toolbox), now=toolbox.clock()))


def _started(request: Request, toolbox: Toolbox, *, resumed: bool) -> Started:
    return Started(
        feature=str(request.feature),
        proposer=toolbox.proposer.name,
        resumed=resumed,
        images=request.settings.limits.images,
    )


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
    """The checkpointed state; None where there is none."""
    snapshot = graph.get_state(config)
    return validated(snapshot.values, run=run, schema=SCHEMA) if snapshot.created_at else None


def refuse_unpriced(request: Request, proposer: Proposer) -> None:
    """A limit in dollars means nothing where the price is unknown: say so before anything is spent."""
    usd = request.settings.limits.usd
    if proposer.paid and not proposer.priced and usd is not None:
        raise UsageError(
            f"The price of {proposer.name} is unknown, so the limit of ${usd:g} a feature cannot be "
            "kept; pass --yes to run without it."
        )


def _tell(toolbox: Toolbox, run: str, *, node: str, what: Happening) -> None:
    toolbox.emit(Event(run=run, at=toolbox.clock(), node=node, what=what))

"""Forks: a run's steps, and a new run that starts from the state at one of them. The old run is only read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, cast, get_type_hints

from pydantic import TypeAdapter, ValidationError

from agent.bookkeeping import budget_of
from agent.plan_reply import PromptReply
from agent.plans import ConcludePlan, DrawPlan, ShowPlan, proposals_of
from agent.records import Intent, Proposal
from agent.request import Fork, Request
from agent.state import SCHEMA, Judgement, NamingState, RaceRecord
from sae.feature import Frozen
from tools.cards import require_known
from tools.errors import IntegrityError, ToolError, UsageError
from tools.protocols import GeneratorCard

if TYPE_CHECKING:
    from agent.graph import NamingGraph

START = "__start__"
"""What langgraph calls the place before the first node."""


class Step(Frozen):
    """A checkpoint of a run."""

    number: int
    node: str
    """What had just been done; where the run began, START or the last thing the forked run had done."""
    next: str | None
    """What was done next from there; None where the run ended, and no fork can start."""
    what: str
    """What happened, in a few words."""
    at: float
    """Seconds since the epoch."""


class _Held(NamedTuple):
    """A checkpoint with its state."""

    step: Step
    state: NamingState


def steps_of(graph: NamingGraph, run: str) -> tuple[Step, ...]:
    """The steps of a run, oldest first; none where its checkpoints have gone."""
    return tuple(each.step for each in _history(graph, run))


def plant_fork(graph: NamingGraph, request: Request, run: str) -> None:
    """Put the state a fork starts from into its thread, in one write; UsageError where it cannot be."""
    state, node = forked_state(graph, request, run)
    graph.update_state({"configurable": {"thread_id": run}}, state, as_node=node)


def forked_state(graph: NamingGraph, request: Request, run: str) -> tuple[NamingState, str]:
    """The state that the run of a forking request starts from, and the node it comes after."""
    fork = request.fork
    if fork is None:
        raise ValueError(f"The request of run {run} is no fork.")
    held = _at(graph, fork)
    used, most = held.state["spent"].search, request.settings.limits.images
    if most <= used and most != held.state["settings"].limits.images:
        raise UsageError(
            f"Step {held.step.number} of run {fork.origin.run} has used {used} search images already, "
            f"so {most} leave none; give more."
        )
    origin = fork.origin.model_copy(update={"node": held.step.node})
    state = cast(
        NamingState,
        {
            **held.state,
            "run": run,
            "settings": request.settings,
            "drawn": 0,
            "forked_from": origin,
        },
    )
    if not fork.add and not fork.drop:
        return state, held.step.node
    return _with_prompts(state, fork, next_node=held.step.next or ""), "propose"


def proposal_of(prompt: str, intent: Intent, *, card: GeneratorCard) -> Proposal:
    """A prompt that a person gave, held to what is asked of an LLM's; UsageError otherwise."""
    try:
        told = PromptReply(prompt=prompt, intent=intent, why="")
        require_known(card, told.prompt)
    except ValidationError as error:
        said = error.errors(include_url=False, include_input=False)[0]["msg"]
        raise UsageError(f"Prompt {prompt[:60]!a} cannot be drawn: {said}.") from None
    except ToolError as error:
        raise UsageError(f"Prompt {prompt[:60]!a} cannot be drawn: {error}") from None
    return Proposal(prompt=told.prompt, intent=told.intent, rationale="added by a person")


def validated(values: Mapping[str, Any], *, run: str, schema: int = SCHEMA) -> NamingState:
    """A checkpointed state, validated anew: the checkpointer revives models without validating them."""
    try:
        if values and values.get("schema") != schema:
            raise ValueError(f"schema {values.get('schema')}")
        return cast(NamingState, {name: _validated(name, value) for name, value in values.items()})
    except (ValidationError, ValueError) as error:
        raise IntegrityError(
            f"Run {run} was begun by another version of namesae; start a new one with --again."
        ) from error


def _validated(channel: str, value: object) -> object:
    # Tuples come back from a checkpoint as lists, which is no fault.
    adapter = _adapter(channel)
    return adapter.validate_python(adapter.dump_python(value, warnings="none"))


@cache
def _adapter(channel: str) -> TypeAdapter[object]:
    return TypeAdapter(get_type_hints(NamingState)[channel])


def _history(graph: NamingGraph, run: str) -> list[_Held]:
    config: Any = {"configurable": {"thread_id": run}}
    found = sorted(graph.get_state_history(config), key=lambda each: (each.metadata or {}).get("step", -1))
    held: list[_Held] = []
    before: Sequence[str] = ()
    for each in found:
        number = (each.metadata or {}).get("step", -1)
        if number >= 0 and each.created_at:
            state = validated(cast("dict[str, Any]", each.values), run=run)
            origin = state.get("forked_from")
            node = before[0] if before else origin.node if origin else START
            step = Step(
                number=number,
                node=node,
                next=each.next[0] if each.next else None,
                what=_what(node if before else START, state),
                at=datetime.fromisoformat(each.created_at).timestamp(),
            )
            held.append(_Held(step, state))
        before = each.next
    return held


def _at(graph: NamingGraph, fork: Fork) -> _Held:
    run, number = fork.origin.run, fork.origin.step
    held = _history(graph, run)
    if not held:
        raise UsageError(
            f"The steps of run {run} are not kept any more; name the feature again with --again."
        )
    found = next((each for each in held if each.step.number == number), None)
    forkable = [each.step.number for each in held if each.step.next is not None]
    if found is None:
        raise UsageError(f"Run {run} has no step {number}; it has {forkable[0]} to {forkable[-1]}.")
    if found.step.next is None:
        raise UsageError(f"Step {number} is the end of run {run}; fork at {forkable[-1]} or before.")
    return found


def _with_prompts(state: NamingState, fork: Fork, *, next_node: str) -> NamingState:
    """The state with other prompts to draw next: the search goes on, whatever it had concluded."""
    if "facts" not in state:
        raise UsageError(
            f"Step {fork.origin.step} comes before the feature was looked at; add prompts at a later one."
        )
    granted = list(state.get("granted", ())) if next_node == "draw" else []
    missing = [prompt for prompt in fork.drop if prompt not in {each.prompt for each in granted}]
    if missing:
        drawn = ", ".join(repr(each.prompt) for each in granted) or "no prompt"
        raise UsageError(
            f"Step {fork.origin.step} draws {drawn} next, so {missing[0]!r} cannot be dropped there."
        )
    kept = [each for each in granted if each.prompt not in fork.drop]
    spent = state["spent"]
    grant = budget_of(state).grant(
        (*kept, *fork.add), Counter(each.proposal.prompt for each in state.get("trials", ()))
    )
    mine = {each.prompt for each in fork.add}
    refused = next((each for each in grant.refused if each.prompt in mine), None)
    if refused is not None:
        raise UsageError(f"Prompt {refused.prompt!r} cannot be added: {refused.why}.")
    # A plan of the proposer that is changed stays its round; a person's own takes one.
    rounds = spent.rounds if next_node == "draw" else spent.rounds + 1
    return cast(
        NamingState,
        {
            **state,
            "plan": DrawPlan(proposals=grant.proposals),
            "granted": grant.proposals,
            "spent": spent.model_copy(update={"rounds": rounds}),
            "shots": (),
            "candidates": (),
            "raced": RaceRecord(),
            "judgement": Judgement(),
            "reviewed": (),
        },
    )


def _what(node: str, state: NamingState) -> str:
    """What a node did, from the state after it."""
    say = _SAID.get(node)
    return "" if say is None else say(state)


def _began(state: NamingState) -> str:
    origin = state.get("forked_from")
    return f"forked from {origin.run} at step {origin.step}" if origin else "begins"


def _observed(state: NamingState) -> str:
    return f"density {state['facts'].density:.3f}, {len(state.get('exemplars', ()))} exemplars"


def _proposed(state: NamingState) -> str:
    plan = state["plan"]
    if isinstance(plan, ConcludePlan):
        names = ", ".join(each.name for each in plan.candidates)
        return f"concludes: {names or plan.reason or 'without a name'}"
    if isinstance(plan, ShowPlan):
        return f"looks at exemplars between {plan.low:g} and {plan.high:g}"
    granted = ", ".join(each.prompt for each in state.get("granted", ()))
    return f"{plan.kind} {granted}" if granted else f"{plan.kind}: none of {len(proposals_of(plan))} granted"


def _scored(state: NamingState) -> str:
    return f"{len(state.get('trials', ()))} trials, {state['spent'].search} search images so far"


def _raced(state: NamingState) -> str:
    winner = state["raced"].winner
    return f"won by {winner.name}" if winner else "no winner"


def _judged(state: NamingState) -> str:
    sealed, winner = state["judgement"].sealed, state["raced"].winner
    name = winner.name if winner else "no name"
    return f"{name}: no usable image" if sealed is None else f"{name}: sealed AUROC {sealed.auroc:.2f}"


def _reviewed(state: NamingState) -> str:
    last = state["reviewed"][-1]
    other = f" with {last.ruling.name}" if last.ruling.name else ""
    return f"{last.ruling.who}: {last.ruling.action} {last.name}{other}"


_SAID: dict[str, Callable[[NamingState], str]] = {
    START: _began,
    "observe": _observed,
    "propose": _proposed,
    "draw": lambda state: f"{len(state.get('shots', ()))} images",
    "score": _scored,
    "conclude": lambda state: ", ".join(each.name for each in state.get("candidates", ())) or "no name",
    "race": _raced,
    "judge": _judged,
    "review": _reviewed,
    "retest": _judged,
    "record": lambda state: state["explanation"].verdict,
}

"""One question from request to answer: ``converse`` is what everything that asks about features calls."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast, get_type_hints

from pydantic import Field, TypeAdapter, ValidationError

from agent.ask_events import Questioned
from agent.ask_records import AskAnswer, Conversation, Said
from agent.ask_state import SCHEMA, AskDesk, AskState, OpenDesk
from agent.budget import Limits, Spent
from agent.events import Event
from agent.runs import Drained, drained_by_sigterm
from sae.feature import Feature, Frozen
from tools.claims import Claims
from tools.digest import digest
from tools.errors import BudgetError, IntegrityError, UsageError

if TYPE_CHECKING:
    import redis

    from agent.checkpointer import RedisCheckpointer
    from agent.graph import AskGraph

MAX_QUESTION = 2000
POLL_S = 0.5
STEPS_PER_TURN = 3
STEPS_BESIDES = 16
MOST_TURNS = 200
"""Turns of a question whose LLM calls are not limited."""

LIMITS_OF_A_PERSON = {
    "limit_llm_calls": "{0.llm_calls} LLM calls (--max-calls)",
    "limit_usd": "${0.usd:g} for the LLM (--cost-limit)",
    "limit_tokens": "{0.tokens:,} tokens",
    "limit_seconds": "{0.seconds:g} seconds",
}


class AskRequest(Frozen):
    """A question about a feature. The same one again continues, or finds, its conversation."""

    feature: Feature
    question: str = Field(min_length=1, max_length=MAX_QUESTION)
    models: str
    """Digest of the fingerprints of generator, scorer, exemplars and control set."""
    speaker: str
    """Digest of who is asked."""
    thread: str | None = None
    """The conversation that it follows up; None begins one."""
    limits: Limits = Limits(race_images=0)
    """For this question alone."""
    seed: int = Field(default=0, ge=0)

    @property
    def thread_id(self) -> str:
        """The conversation's: the one that was named, else one of the question's own."""
        if self.thread is not None:
            return self.thread
        name = f"{self.feature.dictionary}-{self.feature.index}"
        safe = "".join(each if each.isalnum() or each in "-_." else "-" for each in name)
        return f"ask-{safe}-{digest(**self.model_dump(mode='json'))[:12]}"


class OutOfBudget(BudgetError):
    """A limit came before the answer."""

    def __init__(self, answer: AskAnswer, limits: Limits) -> None:
        told = LIMITS_OF_A_PERSON[answer.code or ""].format(limits)
        super().__init__(
            f"Asking about {answer.feature} reached its limit of {told} before an answer; raise it and "
            "repeat the command, what was recorded is not done again."
        )
        self.answer = answer
        """What the conversation recorded: no text, and its cost."""


@dataclass(frozen=True)
class Parlour:
    """Where conversations are kept."""

    client: redis.Redis
    saver: RedisCheckpointer


def converse(request: AskRequest, open_desk: OpenDesk, *, parlour: Parlour) -> Conversation:
    """Ask: the recorded answer to an equal question, else turns of LLM and tools, from where they stopped.

    An answer that failed says why in its code and is asked for anew by the next call. OutOfBudget where a
    limit left no answer. UsageError for a thread that does not exist or is about another feature;
    DependencyError as the LLM and the tools raise it, Drained after SIGTERM: the same call goes on.
    """
    thread = request.thread_id
    while True:
        with Claims(parlour.client, "ask").taken([thread]) as ours:
            if ours:
                return _carried_out(request, thread, open_desk=open_desk, parlour=parlour)
        time.sleep(POLL_S)


def read_conversation(thread: str, *, parlour: Parlour) -> Conversation:
    """A conversation by its id; UsageError where there is none."""
    from agent.graph import build_ask_graph

    held = _held(build_ask_graph(parlour.saver), thread)
    if held is None:
        raise _unknown(thread)
    return _conversation(held.state)


class _Held(NamedTuple):
    state: AskState
    open: bool
    """Whether a question is still in hand."""


def _carried_out(request: AskRequest, thread: str, *, open_desk: OpenDesk, parlour: Parlour) -> Conversation:
    from agent.graph import build_ask_graph

    graph = build_ask_graph(parlour.saver)
    held = _held(graph, thread)
    if held is None and request.thread is not None:
        raise _unknown(thread)
    if held is not None and held.state.get("feature", request.feature) != request.feature:
        raise UsageError(
            f"Conversation {thread} is about {held.state['feature']}, not {request.feature}; "
            "leave --thread out to begin another."
        )
    found = _found(request, held)
    if found is not None:
        return found
    desk = open_desk(thread)
    _refuse_unpriced(request, desk)
    state = held.state if held is not None else None
    fresh = _beginning(request, state, thread=thread)
    if held is not None and held.open:
        # What was begun is finished first: a transcript cannot be left in the middle of a call.
        state = _invoked(graph, None, desk=desk, asked={**fresh, **held.state, "thread": thread})
        if state["question"] == request.question:
            return _within_budget(state)
        fresh = _beginning(request, state, thread=thread)
    return _within_budget(_invoked(graph, fresh, desk=desk, asked={**(state or {}), **fresh}))


def _found(request: AskRequest, held: _Held | None) -> Conversation | None:
    """The conversation up to the answer that the question has already."""
    for at, each in enumerate(held.state.get("answers", ()) if held is not None else ()):
        limited = each.code in LIMITS_OF_A_PERSON and request.thread is None
        if each.question == request.question and (each.code is None or limited):
            assert held is not None
            if limited:
                raise OutOfBudget(each, request.limits)
            kept = tuple(held.state["answers"])[:at]
            stored = each.model_copy(update={"stored": True})
            return _conversation(held.state).model_copy(update={"answers": (*kept, stored)})
    return None


def _invoked(graph: AskGraph, begin: AskState | None, *, desk: AskDesk, asked: AskState) -> AskState:
    """The state once the question in hand has its answer; ``asked``: what is known of it before."""
    from agent.graph import GraphDrained, RunControl

    thread, limits, control = asked["thread"], asked["limits"], RunControl()
    turns = MOST_TURNS if limits.llm_calls is None else limits.llm_calls
    config: Any = {
        "configurable": {"thread_id": thread},
        "recursion_limit": STEPS_PER_TURN * turns + STEPS_BESIDES,
    }
    questioned = Questioned(
        feature=str(asked["feature"]),
        question=asked["question"],
        model=desk.speaker.model,
        resumed=begin is None,
        images=limits.images,
    )
    desk.toolbox.emit(Event(run=thread, at=desk.toolbox.clock(), node="start", what=questioned))
    try:
        with drained_by_sigterm(control):
            graph.invoke(begin, config, context=desk, durability="sync", control=control)
    except GraphDrained as drained:
        raise Drained(
            f"Conversation {thread} stopped after a step; repeat the command to go on."
        ) from drained
    held = _held(graph, thread)
    assert held is not None
    return held.state


def _beginning(request: AskRequest, state: AskState | None, *, thread: str) -> AskState:
    """What a question puts into the conversation's state; the rest stays."""
    asked: AskState = {
        "said": (*(state["said"] if state else ()), Said(role="user", text=request.question)),
        "question": request.question,
        "limits": request.limits,
        "spent": Spent(),
        "drawn": 0,
        "calls": (),
        "due": None,
        "slips": 0,
        "repairs": 0,
        "code": None,
        "why": None,
        "ended": False,
    }
    if state:
        return asked
    return {
        **asked,
        "schema": SCHEMA,
        "thread": thread,
        "feature": request.feature,
        "seed": request.seed,
        "pictures": (),
        "figures": (),
        "answers": (),
    }


def _held(graph: AskGraph, thread: str) -> _Held | None:
    """The checkpointed state, validated anew: the checkpointer revives models without validating them."""
    config: Any = {"configurable": {"thread_id": thread}}
    snapshot = graph.get_state(config)
    if not snapshot.created_at:
        return None
    values = cast("dict[str, Any]", snapshot.values)
    try:
        # Killed before the first step, a conversation has its question as input and no values yet.
        if values and values.get("schema") != SCHEMA:
            raise ValueError(f"schema {values.get('schema')}")
        state = cast(AskState, {name: _validated(name, value) for name, value in values.items()})
    except (KeyError, ValidationError, ValueError) as error:
        raise IntegrityError(
            f"Conversation {thread} was begun by another version of namesae, or is none; begin a new one "
            "without --thread."
        ) from error
    return _Held(state, bool(snapshot.next))


def _validated(channel: str, value: object) -> object:
    # Tuples come back from a checkpoint as lists, which is no fault.
    adapter: TypeAdapter[object] = TypeAdapter(get_type_hints(AskState)[channel])
    return adapter.validate_python(adapter.dump_python(value, warnings="none"))


def _conversation(state: AskState) -> Conversation:
    return Conversation(
        thread=state["thread"],
        feature=state["feature"],
        answers=tuple(state["answers"]),
        pictures=tuple(state["pictures"]),
        figures=tuple(state["figures"]),
        said=tuple(state["said"]),
    )


def _within_budget(state: AskState) -> Conversation:
    answer = state["answers"][-1]
    if answer.code in LIMITS_OF_A_PERSON:
        raise OutOfBudget(answer, state["limits"])
    return _conversation(state)


def _unknown(thread: str) -> UsageError:
    return UsageError(f"Conversation {thread!r} does not exist; leave --thread out to begin one.")


def _refuse_unpriced(request: AskRequest, desk: AskDesk) -> None:
    """A limit in dollars means nothing where the price is unknown: say so before anything is spent."""
    usd = request.limits.usd
    if not desk.speaker.priced and usd is not None:
        raise UsageError(
            f"The price of {desk.speaker.model} is unknown, so the limit of ${usd:g} a question cannot be "
            "kept; pass --yes to ask without it."
        )

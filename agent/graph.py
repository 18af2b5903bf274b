"""The graph: nodes and edges. The only file that imports langgraph's graph API."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.errors import GraphDrained
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import RunControl, Runtime
from langgraph.types import Command, interrupt

from agent import ask, nodes, observing, racing, review
from agent.ask_state import AskDesk, AskState
from agent.budget import Spent
from agent.state import NamingState
from agent.toolbox import Toolbox

__all__ = [
    "AskGraph",
    "Command",
    "GraphDrained",
    "NamingGraph",
    "RunControl",
    "build_ask_graph",
    "build_graph",
]

Node = Callable[[NamingState, Toolbox], NamingState]
NamingGraph = CompiledStateGraph[NamingState, Toolbox, NamingState, NamingState]
AskGraph = CompiledStateGraph[AskState, AskDesk, AskState, AskState]


def build_graph(
    saver: BaseCheckpointSaver[Any] | None, *, context_schema: type[Any] = Toolbox
) -> NamingGraph:
    """observe → propose → draw → score → (propose …) → conclude → race → judge → record.

    Between judge and record a person may be asked: review → (retest → review …) → record. ``saver`` None
    lets whoever runs the graph bring its own. ``context_schema``: what a server is told that a run takes.
    """
    graph: StateGraph[NamingState, Toolbox, NamingState, NamingState]
    graph = StateGraph(NamingState, context_schema=context_schema)
    steps: dict[str, Node] = {
        "observe": observing.observe,
        "propose": nodes.propose,
        "draw": nodes.draw,
        "score": nodes.score,
        "conclude": nodes.conclude,
        "race": racing.race,
        "judge": nodes.judge_winner,
        "review": partial(review.review_name, ask=interrupt),
        "retest": review.retest,
        "record": nodes.record,
    }
    for name, step in steps.items():
        graph.add_node(name, _metered(step))
    graph.add_edge(START, "observe")
    graph.add_conditional_edges("observe", observing.after_observe, ["propose", "record"])
    graph.add_conditional_edges("propose", nodes.after_propose, ["draw", "observe", "conclude", "propose"])
    graph.add_edge("draw", "score")
    graph.add_edge("score", "propose")
    graph.add_conditional_edges("conclude", nodes.after_conclude, ["race", "record"])
    graph.add_conditional_edges("race", racing.after_race, ["judge", "propose", "record"])
    graph.add_conditional_edges("judge", review.after_judge, ["review", "record"])
    graph.add_conditional_edges("review", review.after_review, ["retest", "record"])
    graph.add_edge("retest", "review")
    graph.add_edge("record", END)
    return graph.compile(checkpointer=saver)


class _Metered(Protocol):
    def __call__(self, state: NamingState, *, runtime: Runtime[Toolbox]) -> NamingState: ...


def _metered(step: Node) -> _Metered:
    """The step with its tools from the context; its seconds and the images really drawn are added up."""

    def run(state: NamingState, *, runtime: Runtime[Toolbox]) -> NamingState:
        toolbox = runtime.context
        begun, before = toolbox.clock(), toolbox.drawn()
        changed = step(state, toolbox)
        spent = changed.get("spent", state.get("spent", Spent()))
        seconds = spent.seconds + max(0.0, toolbox.clock() - begun)
        return {
            **changed,
            "spent": spent.model_copy(update={"seconds": seconds}),
            "drawn": state.get("drawn", 0) + toolbox.drawn() - before,
        }

    return run


def build_ask_graph(
    saver: BaseCheckpointSaver[Any] | None, *, context_schema: type[Any] = AskDesk
) -> AskGraph:
    """think → act → think … → answer: a conversation that calls the feature tools."""
    graph: StateGraph[AskState, AskDesk, AskState, AskState]
    graph = StateGraph(AskState, context_schema=context_schema)
    steps = {"think": ask.think, "act": ask.act, "answer": ask.answer}
    for name, step in steps.items():
        graph.add_node(name, _at_desk(step))
    graph.add_edge(START, "think")
    graph.add_conditional_edges("think", ask.after_think, ["act", "answer", "think"])
    graph.add_edge("act", "think")
    graph.add_conditional_edges("answer", ask.after_answer, {"think": "think", "end": END})
    return graph.compile(checkpointer=saver)


class _AtDesk(Protocol):
    def __call__(self, state: AskState, *, runtime: Runtime[AskDesk]) -> AskState: ...


def _at_desk(step: Callable[[AskState, AskDesk], AskState]) -> _AtDesk:
    """The step with its desk from the context."""

    def run(state: AskState, *, runtime: Runtime[AskDesk]) -> AskState:
        return step(state, runtime.context)

    return run

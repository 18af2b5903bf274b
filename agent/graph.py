"""The graph: nodes and edges. The only file that imports langgraph's graph API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.errors import GraphDrained
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import RunControl, Runtime

from agent import nodes
from agent.budget import Spent
from agent.state import NamingState
from agent.toolbox import Toolbox

__all__ = ["GraphDrained", "NamingGraph", "RunControl", "build_graph"]

Node = Callable[[NamingState, Toolbox], NamingState]
NamingGraph = CompiledStateGraph[NamingState, Toolbox, NamingState, NamingState]


def build_graph(saver: BaseCheckpointSaver[Any]) -> NamingGraph:
    """observe → propose → draw → score → (propose …) → conclude → race → judge → record."""
    graph = StateGraph(NamingState, context_schema=Toolbox)
    steps: dict[str, Node] = {
        "observe": nodes.observe,
        "propose": nodes.propose,
        "draw": nodes.draw,
        "score": nodes.score,
        "conclude": nodes.conclude,
        "race": nodes.race,
        "judge": nodes.judge_winner,
        "record": nodes.record,
    }
    for name, step in steps.items():
        graph.add_node(name, _metered(step))
    graph.add_edge(START, "observe")
    graph.add_conditional_edges("observe", nodes.after_observe, ["propose", "record"])
    graph.add_conditional_edges("propose", nodes.after_propose, ["draw", "observe", "conclude", "propose"])
    graph.add_edge("draw", "score")
    graph.add_edge("score", "propose")
    graph.add_conditional_edges("conclude", nodes.after_conclude, ["race", "record"])
    graph.add_conditional_edges("race", nodes.after_race, ["judge", "record"])
    graph.add_edge("judge", "record")
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

"""The graphs for LangGraph's own dev server, which langgraph.json points here.

The server brings the checkpointer. It shows the graphs and the schemas of their state; what a run works with
(``Toolbox``, ``AskDesk``) is no JSON, so runs are begun by ``namesae`` and watched on its pages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from tools.errors import UsageError

if TYPE_CHECKING:
    from agent.graph import AskGraph, NamingGraph


@dataclass(frozen=True)
class NoTools:
    """What a run that such a server begins would have to work with."""

    def __getattr__(self, name: str) -> NoReturn:
        # Not for what Python and pydantic look for in any object.
        if name.startswith("_"):
            raise AttributeError(name)
        raise UsageError(
            "This server shows the graph and has no tools to run it with; begin a run with namesae name."
        )


def graph() -> NamingGraph:
    """How a feature is named."""
    from agent.graph import build_graph

    return build_graph(None, context_schema=NoTools)


def ask_graph() -> AskGraph:
    """How a question about a feature is answered."""
    from agent.graph import build_ask_graph

    return build_ask_graph(None, context_schema=NoTools)

"""langgraph.json leads LangGraph's dev server to the agent's own graphs."""

from __future__ import annotations

import importlib.util
import inspect
import json
from typing import Any

import pytest

from agent.graph import build_ask_graph, build_graph
from agent.studio import NoTools
from tests.command_line import ROOT
from tools.errors import UsageError

CONFIG = json.loads((ROOT / "langgraph.json").read_text(encoding="utf-8"))


def factory(graph: str) -> Any:
    """What the server does: the file by its path, the function by its name."""
    path, _, name = CONFIG["graphs"][graph].partition(":")
    spec = importlib.util.spec_from_file_location(f"served_{graph}", ROOT / path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)


def edges(graph: Any) -> set[tuple[str, str]]:
    return {(edge.source, edge.target) for edge in graph.get_graph().edges}


@pytest.mark.parametrize("name, own", [("name", build_graph), ("ask", build_ask_graph)])
def test_the_graphs_are_the_agents_own(name: str, own: Any) -> None:
    make = factory(name)
    assert inspect.signature(make).parameters == {}
    served, ours = make(), own(None)
    assert set(served.nodes) == set(ours.nodes) and edges(served) == edges(ours)
    assert served.checkpointer is None, "the server brings its own"


def test_every_step_of_a_naming_is_there() -> None:
    steps = {"observe", "propose", "draw", "score", "conclude", "race", "judge", "review", "retest", "record"}
    assert set(factory("name")().nodes) - {"__start__"} == steps


def test_the_configuration_names_what_exists() -> None:
    assert CONFIG["dependencies"] == ["."] and (ROOT / "pyproject.toml").is_file()
    assert CONFIG["python_version"] in ("3.11", "3.12")
    assert set(CONFIG) == {"dependencies", "graphs", "python_version"}


def test_a_server_can_describe_what_a_run_takes() -> None:
    assert factory("name")().get_context_jsonschema()["properties"] == {}


def test_a_run_begun_there_ends_with_a_sentence() -> None:
    with pytest.raises(UsageError, match="begin a run with namesae name"):
        factory("name")().invoke({"schema": 1, "run": "r"}, context=NoTools())

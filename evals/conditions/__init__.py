"""The conditions there are: the one list of them. A condition is made when a suite asks for it."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, get_args

from pydantic import ValidationError

from agent.request import Ablation
from evals.condition import Condition
from evals.suite import FILE
from tools.errors import UsageError


class Kind(NamedTuple):
    """Where a condition is written, and the options that make it what its name says."""

    module: str
    maker: str
    preset: Mapping[str, Any] = {}


WITHOUT = "agent-no-"
"""How the conditions begin that are the agent without one part of it."""

CONDITIONS: dict[str, Kind] = {
    "agent": Kind("agent", "Agent"),
    "agent-batch": Kind("agent_batch", "AgentBatch"),
    **{f"{WITHOUT}{each}": Kind("agent", "Agent", {"without": (each,)}) for each in get_args(Ablation)},
    "line-auc": Kind("line", "Line", {"reward": "auc"}),
    "line-mad": Kind("line", "Line", {"reward": "mad"}),
    "line-mean": Kind("line", "Line", {"reward": "mean"}),
    "mils": Kind("mils", "Mils", {"start": "classes"}),
    "mils-short": Kind("mils", "Mils", {"start": "classes", "steps": 5, "proposals": 20}),
    "one-proposal": Kind("one_proposal", "OneProposal"),
    "clip-dissect": Kind("clip_dissect", "ClipDissect"),
    "invert": Kind("invert", "Invert"),
    "cosine": Kind("cosine", "Cosine"),
    "milan": Kind("milan", "Milan"),
    "random": Kind("controls", "RandomName"),
    "shuffled": Kind("controls", "Shuffled"),
    "constant": Kind("controls", "Constant"),
    "untrained": Kind("untrained", "Untrained"),
    "true": Kind("controls", "TrueName"),
}
"""In the order in which reports list them. Anyone can add a line: a module of this package and its class."""


def make_condition(
    name: str, options: Mapping[str, Any] | None = None, *, beside: Callable[[str], Path] = Path
) -> Condition:
    """The condition of a name, options on top of its own. UsageError for an unknown name or option.

    ``beside``: what a path after 'file:' is relative to.
    """
    if name.startswith(FILE):
        kind = Kind("elsewhere", "Elsewhere", {"path": str(beside(name.removeprefix(FILE)))})
    elif name in CONDITIONS:
        kind = CONDITIONS[name]
    else:
        near = difflib.get_close_matches(name, CONDITIONS, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise UsageError(
            f"Condition {name!r} does not exist; {hint}There are {', '.join(CONDITIONS)} and file:PATH."
        )
    maker: Callable[..., Condition] = getattr(import_module(f"{__name__}.{kind.module}"), kind.maker)
    try:
        return maker(**{**kind.preset, **(options or {})})
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise UsageError(f"Option {where!r} of condition {name!r} is wrong: {fault['msg']}.") from error

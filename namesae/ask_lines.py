"""One line of text for what happens in a conversation (namesae/lines.py has the others). Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.events import Happening
    from agent.tool_results import Figure

MOST_FIGURES = 6
MAX_ARGUMENTS = 120
"""Characters of a call's arguments that a line shows."""


def figure_text(figure: Figure) -> str:
    """0.91 [0.87, 0.94]."""
    interval = "" if figure.low is None or figure.high is None else f" [{figure.low:.2f}, {figure.high:.2f}]"
    return f"{figure.value:.2f}{interval}"


def _questioned(what: Happening) -> str:
    assert what.kind == "questioned"
    begins = "goes on where it was interrupted" if what.resumed else "begins"
    return f"{what.question!r} {begins}"


def _tool_called(what: Happening) -> str:
    assert what.kind == "tool_called"
    called = f"{what.tool} {_arguments(what.arguments)}".rstrip()
    if what.refused is not None:
        return f"{called}: refused: {what.refused}"
    parts = [f"{each.id} {figure_text(each)}" for each in what.figures[:MOST_FIGURES]]
    parts += [f"{len(what.figures) - MOST_FIGURES} more figures"] if len(what.figures) > MOST_FIGURES else []
    parts += [f"{len(what.pictures)} pictures"] if what.pictures else []
    parts += [f"{each.prompt!r} not drawn: {each.why}" for each in what.not_drawn]
    return f"{called}: {', '.join(parts) or 'nothing'}"


def _answered(what: Happening) -> str:
    assert what.kind == "answered"
    answer = what.answer
    return answer.text if answer.text is not None else f"no answer ({answer.code})"


def _arguments(told: str) -> str:
    """The values of a call's arguments but the feature's index; as they stand where they are no JSON."""
    try:
        read = json.loads(told)
    except (ValueError, RecursionError):
        read = None
    if not isinstance(read, dict):
        return told[:MAX_ARGUMENTS]
    shown = [json.dumps(value, ensure_ascii=False) for name, value in read.items() if name != "index"]
    return " ".join(shown)[:MAX_ARGUMENTS]


ASK_LINES: dict[str, Callable[[Happening], str]] = {
    "questioned": _questioned,
    "tool_called": _tool_called,
    "answered": _answered,
}

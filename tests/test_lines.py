"""What a person is told, to the letter."""

from __future__ import annotations

import pytest

from agent.records import Explanation, ImageCount
from namesae.lines import event_line, feature_line, percent, plain, quoted
from namesae.showing import trace_lines
from sae.feature import Feature
from tests.recorded_runs import recorded_trace
from tools.fakes import MemoryImageStore


def explained(text: str = "striped") -> Explanation:
    explanation = recorded_trace(MemoryImageStore(), text=text).explanation
    assert explanation is not None
    return explanation


def test_a_result_is_one_line() -> None:
    figures = "AUROC 0.91 [0.87, 0.94] (ceiling 0.92)   fires on 88 % of drawn images, 9 % of control"
    line = f"striped   named   {figures}   24 + 50 images"
    explanation = explained()
    assert feature_line(explanation) == f"{line}   2 LLM calls, $0.0123"
    free = explanation.model_copy(update={"cost": explanation.cost.model_copy(update={"llm_calls": 0})})
    assert feature_line(free) == line
    assert feature_line(free, several=True) == f"fake#0   {line}"
    assert feature_line(free.model_copy(update={"stored": True})) == f"{line}   stored 2026-11-21"
    unknown = explanation.model_copy(update={"cost": explanation.cost.model_copy(update={"usd": None})})
    assert feature_line(unknown).endswith("2 LLM calls, price unknown")


def test_a_feature_without_a_name_says_so() -> None:
    nothing = Explanation(
        feature=Feature(dictionary="d", index=3),
        name=None,
        verdict="failed",
        code="TypeError",
        confidence=0,
        images=ImageCount(search=4),
    )
    assert feature_line(nothing) == "(no name)   failed (TypeError)   4 + 0 images"


@pytest.mark.parametrize(
    ("share", "told"),
    [(0.0, "0 %"), (0.004, "0.4 %"), (0.0149, "1.5 %"), (0.09, "9 %"), (0.876, "88 %"), (1.0, "100 %")],
)
def test_percentages(share: float, told: str) -> None:
    assert percent(share) == told


@pytest.mark.parametrize("text", ["\x1b[31mred", "a\nb", "a\rb", "\u202eevil", "\x07", "\x9b2J"])
def test_nothing_that_a_terminal_obeys_is_printed(text: str) -> None:
    trace = recorded_trace(MemoryImageStore(), text=text)
    lines = [feature_line(explained(text)), plain(text), *map(event_line, trace.events), *trace_lines(trace)]
    assert all(line.isprintable() for line in lines)


def test_many_texts_are_counted() -> None:
    assert quoted(["a", "b"]) == "'a', 'b'"
    assert quoted([str(at) for at in range(9)], most=2) == "'0', '1' and 7 more"


def test_every_event_has_a_line_and_a_round_of_its_own() -> None:
    lines = [event_line(event) for event in recorded_trace(MemoryImageStore()).events]
    assert lines[0] == "begins" and lines[-1] == "striped: named"
    assert [line.partition(":")[0] for line in lines if line.startswith("round")] == [
        "round 1",
        "round 1",
        "round 2",
    ]
    assert any("gpt-5-mini answered in 1.5 s" in line for line in lines)

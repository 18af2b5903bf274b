"""What a report says of the agent without its parts, and of how far its confidence can be trusted."""

from __future__ import annotations

import pytest

from evals.contenders import contenders, is_ablated, is_variant
from evals.report import board_of
from evals.report_ablations import ablations
from evals.report_files import write_report
from evals.report_markdown import render_markdown
from evals.report_trust import calibration_errors
from evals.report_words import summary
from evals.results import Expected, ListedCondition, RunRecord
from evals.scoreboard import Scoreboard
from evals.suite import Suite
from tests.eval_report_data import board
from tests.evaluated_cells import cell, named


def evaluated(*, words: str = "generator", conditions: tuple[str, ...] = ()) -> Scoreboard:
    """The whole agent right on all of 12 features, less each part on fewer."""
    wrong = {
        "agent": 0,
        "agent-no-race": 3,
        "agent-no-tags": 7,
        "agent-batch": 0,
        **dict.fromkeys(conditions, 5),
    }
    cells = [
        named(condition, at, right=at >= count, confidence=0.9)
        for condition, count in wrong.items()
        for at in range(12)
    ]
    suite = Suite.model_validate({"name": "own", "images": 7, "sealed": 5, "words": words})
    record = RunRecord(
        digest="d",
        version="0",
        suite=suite,
        proposer="lexical",
        control=9,
        expected=tuple(Expected(condition=each.condition, feature=each.feature) for each in cells),
        conditions=tuple(ListedCondition(condition=each, title=each, digest="d") for each in wrong),
    )
    return board_of([*cells, cell("agent", 12)], record)


def test_each_part_is_shown_against_the_whole_agent_what_costs_most_first() -> None:
    lines = ablations(evaluated()).lines
    assert [line.entries[0].text for line in lines] == ["AGENT", "AGENT-NO-TAGS", "AGENT-NO-RACE"]
    assert [line.role for line in lines] == ["ours", "", ""]
    added = [line.entries[2].value for line in lines]
    assert added == [None, pytest.approx(7 / 12), pytest.approx(3 / 12)]
    assert [line.entries[3].text for line in lines] == ["13", "12", "12"]
    assert lines[1].entries[4].value == pytest.approx(2 * 0.5**7)


def test_the_agent_in_another_way_of_use_is_no_rival_of_itself() -> None:
    found = evaluated()
    assert "rival" not in summary(found, contenders(found))
    with_rival = evaluated(conditions=("mils",))
    assert "the best rival, MILS" in summary(with_rival, contenders(with_rival))
    assert is_ablated("agent-no-race") and not is_ablated("agent-batch") and is_variant("agent-batch")
    assert not is_variant("agent")


def test_without_ablations_there_is_no_such_section() -> None:
    assert ablations(board()).lines == ()
    text = render_markdown(board(), contenders(board()))
    assert "## Ablations" not in text and "## Calibration" in text
    found = evaluated()
    assert "## Ablations" in render_markdown(found, contenders(found))


def test_the_expected_error_stands_in_table_and_page(tmp_path_factory: pytest.TempPathFactory) -> None:
    (line,) = calibration_errors(board()).lines
    assert [entry.value for entry in line.entries[1:]] == [pytest.approx(0.07), pytest.approx(0.11)]
    files = write_report(board(), [], tmp_path_factory.mktemp("report"), picture=lambda image: b"")
    page = files.html.read_text(encoding="utf-8")
    assert "Expected calibration error" in page and "ECE 0.07" in page


def test_a_search_over_english_words_is_told_of_and_whom_it_flatters() -> None:
    assert not any("English" in note for note in evaluated().notes)
    told = evaluated(words="english").notes
    assert any("English" in note for note in told)
    assert not any("flatters" in note for note in told)
    assert any("flatters" in note for note in evaluated(words="english", conditions=("cosine",)).notes)

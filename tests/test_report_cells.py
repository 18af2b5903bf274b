"""What a report keeps of the cells: their results in a word, the best steps, the pictures a page can bear."""

from __future__ import annotations

import json

import pytest

from evals.answer import Answer, Step
from evals.cell import Cell
from evals.cell_details import details
from evals.cell_result import result_of, rightly
from evals.contenders import contenders
from evals.feature_table import by_feature, features_table
from evals.report_html import render_html
from evals.step_choice import kept_steps
from evals.subject import Truth
from evals.table import csv_text, jsonl_text
from evals.thumbnails import thumbnails, wanted
from tests.eval_report_data import CONDITIONS, board, cell, cells, image_id, picture

FEATURES = 9


def test_long_searches_keep_their_best_and_last_steps() -> None:
    steps = [Step(text=str(at), score=None if at == 3 else float(at % 50)) for at in range(951)]
    kept = kept_steps(steps)
    assert kept[-4:] == [947, 948, 949, 950] and len(kept) == 10
    assert all(steps[at].score == 49.0 for at in kept[:6])
    assert kept_steps(steps[:3]) == [0, 1, 2] and kept_steps([]) == []


def test_where_the_page_would_be_too_large_fewer_steps_are_kept() -> None:
    features, shown = by_feature(cells(3)), contenders(board(3))
    carried = thumbnails((), picture)
    whole = details(features, shown, carried=carried)
    fewer = details(
        features, shown, carried=carried, most=sum(len(text.encode()) for text in whole.texts) - 1
    )
    assert (whole.best, whole.last) == (6, 4) and fewer.best < 6
    assert sum(map(len, fewer.texts)) < sum(map(len, whole.texts))
    assert details(features, shown, carried=carried, most=1).best == 1


def test_pictures_that_are_missing_or_broken_leave_a_gap() -> None:
    ids = [image_id(str(at)) for at in range(60)]
    there = [each for each in ids if each[0] not in "7f2"]
    carried = thumbnails([*ids, *ids], picture, most=1000)
    assert there != ids and list(carried.places) == there and len(carried.sources) == len(there)
    assert carried.place(None) == carried.place("absent") == -1
    assert len(thumbnails(ids, picture, most=7).sources) == 7


def test_the_first_pictures_are_those_of_ours_and_of_every_feature() -> None:
    shown = contenders(board(FEATURES))
    ids = wanted(by_feature(cells(FEATURES)), shown)
    ours = [each for each in cells(FEATURES) if each.condition == "agent" and each.judged]
    first = {image for each in ours if each.judged for image in each.judged.images[:1]}
    assert first <= set(ids[: 2 * len(ours)]) and len(ids) == len(set(ids))


def test_no_picture_at_all_makes_a_page() -> None:
    def none(image: str) -> bytes:
        raise KeyError(image)

    text = render_html(board(3), cells(3), contenders(board(3)), picture=none)
    assert '<script type="application/json" id="thumbnails">[]</script>' in text


@pytest.mark.parametrize(
    ("answer", "concept", "right", "expected"),
    [
        (Answer(name="x"), "x", True, "right"),
        (Answer(name="x"), "y", False, "wrong"),
        (Answer(name="x"), "y", None, "ungraded"),
        (Answer(name=None, verdict="unexplained"), "y", None, "abstained"),
        (Answer(name=None, verdict="failed", code="llm"), "y", None, "failed"),
        (Answer(name="x", verdict="named"), "", None, "wrong"),
        (Answer(name="x", verdict="weak"), "", None, "abstained"),
    ],
)
def test_every_way_an_answer_can_come_out_has_a_word(
    answer: Answer, concept: str, right: bool | None, expected: str
) -> None:
    one = cell(1, 0)
    grade = one.grade.model_copy(update={"labels": right, "exact": None, "synonym": None})
    truth = Truth(concept=concept, kind="object")
    one = one.model_copy(update={"answer": answer, "grade": grade, "truth": truth, "judged": None})
    assert result_of(one) == expected
    assert rightly(one) is (expected == "right" or (expected == "abstained" and not concept))
    assert result_of(None) == "not run"


def test_features_can_be_found_by_how_the_conditions_disagree() -> None:
    shown = contenders(board())

    def flags(**right: bool) -> tuple[str, ...]:
        answered: dict[str, Cell] = {}
        for at, (condition, *_) in enumerate(CONDITIONS):
            if condition in right:
                one = cell(1, at)
                grade = one.grade.model_copy(update={"labels": right[condition]})
                truth = Truth(concept="fish", kind="object")
                answered[condition] = one.model_copy(
                    update={"grade": grade, "truth": truth, "answer": Answer(name="x")}
                )
        return features_table({cell(1, 0).feature: answered}, shown).lines[0].flags

    assert flags(agent=True, mils=False, random=False) == ("differ", "win")
    assert flags(agent=False, mils=True) == ("differ", "loss")
    assert flags(agent=False, mils=False, true=True) == ("none",)
    assert flags(agent=True, mils=True, random=False) == ()


def test_a_long_name_is_cut_where_it_is_shown_and_whole_in_json_lines() -> None:
    long = cell(0, 0)
    long = long.model_copy(update={"answer": Answer(name="stripes " * 2000)})
    table = features_table(by_feature([long]), contenders(board()))
    assert len(csv_text(table)) < 1500 and "…" in csv_text(table)
    assert json.loads(jsonl_text(table))["agent"] == "stripes " * 2000

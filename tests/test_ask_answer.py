"""Answers are held to what was measured."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.ask_answer import AnswerReply, BadAnswerError, answer_schema, check_answer
from agent.tool_results import Figure, Picture

FIGURES = (
    Figure(id="fig-1", value=0.9167, low=0.8, high=1.0, meaning="share"),
    Figure(id="fig-2", value=-0.2513, meaning="difference"),
)
PICTURES = (Picture(id="img-1", image="a" * 64, activation=1.0213, meaning="exemplar"),)


def checked(text: str, *cites: Any, pictures: Any = PICTURES, figures: Any = FIGURES) -> Any:
    return check_answer(json.dumps({"text": text, "cites": list(cites)}), pictures=pictures, figures=figures)


def test_citations_are_looked_up_wherever_they_stand() -> None:
    told = checked("As [fig-2] and img-1 show.", {"figure": "fig-1"}, "fig-1", {"image": "img-1"})
    assert [each.id for each in told.cites] == ["fig-1", "img-1", "fig-2"]
    assert told.cites[0].figure == FIGURES[0] and told.cites[1].picture == PICTURES[0]


@pytest.mark.parametrize(
    ("text", "cites", "code"),
    [
        ("It is [fig-3].", ["fig-1"], "invented_citation"),
        ("It is.", ["img-2"], "invented_citation"),
        ("It is.", [{"figure": "img-1 "}], "invented_citation"),
        ("It is.", [], "no_citation"),
        (" \n ", ["fig-1"], "bad_answer"),
        ("It is.", [{}], "bad_answer"),
        ("It is.", [{"figure": "fig-1", "value": 3}], "bad_answer"),
        ("x" * 4001, ["fig-1"], "bad_answer"),
    ],
)
def test_what_is_wrong_with_an_answer_has_a_code(text: str, cites: list[Any], code: str) -> None:
    with pytest.raises(BadAnswerError) as wrong:
        checked(text, *cites)
    assert wrong.value.code == code


def test_where_there_is_nothing_to_cite_nothing_need_be() -> None:
    assert checked("I cannot tell.", pictures=(), figures=()).cites == ()


@pytest.mark.parametrize(
    ("text", "unmeasured"),
    [
        ("It fires on 92 % [fig-1], interval 0.80 to 1.0, at the 95 % level.", ()),
        ("It fires on 92% and 0.917, by -0.25 or \u22120.251 or 0.25.", ()),
        ("Activation 1.02 in img-1, above 0.5, 12 pictures of 3 prompts, seed 7.", ()),
        ("It fires on 93 % of them, 0.93, really 0.9.", ("93 %", "0.93")),
        ("v1.2.3 and fig-1 and 2026-11-21 are no figures; 3.14 is.", ("3.14",)),
    ],
)
def test_numbers_that_nobody_measured_are_told(text: str, unmeasured: tuple[str, ...]) -> None:
    assert checked(text, "fig-1").unmeasured == unmeasured


@given(st.text(max_size=300), st.lists(st.text(max_size=10), max_size=5))
def test_no_answer_breaks_the_check(text: str, cites: list[str]) -> None:
    try:
        told = checked(text, *cites)
    except BadAnswerError:
        return
    assert {each.id for each in told.cites} <= {"fig-1", "fig-2", "img-1"}
    assert all(each.isprintable() for each in told.text.replace("\n", ""))


@pytest.mark.parametrize("arguments", ["", "null", "[1]", "{" * 10_000, '{"text": NaN, "cites": []}'])
def test_arguments_that_are_none_are_a_bad_answer(arguments: str) -> None:
    with pytest.raises(BadAnswerError):
        check_answer(arguments, pictures=PICTURES, figures=FIGURES)


def test_the_schema_says_what_the_check_takes() -> None:
    schema = answer_schema()
    assert "$ref" not in json.dumps(schema)
    assert set(schema["properties"]) == set(AnswerReply.model_fields) == set(schema["required"])

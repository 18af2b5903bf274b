"""The agent as a batch in an evaluation: its own order and bank, each answer charged what is its own."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from agent.checkpointer import RedisCheckpointer
from agent.lexical import LexicalProposer
from agent.proposer import Turn, View
from agent.runs import Desk
from agent.runs_store import RunStore
from agent.toolbox import Toolbox
from evals.answer import Answer, Step
from evals.batch_table import batch_costs
from evals.cell import Cell
from evals.conditions import make_condition
from evals.conditions.agent_batch import AgentBatch
from evals.cost_curves import batch_curves
from evals.empty_bank import EmptyBank
from evals.memo import Meter
from evals.report_files import write_report
from evals.subject import Case, Truth
from sae.feature import Feature
from tests.eval_report_data import board, cells, picture
from tests.eval_world import FakeSubject, case_of, words_of_the_world
from tests.naming_world import Workshop
from tools.bank import Bank

FEATURES = (0, 1, 3, 12)


class Counting(LexicalProposer):
    """Counts what it is asked, feature by feature; fails on one."""

    def __init__(self, *, fails_on: int | None = None) -> None:
        super().__init__(words_of_the_world())
        self.order: list[int] = []
        self.fails_on = fails_on

    def plan(self, view: View) -> Turn:
        """As any lexical one."""
        if view.feature.index == self.fails_on:
            raise RuntimeError("no idea")
        if view.feature.index not in self.order:
            self.order.append(view.feature.index)
        return super().plan(view)


class OneWorkshop(FakeSubject):
    """A subject whose cells all draw with the same tools."""

    @cached_property
    def shop(self) -> Workshop:
        """Those tools, and what they did."""
        return Workshop(self.proposer)

    def toolbox(self, run: str) -> Toolbox:
        """Those."""
        return self.shop.toolbox


def subject_on(redis: Any, *, fails_on: int | None = None) -> OneWorkshop:
    desk = Desk(RunStore(redis), RedisCheckpointer(redis))
    return OneWorkshop(kept=desk, proposer=Counting(fails_on=fails_on))


def case(subject: OneWorkshop, index: int, features: Sequence[int] = FEATURES) -> Case:
    chosen = tuple(Feature(dictionary="fake", index=each) for each in features)
    asked = case_of(subject, index, features=chosen)
    tools = replace(asked.toolbox, draw=Meter(asked.toolbox.draw), bank=EmptyBank())
    return asked._replace(toolbox=tools)


def test_it_is_in_the_registry() -> None:
    assert isinstance(make_condition("agent-batch", {"survey": 0}), AgentBatch)
    assert "no survey" in make_condition("agent-batch", {"survey": 0}).title


def test_features_are_named_in_the_batchs_order_whatever_is_asked_first(redis: Any) -> None:
    subject, condition = subject_on(redis), AgentBatch()
    told = {index: condition.answer(case(subject, index)) for index in reversed(FEATURES)}
    proposer = subject.proposer
    assert isinstance(proposer, Counting)
    places = {index: each.named_before for index, each in told.items()}
    assert sorted(places.values(), key=str) == [0, 1, 2, 3]
    assert [places[index] for index in proposer.order] == [0, 1, 2, 3]
    # Another order of asking in another process: the same answers, from the store.
    fresh, other = subject_on(redis), AgentBatch()
    assert {index: other.answer(case(fresh, index)) for index in FEATURES} == {
        index: each.model_copy(update={"run": each.run}) for index, each in told.items()
    }
    assert isinstance(fresh.proposer, Counting) and fresh.proposer.order == []


def test_each_is_charged_its_search_and_its_share_of_the_survey(redis: Any) -> None:
    subject, condition = subject_on(redis), AgentBatch(survey=7)
    told = [condition.answer(case(subject, index)) for index in FEATURES]
    runs = [subject.desk.store.row(each.run) for each in told]
    shares = [
        each.images - row.explanation.images.search
        for each, row in zip(told, runs, strict=True)
        if row is not None and row.explanation is not None
    ]
    assert 4 <= sum(shares) <= 7 and max(shares) - min(shares) <= 1
    for each in told:
        assert each.steps[0].text == "survey" and len(each.asked) <= each.images
        assert each.steps[-1].charged <= each.images
        assert str(each.named_before) in each.steps[0].note
    # All images of the search are somebody's, each of them once.
    drawn = {image for each in told for image in each.asked}
    assert len(drawn) == sum(each.images for each in told)


def test_the_cell_that_happens_to_ask_is_not_charged_for_the_others(redis: Any) -> None:
    subject = subject_on(redis)
    asked = case(subject, FEATURES[-1])
    AgentBatch().answer(asked)
    assert isinstance(asked.toolbox.draw, Meter) and asked.toolbox.draw.images == ()


def test_the_users_bank_is_neither_read_nor_written(redis: Any) -> None:
    subject = subject_on(redis)
    AgentBatch().answer(case(subject, 0))
    assert subject.shop.bank.rows == {}
    tools = subject.shop.toolbox
    users = Bank(redis, score=tools.score.fingerprint, generator=tools.draw.fingerprint, folder="/nowhere")
    assert len(users) == 0


def test_knowing_the_others_makes_a_feature_cheaper(redis: Any) -> None:
    words = (0, 1, 2, 3, 4, 7, 12)
    alone = [AgentBatch(survey=0).answer(case(subject_on(redis), index, (index,))).images for index in words]
    subject, batch = subject_on(redis), AgentBatch(survey=0)
    together = [batch.answer(case(subject, index, words)).images for index in words]
    assert sum(together) < sum(alone)


def test_a_feature_that_fails_fails_its_own_cell_alone(redis: Any) -> None:
    subject, condition = subject_on(redis, fails_on=1), AgentBatch()
    for index in (0, 3, 12):
        assert condition.answer(case(subject, index)).name is not None
    with pytest.raises(RuntimeError, match="no idea"):
        condition.answer(case(subject, 1))


def made(index: int, place: int | None, images: int, *, condition: str = "agent-batch") -> Cell:
    return Cell(
        suite="s",
        condition=condition,
        title=condition,
        feature=Feature(dictionary="fake", index=index),
        group="all",
        truth=Truth(concept="fish", kind="object"),
        answer=Answer(name="fish", verdict="named", images=images, named_before=place),
    )


BATCH = [made(5, 2, 3), made(6, 0, 30), made(7, 1, 12)]
ALONE = [made(at, None, images, condition="agent") for at, images in ((5, 20), (6, 22), (7, 24))]


def test_the_curve_is_the_running_mean_in_the_order_of_naming() -> None:
    (curve,) = batch_curves(BATCH)
    assert [(each.named_before, each.charged, each.mean) for each in curve.points] == [
        (0, 30, 30.0),
        (1, 12, 21.0),
        (2, 3, 15.0),
    ]
    together, alone = batch_curves([*ALONE, *BATCH])
    assert together == curve and alone.condition == "agent"
    assert [(each.named_before, each.charged) for each in alone.points] == [(0, 22), (1, 24), (2, 20)]


def test_the_whole_survey_is_spent_before_the_first_name_and_abstaining_names_nothing() -> None:
    def surveyed(index: int, place: int, own: int, name: str | None) -> Cell:
        cell = made(index, place, own + 10)
        steps = (Step(text="survey", score=None, charged=10), Step(text="fish", score=1.0, charged=10 + own))
        return cell.model_copy(
            update={"answer": cell.answer.model_copy(update={"steps": steps, "name": name})}
        )

    (curve,) = batch_curves([surveyed(1, 0, 6, "fish"), surveyed(2, 1, 90, None), surveyed(3, 2, 8, "cat")])
    assert [each.mean for each in curve.points] == [36.0, 36.0, 22.0]


def test_nothing_is_held_against_the_agent_alone_where_that_was_not_run_on_all() -> None:
    assert len(batch_curves([*ALONE[:2], *BATCH])) == 1
    assert batch_curves(ALONE) == ()


def test_a_batch_that_failed_on_a_feature_has_a_curve_of_the_others() -> None:
    broken = made(8, 3, 99)
    broken = broken.model_copy(update={"answer": Answer(name=None, verdict="failed", named_before=3)})
    (curve,) = batch_curves([*BATCH, broken])
    assert len(curve.points) == 3


def test_the_report_has_the_curve_as_a_table_and_a_plot(tmp_path: Path) -> None:
    whole = board().model_copy(update={"batches": batch_curves([*ALONE, *BATCH])})
    files = write_report(whole, cells(6), tmp_path, picture=picture)
    page = files.html.read_text(encoding="utf-8")
    assert 'id="batch"' in page and "Features named before" in page
    with (tmp_path / "batch_costs.csv").open(encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert len(rows) == 1 + 6 and tmp_path / "batch_costs.csv" in files.tables
    assert len(batch_costs(whole).lines) == 6
    write_report(board(), cells(6), tmp_path / "other", picture=picture)
    assert not (tmp_path / "other" / "batch_costs.csv").exists()
    assert 'id="batch"' not in (tmp_path / "other" / "report.html").read_text(encoding="utf-8")

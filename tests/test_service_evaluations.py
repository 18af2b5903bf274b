"""Evaluations as the service sees them: folders, leaderboards, paired comparisons, orders."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from evals.comparing import MEASURES, compare
from evals.results import Results
from namesae.service.comparisons import comparison_table, shown_rows
from namesae.service.errors import Conflict, NotFound
from namesae.service.evaluation_folders import BOARD_FILE, EvaluationFolders
from namesae.service.evaluations import Evaluations
from namesae.service.orders import EvalOrder
from tests.conftest import RedisServer
from tests.work_world import FEATURES, World, filled, world
from tools.errors import UsageError

ODD = ("..", "../x", "a/b", "", "/etc", "x" * 300, "%2e%2e", "a\x00b", ".hidden")


@pytest.fixture
def place(redis_server: RedisServer, redis: object, tmp_path: Path) -> Iterator[World]:
    with world(redis_server.url, tmp_path / "home") as made:
        yield made


@pytest.fixture
def evals(place: World) -> Evaluations:
    return place.service.evaluations


def test_the_list_says_how_far_each_is(evals: Evaluations) -> None:
    assert evals.list() == ()
    there = filled(evals.folder("one"))
    filled(evals.folder("two"), missing=7)
    evals.folder("bad").mkdir(parents=True)
    (evals.folder("bad") / "run.json").write_text("{")
    told = {each.id: each for each in evals.list()}
    assert set(told) == {"one", "two", "bad"}
    assert (told["one"].state, told["one"].cells, told["one"].expected) == ("ended", len(there), len(there))
    assert (told["two"].state, told["two"].expected - told["two"].cells) == ("running", 7)
    assert told["bad"].state == "failed" and "not JSON" in (told["bad"].error or "")
    assert told["one"].features == FEATURES and "agent" in told["one"].conditions


@pytest.mark.parametrize("name", ODD)
def test_an_id_is_never_a_path(evals: Evaluations, name: str) -> None:
    filled(evals.folder("one"))
    for ask in (evals.status, evals.board, evals.folder, evals.csv, evals.pause):
        with pytest.raises(NotFound):
            ask(name)


def test_a_board_is_read_once_until_a_cell_changes(evals: Evaluations) -> None:
    cells = filled(evals.folder("one"), features=1, missing=3)
    evals.folders.patience = 0.0
    first = evals.board("one")
    assert evals.board("one") is first and first.totals.cells == len(cells)
    changed = next(cell for cell in cells if cell.condition == "agent")
    right = changed.grade.model_copy(update={"labels": not changed.grade.right})
    Results(evals.folder("one")).put(changed.model_copy(update={"grade": right}))
    again = evals.board("one")
    assert again is not first
    assert evals.cell("one", "agent", changed.feature).grade.labels is right.labels


def test_a_board_is_kept_for_the_next_process_while_it_holds(evals: Evaluations) -> None:
    cells = filled(evals.folder("one"), features=1)
    first, root = evals.board("one"), evals.folders.root
    kept = root / "one" / BOARD_FILE
    changed = kept.read_text().replace('"suite":"sandbox-quick"', '"suite":"kept"', 1)
    kept.write_text(changed)
    assert EvaluationFolders(root).board("one") == first.model_copy(update={"suite": "kept"})
    Results(root / "one").put(cells[0])
    assert EvaluationFolders(root).board("one") == first
    kept.write_text("{")
    assert EvaluationFolders(root).board("one") == first


def test_few_evaluations_stay_in_memory(evals: Evaluations) -> None:
    read = {}
    for at in range(6):
        filled(evals.folder(f"e{at}"), features=1)
        read[f"e{at}"] = evals.cells(f"e{at}")
    assert evals.cells("e5") is read["e5"]
    assert len(evals.cells("e0")) == len(read["e0"]) and evals.cells("e0") is not read["e0"]


@pytest.mark.parametrize("metric", sorted(MEASURES))
def test_a_comparison_is_paired_by_feature(evals: Evaluations, metric: str) -> None:
    cells = filled(evals.folder("one"))
    told = evals.comparison("one", "agent", "mils", metric=metric)  # type: ignore[arg-type]
    ours = [cell for cell in cells if cell.condition == "agent"]
    theirs = [cell for cell in cells if cell.condition == "mils"]
    wanted = compare(ours, theirs, measure=metric, seed=0)
    assert told.difference == wanted
    moves = [row.difference for row in told.rows if row.difference is not None]
    assert len(moves) == told.difference.estimate.n == told.better + told.worse + told.equal
    if moves:
        assert sum(moves) / len(moves) == pytest.approx(told.difference.estimate.value)
    assert [row.feature for row in told.rows] == [
        cell.feature for cell in ours if cell.feature in {each.feature for each in theirs}
    ]
    back = evals.comparison("one", "mils", "agent", metric=metric)  # type: ignore[arg-type]
    assert (back.better, back.worse) == (told.worse, told.better)


def test_the_table_is_narrowed_and_its_csv_says_the_same(evals: Evaluations) -> None:
    filled(evals.folder("one"))
    told = evals.comparison("one", "agent", "random")
    assert told.better > 0
    for show in ("all", "differ", "a", "b"):
        table = comparison_table(told, show=show)
        assert len(table.lines) == len(shown_rows(told, show=show))
        rows = list(csv.reader(io.StringIO(evals.comparison_csv("one", "agent", "random", show=show))))
        assert len(rows) == 1 + len(table.lines)
        head = "feature,kind,truth,a,a_result,b,b_result,a_value,b_value,difference"
        assert rows[0] == head.split(",")
        assert not any(cell.startswith(("=", "+", "@")) for row in rows for cell in row)
    with pytest.raises(UsageError, match="no view"):
        comparison_table(told, show="x")


def test_what_cannot_be_compared_is_said(evals: Evaluations) -> None:
    filled(evals.folder("one"))
    with pytest.raises(NotFound, match="no cell of 'nobody'"):
        evals.comparison("one", "agent", "nobody")
    with pytest.raises(UsageError, match="Measure 'x'"):
        evals.comparison("one", "agent", "mils", metric="x")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="another dictionary"):
        evals.comparison("one", "untrained", "agent")
    with pytest.raises(UsageError, match="only accuracy and named"):
        evals.comparison("one", "agent", "untrained", metric="auroc")
    assert all(row.difference is None for row in evals.comparison("one", "agent", "untrained").rows)


def test_the_csv_is_the_leaderboard(evals: Evaluations) -> None:
    filled(evals.folder("one"), features=1)
    rows = list(csv.DictReader(io.StringIO(evals.csv("one"))))
    table = evals.leaderboard("one")
    assert [row["title"] for row in rows] == [line.entries[0].text for line in table.lines]
    assert [row["group"] for row in rows] == ["all"] * len(rows)
    with pytest.raises(NotFound, match="no group"):
        evals.csv("one", group="kind: nothing")


def test_an_order_is_put_before_a_worker(place: World, evals: Evaluations) -> None:
    job = evals.start(EvalOrder(suite="sandbox-quick", conditions=("agent",)), who="ada", key="k")
    assert (job.id, job.state, job.who) == ("sandbox-quick", "queued", "ada")
    assert (
        evals.start(EvalOrder(suite="sandbox-quick", conditions=("agent",)), who="ada", key="k").id == job.id
    )
    told = evals.status("sandbox-quick")
    assert (told.state, told.who, told.cells) == ("queued", "ada", 0)
    assert [each.id for each in evals.list()] == ["sandbox-quick"]
    with pytest.raises(NotFound, match="does not exist"):
        evals.board("sandbox-quick")
    evals.cancel("sandbox-quick")
    assert evals.status("sandbox-quick").state == "cancelled"


def test_an_order_that_cannot_be_carried_out_is_refused(evals: Evaluations) -> None:
    with pytest.raises(UsageError, match="Suite 'nothing'"):
        evals.start(EvalOrder(suite="nothing"), who="ada")
    with pytest.raises(UsageError, match="no condition 'x'"):
        evals.start(EvalOrder(suite="sandbox-quick", conditions=("x",)), who="ada")
    filled(evals.folder("mine"))
    with pytest.raises(Conflict, match="holds results of sandbox-quick"):
        evals.start(EvalOrder(suite="sandbox-full", id="mine"), who="ada")
    assert [each.state for each in evals.list()] == ["ended"]

"""The pages of evaluations: leaderboard, features, cells and paired comparisons."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

import pytest

from evals.figure_text import MINUS, NONE
from evals.scoreboard import Figure
from evals.table import csv_text
from namesae.pages.evals_view import board_view, cell_view, difference_plot, signed
from tests.conftest import RedisServer
from tests.eval_report_data import HOSTILE
from tests.test_trace_html import Elements
from tests.work_world import World, filled, world

FEATURES = 2
COMPARE = "/evals/one/compare?a=agent&b=clip-dissect"


@pytest.fixture(scope="module")
def place(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home = tmp_path_factory.mktemp("home")
    with world(redis_server.url, home) as made:
        folder = made.service.evaluations.folder("one")
        folder.parent.mkdir(parents=True)
        filled(folder, missing=4, features=FEATURES)
        yield made


def page(place: World, path: str) -> Elements:
    answer = place.client.get(path)
    assert answer.status_code == 200, answer.text
    return Elements(answer.text)


def test_the_list_leads_to_every_evaluation(place: World) -> None:
    told = page(place, "/evals")
    assert ("href", "/evals/one") in told.attributes
    assert "Forty <b>features</b>." in told.text and "b" not in told.tags
    assert "sandbox-full" in told.text


def test_an_evaluation_shows_figures_with_intervals_and_every_feature(place: World) -> None:
    told = page(place, "/evals/one")
    for said in (
        "Leaderboard",
        "Controls",
        "Ours less each other",
        "Every feature",
        "of 26 cells",
        "things to know",
    ):
        assert said in told.text, said
    table = place.service.evaluations.leaderboard("one")
    for line in table.lines:
        assert line.entries[0].text in told.text
    links = {value for name, value in told.attributes if name == "href"}
    assert "/evals/one/compare?a=agent&b=mils" in links
    assert sum(value.startswith("/evals/one/cell?") for value in links) >= 20
    assert not {name for name, _ in told.attributes if name.startswith("on") or name == "style"}
    assert place.client.get("/evals/one?flag=odd").status_code == 400
    assert place.client.get("/evals/one?group=odd").status_code == 404


def test_csv_files_are_the_tables_of_the_page(place: World) -> None:
    evaluations = place.service.evaluations
    board = place.client.get("/evals/one/leaderboard.csv")
    assert board.text == evaluations.csv("one") and "attachment" in board.headers["content-disposition"]
    for flag in ("", "differ"):
        view = board_view(evaluations, "one", group="all", flag=flag)
        assert place.client.get(f"/evals/one/features.csv?flag={flag}").text == csv_text(view.features)
        assert len(view.of) == len(view.features.lines)


@pytest.mark.parametrize("show", ["all", "differ", "a", "b"])
def test_the_comparison_on_the_page_is_its_csv(place: World, show: str) -> None:
    told = page(place, f"{COMPARE}&show={show}")
    rows = list(
        csv.DictReader(
            io.StringIO(place.client.get(f"/evals/one/compare.csv?a=agent&b=clip-dissect&show={show}").text)
        )
    )
    for row in rows:
        assert row["feature"] in told.text and row["truth"] in told.text
    assert f"{len(rows)} of {FEATURES} features" in told.text
    assert f"/evals/one/compare.csv?a=agent&b=clip-dissect&metric=accuracy&show={show}" in {
        value for name, value in told.attributes if name == "href"
    }


def test_both_sides_of_a_line_open(place: World) -> None:
    told = page(place, COMPARE)
    assert told.text.count("What it tried") >= 1 and told.text.count("What the name was judged on") >= 1
    links = [value for name, value in told.attributes if name == "href"]
    assert any(value.startswith("/evals/one/cell?condition=clip-dissect&feature=") for value in links)
    assert any(value.startswith("/runs/") for value in links)
    assert "exact McNemar" in told.text
    assert "Wilcoxon" in page(place, f"{COMPARE}&metric=auroc").text


def test_a_cell_says_what_was_said_and_how(place: World) -> None:
    cell = next(
        each for each in place.service.evaluations.cells("one") if each.answer.steps and each.answer.name
    )
    told = page(place, f"/evals/one/cell?condition={cell.condition}&feature=sandbox%23{cell.feature.index}")
    assert cell.title in told.text and "What it tried" in told.text
    view = cell_view(cell)
    assert len(view.steps) + view.left_out == len(cell.answer.steps)
    assert [number for number, _, _ in view.steps] == sorted(number for number, _, _ in view.steps)
    for path in ("condition=x&feature=sandbox%230", "condition=agent&feature=x"):
        assert place.client.get(f"/evals/one/cell?{path}").status_code in (400, 404)


def test_hostile_names_are_text(place: World) -> None:
    named = [
        cell.answer.name for cell in place.service.evaluations.cells("one") if cell.answer.name in HOSTILE
    ]
    assert named
    for path in ("/evals/one", COMPARE, f"{COMPARE}&metric=auroc"):
        told = page(place, path)
        assert not told.tags & {"iframe", "i"} and not {
            name for name, _ in told.attributes if name.startswith("on")
        }
        assert all(
            value.startswith(("/static/", "/images/")) for name, value in told.attributes if name == "src"
        )


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/evals/none", 404),
        ("/evals/..%2Fone", 405),
        ("/evals/one/compare?a=agent&b=none", 404),
        ("/evals/one/compare?a=agent&b=mils&metric=x", 400),
        ("/evals/one/compare?a=agent&b=mils&show=x", 400),
        ("/evals/one/compare?a=untrained&b=agent", 400),
        ("/evals/one/compare", 422),
        ("/evals/one/report.html", 404),
    ],
)
def test_what_cannot_be_shown_is_said(place: World, path: str, status: int) -> None:
    answer = place.client.get(path)
    assert answer.status_code == status and "Traceback" not in answer.text


def test_a_suite_is_started_and_stopped_from_the_pages(place: World) -> None:
    refused = place.client.post("/evals", data={"suite": "<b>"})
    assert refused.status_code == 400 and "<b>" not in refused.text and 'role="alert"' in refused.text
    other = place.client.post("/evals", data={"suite": "sandbox-full", "id": "one"})
    assert other.status_code == 409 and "holds results of sandbox-quick" in other.text
    answer = place.client.post("/evals", data={"suite": "sandbox-quick", "id": "mine"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/evals/mine")
    assert "No cell is filled yet" in place.client.get("/evals/mine").text
    assert place.client.post("/evals/mine/cancel").status_code == 303
    assert place.service.evaluations.status("mine").state == "cancelled"
    assert place.client.post("/evals/mine/dance").status_code == 404


def test_a_difference_is_drawn_and_signed() -> None:
    told = [signed(Figure(value=value)) for value in (0.25, -0.25, 0.0, None)]
    assert told == ["+0.25", f"{MINUS}0.25", "0.00", NONE]
    assert 'class="ci"' in difference_plot(Figure(value=0.1, low=-0.2, high=0.4, n=3))
    assert difference_plot(Figure(value=None)) == ""

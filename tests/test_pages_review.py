"""The pages of the review desk: blind choices, rulings, and what a person is told."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import RedisServer
from tests.test_trace_html import PAYLOADS, Elements
from tests.work_world import World, asked_run, told_run, world


@pytest.fixture
def place(redis_server: RedisServer, redis: object, tmp_path: Path) -> Iterator[World]:
    with world(redis_server.url, tmp_path / "home") as made:
        yield made


def fields(text: str) -> dict[str, str]:
    """The hidden fields of the choice between two names."""
    form = text[text.index("data-choose") :]
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', form))


def test_an_empty_desk_says_what_to_do(place: World) -> None:
    page = Elements(place.client.get("/review?dictionary=fake").text)
    assert "No name waits" in page.text and "was given different names" in page.text
    assert place.client.get("/review?dictionary=none").status_code == 404


def test_a_choice_is_blind_until_it_is_made(place: World) -> None:
    told_run(place.service, text="striped", seed=0)
    told_run(place.service, text="fish", seed=1, proposer="openai:gpt-5-mini")
    page = place.client.get("/review").text
    assert "gpt-5-mini" not in page and "lexical" not in page[page.index("data-choose") :]
    assert {"striped", "fish"} <= set(re.findall(r"<span>(\w+)</span></button>", page))
    answer = place.client.post("/review/vote", data={**fields(page), "choice": "b", "note": "clear"})
    assert answer.status_code == 303
    after = place.client.get(answer.headers["location"].partition("#")[0]).text
    assert "You chose" in after and "gpt-5-mini" in after and "You have looked at every pair" in after
    (vote,) = place.service.reviews.votes("fake#0")
    assert (vote.who, vote.choice, vote.note) == ("local", "b", "clear")
    rows = list(csv.DictReader(io.StringIO(place.client.get("/review/votes.csv?dictionary=fake").text)))
    assert [row["chosen"] for row in rows] == [vote.chosen]


@pytest.mark.parametrize(
    ("changed", "status"),
    [({"choice": "x"}, 400), ({"choice": "a", "b": "zebra"}, 404), ({"choice": "a", "feature": "x"}, 400)],
)
def test_a_vote_that_makes_no_sense_is_refused(place: World, changed: dict[str, str], status: int) -> None:
    told_run(place.service, text="striped", seed=0)
    told_run(place.service, text="fish", seed=1)
    page = place.client.get("/review?dictionary=fake").text
    answer = place.client.post("/review/vote", data={**fields(page), **changed})
    assert answer.status_code == status and "alert" in answer.text
    assert place.service.reviews.votes("fake#0") == ()


def test_a_name_that_waits_is_shown_with_what_a_ruling_needs(place: World) -> None:
    run = asked_run(place.service)
    assert f'href="/review/{run}"' in place.client.get("/review").text
    page = Elements(place.client.get(f"/review/{run}").text)
    for said in (
        "striped",
        "Accept it",
        "Edit and retest",
        "Reject it",
        "3 retests left",
        "Random-name floor",
    ):
        assert said in page.text, said
    sources = [value for name, value in page.attributes if name == "src" and value.startswith("/images/")]
    assert len(sources) == 6
    assert place.client.get("/review/nothing").status_code == 404


def test_a_ruling_is_written_down_once(place: World) -> None:
    run = asked_run(place.service)
    answer = place.client.post(f"/review/{run}", data={"action": "reject", "why": "it is a car"})
    assert (answer.status_code, answer.headers["location"]) == (303, f"/runs/{run}")
    row = place.service.state.runs.row(run)
    assert row is not None and row.ruling is not None
    assert (row.ruling.action, row.ruling.why) == ("reject", "it is a car")
    again = place.client.post(f"/review/{run}", data={"action": "accept"})
    assert again.status_code == 409
    assert "chose to reject" in Elements(place.client.get(f"/review/{run}").text).text
    assert place.service.reviews.waiting() == ()


def test_a_ruling_that_is_none_is_refused_and_what_was_typed_stays(place: World) -> None:
    run = asked_run(place.service)
    answer = place.client.post(f"/review/{run}", data={"action": "retest", "name": "", "why": "typed"})
    assert (
        answer.status_code in (400, 409) and 'role="alert"' in answer.text and 'value="typed"' in answer.text
    )
    assert place.client.post(f"/review/{run}", data={"action": "burn"}).status_code == 400
    assert len(place.service.reviews.waiting()) == 1


def test_nothing_that_was_written_is_markup(place: World) -> None:
    paths = ["/review?dictionary=fake"]
    for at, payload in enumerate(PAYLOADS):
        told_run(place.service, text=payload, seed=at)
        paths.append(f"/review/{asked_run(place.service, text=payload, index=at)}")
    first, second, *_ = (each.name for each in place.service.reviews.names("fake#0"))
    place.service.reviews.vote("fake#0", who="local", choice="a", left=first, right=second)
    for path in (*paths, "/review?dictionary=fake&voted=fake%230"):
        page = Elements(place.client.get(path).text)
        assert not {name for name, _ in page.attributes if name.startswith("on")}, path
        assert not page.tags & {"iframe", "object", "embed"}
        links = [value for name, value in page.attributes if name in ("href", "action", "src")]
        assert not any(value.startswith("javascript:") for value in links)

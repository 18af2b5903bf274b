"""The pages of runs and batches: everything that is known is there, escaped, and forms do what they say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.events import Event, Happening, Judged, Planned, Raced, Scored, Started, Streamed
from agent.hypotheses import Hypothesis
from agent.records import Proposal
from namesae.batch_records import BatchRow
from namesae.batch_store import BatchStore
from namesae.pages.batch_page import shared
from namesae.pages.run_graph import NODES, REVIEWED, Node, graph_svg, graph_words
from namesae.pages.run_progress import live_node, nodes_of, spends_of
from namesae.pages.run_view import rounds_of, run_view
from namesae.service.job_records import RunStatus
from tests.conftest import RedisServer
from tests.recorded_runs import SCORE, recorded_trace
from tests.test_trace_html import PAYLOADS, Elements
from tests.work_world import World, asked_run, told_run, world
from tools.fakes import MemoryImageStore

STATUS = RunStatus(run="r", feature="fake#0", state="running", proposer="lexical", seed=0, started=0.0)


@pytest.fixture
def place(redis_server: RedisServer, redis: object, tmp_path: Path) -> Iterator[World]:
    with world(redis_server.url, tmp_path / "home") as made:
        yield made


def event(what: Happening, node: str = "x", *, at: float = 0.0, number: int = 0) -> Event:
    return Event(run="r", at=at, node=node, round=number, what=what)


def test_the_live_node_follows_from_the_last_event() -> None:
    proposal = Proposal(prompt="a", intent="vary")
    began = event(Started(feature="f", proposer="lexical", resumed=False, images=9))
    steps: list[tuple[Happening, str]] = [
        (Planned(plan="draw", granted=(proposal,)), "draw"),
        (Scored(trials=(), search=2), "propose"),
        (Streamed(text="I"), "propose"),
        (Planned(plan="draw"), "propose"),
        (Planned(plan="conclude", names=("a",)), "race"),
        (Raced(rivals=(), winner="a", decided=True, search=4), "judge"),
        (Judged(name="a", sealed=SCORE, floor=None), "record"),
    ]
    assert live_node([]) == live_node([began]) == "observe"
    told = [began]
    for what, wanted in steps:
        told.append(event(what))
        assert live_node(told) == wanted, what.kind


def test_nodes_are_live_while_it_runs_and_wait_while_it_does_not() -> None:
    events = [event(Planned(plan="draw", granted=(Proposal(prompt="a", intent="vary"),)), at=3.0)]
    standings = {
        state: {
            node.name: node.standing
            for node in nodes_of(STATUS.model_copy(update={"state": state}), events, reviewed=False)
        }
        for state in ("running", "paused", "waiting", "ended", "queued")
    }
    assert standings["running"]["draw"] == "live" and standings["running"]["propose"] == "done"
    assert standings["paused"]["draw"] == "wait"
    assert standings["waiting"]["review"] == "wait" and "review" not in standings["ended"]
    assert not {"live", "wait"} & set(standings["ended"].values())
    assert not {"live", "wait"} & set(standings["queued"].values())


def test_what_each_node_used_adds_up() -> None:
    trace = recorded_trace(MemoryImageStore())
    spends = {each.node: each for each in spends_of(trace.events)}
    assert list(spends) == ["observe", "propose", "draw, score", "conclude, race", "judge", "record"]
    assert (spends["propose"].calls, spends["propose"].read, spends["propose"].usd) == (1, 10, 0.001)
    assert (spends["draw, score"].images, spends["conclude, race"].images, spends["judge"].images) == (
        3,
        21,
        50,
    )
    assert sum(each.seconds for each in spends.values()) == pytest.approx(8.0)
    assert sum(each.share for each in spends.values()) == pytest.approx(1.0)


@pytest.mark.parametrize("names", [NODES, REVIEWED])
@pytest.mark.parametrize("narrow", [False, True])
def test_the_graph_holds_every_node_and_says_where_it_is(names: tuple[str, ...], narrow: bool) -> None:
    nodes = [Node(name, "live" if name == "draw" else "done", 2, "now") for name in names]
    drawn = str(graph_svg(nodes, narrow=narrow))
    assert drawn.count('class="node') == len(names) and drawn.count('class="ring"') == 1
    assert all(f">{name}</text>" in drawn for name in names)
    assert "Now: draw." in drawn and "style=" not in drawn
    assert graph_words([Node("observe", "idle")]) == "Nothing is done yet."


def test_a_round_says_what_its_images_changed() -> None:
    def plan(number: int, *claims: Hypothesis) -> Event:
        proposal = Proposal(prompt=f"p{number}", intent="vary")
        return event(Planned(plan="draw", granted=(proposal,), hypotheses=claims), number=number)

    before, after = Hypothesis(claim="car", weight=0.6), Hypothesis(claim="car", weight=0.1)
    events = [plan(0, before), event(Scored(trials=(), search=2), number=1), plan(1, after)]
    events += [
        event(Scored(trials=(), search=4), number=2),
        plan(2, Hypothesis(claim="tree", state="supported")),
    ]
    first, second, third = rounds_of(events, threshold=1.0)
    assert first.change == "“car” goes from open, weight 0.60 to open, weight 0.10."
    assert second.change == "“tree” (supported) takes the lead from “car”."
    assert third.change == "" and [row.drawing for row in third.rows] == [True]
    assert third.rows[0].prompt == "p2" and first.rows == ()


def test_a_reply_that_is_not_whole_is_shown_as_it_comes() -> None:
    events = [event(Streamed(text="I se")), event(Streamed(text="e a"))]
    view = run_view(STATUS, events, told=None, reviewed=False, now=9.0)
    assert view.writing == "I see a" and view.live and view.seconds == 9.0
    done = run_view(
        STATUS, [*events, event(Streamed(text="", done=True))], told=None, reviewed=False, now=9.0
    )
    assert done.writing == ""


def test_the_page_of_a_run_holds_what_is_known_of_it(place: World) -> None:
    run = told_run(place.service).run
    answer = place.client.get(f"/runs/{run}")
    page = Elements(answer.text)
    assert answer.status_code == 200
    for said in (
        *(
            "striped",
            "named",
            "0.91",
            "[0.87, 0.94]",
            "Round 2",
            "Round 1",
            "zebra",
            "Not drawn",
            "Sealed judge",
        ),
        *(
            "Race",
            "Used by node",
            "LLM messages",
            "Events",
            "sealed judge: striped",
            "random-name floor 0.50",
        ),
    ):
        assert said in page.text, said
    sources = [value for name, value in page.attributes if name == "src" and value.startswith("/images/")]
    assert len(sources) == 7
    assert "'unsafe-inline'" not in answer.headers["content-security-policy"]
    assert not {name for name, _ in page.attributes if name.startswith("on") or name == "style"}


def test_the_live_part_is_sent_once(place: World) -> None:
    run = told_run(place.service).run
    first = place.client.get(f"/runs/{run}/live")
    assert first.status_code == 200 and "<html" not in first.text and 'data-state="ended"' in first.text
    again = place.client.get(f"/runs/{run}/live", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_nothing_that_was_written_into_a_run_is_markup(place: World) -> None:
    paths = ["/runs"]
    for at, payload in enumerate(PAYLOADS):
        run = told_run(place.service, text=payload, seed=at).run
        waits = asked_run(place.service, text=payload, index=at)
        paths += [f"/runs/{run}", f"/runs/{run}/live", f"/runs/{run}/calls/0", f"/runs/{waits}"]
    for path in paths:
        page = Elements(place.client.get(path).text)
        assert not {name for name, _ in page.attributes if name.startswith("on")}, path
        assert not page.tags & {"iframe", "object", "embed"}
        scripts = [value for name, value in page.attributes if name == "src"]
        assert all(value.startswith(("/static/", "/images/")) for value in scripts), path
        links = [value for name, value in page.attributes if name in ("href", "action")]
        assert not any(value.startswith("javascript:") for value in links)


def test_messages_open_by_themselves_and_as_a_part(place: World) -> None:
    run = told_run(place.service).run
    whole, part = (place.client.get(f"/runs/{run}/calls/0{query}").text for query in ("", "?part=1"))
    assert "<html" in whole and "<html" not in part
    assert "<h3>system</h3>" in part and "<h3>reply</h3>" in part
    assert place.client.get(f"/runs/{run}/calls/9").status_code == 404


def test_a_run_is_copied_as_text_and_kept_as_a_page(place: World) -> None:
    run = told_run(place.service).run
    markdown, told = (place.client.get(f"/runs/{run}/trace.{kind}") for kind in ("md", "json"))
    assert markdown.headers["content-type"].startswith("text/markdown") and "striped" in markdown.text
    assert told.json()["run"] == run and told.json()["explanation"]["name"] == "striped"
    kept = place.client.get(f"/runs/{run}/trace.html")
    assert kept.headers["content-disposition"] == f'attachment; filename="{run}.html"'
    assert "<style>" in kept.text and 'src="http' not in kept.text


def test_what_is_not_there_is_said_on_a_page(place: World) -> None:
    assert place.client.get("/runs/nothing").status_code == 404
    assert place.client.get("/runs?state=odd").status_code == 400
    run = told_run(place.service).run
    assert place.client.post(f"/runs/{run}/explode").status_code == 404
    late = place.client.post(f"/runs/{run}/pause")
    assert late.status_code == 409 and "Not as things stand" in late.text


def test_a_feature_is_named_from_the_list(place: World) -> None:
    form = {"dictionary": "fake", "index": "3", "max_images": "20", "seed": "4", "key": "k"}
    answer = place.client.post("/runs", data=form)
    assert answer.status_code == 303
    status = place.service.runs.status(answer.headers["location"].removeprefix("/runs/"))
    assert (status.feature, status.state, status.seed, status.limit_images) == ("fake#3", "queued", 4, 20)
    assert place.client.post("/runs", data=form).headers["location"] == answer.headers["location"]
    page = place.client.get("/runs?state=queued").text
    assert "fake#3" in page and 'data-live="/runs?state=queued"' in page
    assert place.client.post(f"{answer.headers['location']}/cancel").status_code == 303
    assert "cancelled" in place.client.get(answer.headers["location"]).text


@pytest.mark.parametrize(("index", "said"), [("<b>", "&lt;b&gt;"), ("9999999", "fake"), ("", "wrong")])
def test_a_form_that_is_refused_says_why_and_keeps_what_was_typed(
    place: World, index: str, said: str
) -> None:
    answer = place.client.post("/runs", data={"dictionary": "fake", "index": index, "seed": "17"})
    assert answer.status_code in (400, 404) and 'role="alert"' in answer.text
    assert said in answer.text and 'value="17"' in answer.text and "<b>" not in answer.text


def test_a_batch_shows_its_progress_and_the_names_it_gave_twice(place: World) -> None:
    answer = place.client.post("/batches", data={"selection": "fake#0-2", "max_images": "20"})
    assert answer.status_code == 303
    place_of = answer.headers["location"]
    store = BatchStore(place.service.state.client, place_of.removeprefix("/batches/"))
    for index, name in ((0, "fish"), (1, "Fish"), (2, None)):
        row = BatchRow(
            index=index, run=f"r{index}", name=name, verdict="named" if name else "unexplained", search=8,
            sealed=10, usd=0.0, seconds=1.5,
        )  # fmt: skip
        store.done(row)
    page = Elements(place.client.get(place_of).text)
    assert "3 of 3" in page.text and "Names that several features share" in page.text
    assert "queued" in page.text
    live = place.client.get(f"{place_of}/live")
    assert live.status_code == 200 and "<html" not in live.text
    assert place.client.post(f"{place_of}/cancel").status_code == 303
    assert place.client.post(f"{place_of}/fly").status_code == 404
    assert "fake#0-2" in place.client.get("/batches").text
    refused = place.client.post("/batches", data={"selection": "<i>nothing", "seed": "5"})
    assert refused.status_code in (400, 404) and "<i>" not in refused.text and 'value="5"' in refused.text


def test_names_that_differ_in_case_are_shared_and_weak_ones_are_not() -> None:
    def row(index: int, name: str | None, verdict: str) -> BatchRow:
        told = {"index": index, "run": "r", "name": name, "verdict": verdict, "search": 0}
        return BatchRow.model_validate({**told, "sealed": 0, "usd": None, "seconds": 0.0})

    rows = (
        row(0, "fish", "named"),
        row(1, "Fish ", "polysemantic"),
        row(2, "fish", "weak"),
        row(3, None, "dead"),
    )
    assert [(each.name, each.features) for each in shared(rows)] == [("fish", (0, 1))]

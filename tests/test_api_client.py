"""The client against a real service: a feature is named, watched, found, exported; failures are sentences."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent.events import Planned
from namesae.client import BatchOrder, Client, EvalOrder, NameOrder
from namesae.service.api_records import ForkRequest, RulingRequest, VoteRequest
from namesae.service.errors import Conflict, NotAllowed, NotFound, QueueFull
from namesae.service.feature_query import FeatureQuery
from namesae.stopping import Stop
from namesae.worker import run_worker
from tests.api_service import Place, served, settings_at
from tools import redis_client
from tools.errors import DependencyError, UsageError


@pytest.fixture(scope="module")
def place(redis_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A service of this module's own, with a worker in a thread."""
    client = redis_client.connect(redis_server.url, redis_server.data_dir)
    client.flushdb()
    settings, stop = settings_at(redis_server.url, tmp_path_factory.mktemp("home")), Stop()
    worker = threading.Thread(target=run_worker, args=(settings,), kwargs={"stop": stop}, daemon=True)
    with served(settings) as place:
        worker.start()
        yield place
        stop.number = 15
        worker.join(20)
    client.flushdb()
    client.close()


@pytest.fixture
def client(place: Place) -> Iterator[Client]:
    with Client(place.url) as client:
        yield client


def test_a_feature_is_named_watched_found_and_exported(client: Client, tmp_path: Path) -> None:
    started = client.runs.start(NameOrder(feature="fake#0", max_images=40), key="once")
    assert started.state in ("queued", "running") and not started.stored
    assert client.runs.start(NameOrder(feature="fake#0", max_images=40), key="once").run == started.run
    events = list(client.runs.follow(started.run))
    kinds = [each.event.what.kind for each in events]
    assert kinds[0] == "started" and kinds[-1] == "ended" and "judged" in kinds
    ended = client.runs.status(started.run)
    assert (ended.state, ended.verdict, ended.name) == ("ended", "named", "striped")
    assert client.runs.list(feature="fake#0").runs[0].run == started.run
    assert client.runs.log(started.run, limit=3).events == tuple(events[:3])
    assert [each.run for each in client.runs.list(state="ended").runs] == [started.run]

    again = client.runs.start(NameOrder(feature="fake#0", max_images=40))
    assert again.stored and again.run == started.run
    trace = client.runs.trace(started.run)
    assert trace.explanation is not None and trace.explanation.name == "striped"
    assert any(isinstance(event.what, Planned) for event in trace.events)
    assert "striped" in client.runs.markdown(started.run)
    assert client.runs.html(started.run).startswith("<!doctype html>")

    detail = client.features.feature("fake", 0)
    assert detail.explanation is not None and detail.row.answer is not None
    assert detail.row.answer.name == "striped"
    page = client.features.rows("fake", FeatureQuery(verdict=("named",), which="named", text="strip"))
    assert [row.index for row in page.rows] == [0] and page.total == 1 and page.next is None
    assert [hit.row.index for hit in client.features.search("stripe")] == [0]
    assert client.features.history("fake", 0)[0].run == started.run
    icon = detail.row.answer.icon
    assert icon is not None
    assert client.features.image(icon).startswith(b"\x89PNG")
    assert client.features.image(icon, 64)[8:12] == b"WEBP"
    exported = client.features.export("fake", "csv", out=tmp_path / "fake.csv").read_text()
    assert "striped" in exported and exported.count("\n") >= 2
    assert client.features.export("fake", "jsonl", out=tmp_path / "fake.jsonl").read_text().count("\n") == 1
    assert client.features.dictionary("fake").answered == 1


def test_a_run_forks_and_a_review_decides(client: Client) -> None:
    run = client.runs.start(NameOrder(feature="fake#3", max_images=40, review=True))
    for told in client.runs.follow(run.run):
        if told.event.what.kind == "judged":
            break
    asked = wait_for_question(client, run.run)
    assert asked.name and client.reviews.asking(run.run).ruling is None
    client.runs.rule(run.run, RulingRequest(action="accept", why="It is."))
    assert client.runs.wait(run.run).state == "ended"
    assert client.reviews.waiting() == ()
    with pytest.raises(Conflict):
        client.runs.rule(run.run, RulingRequest(action="reject"))
    forked = client.runs.fork(run.run, ForkRequest(step=2, seed=7, review=False))
    assert client.runs.wait(forked.run).forked_from == run.run


def wait_for_question(client: Client, run: str) -> Any:
    import time

    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        mine = [each for each in client.reviews.waiting() if each.run == run]
        if mine:
            return mine[0]
        time.sleep(0.1)
    raise AssertionError("Nobody was asked.")


def test_a_batch_is_carried_out(client: Client) -> None:
    batch = client.batches.start(BatchOrder(selection="fake#4-6", survey=0, max_images=40), key="b")
    again = client.batches.start(BatchOrder(selection="fake#4-6", survey=0, max_images=40), key="b")
    assert again.id == batch.id
    done = wait_for_batch(client, batch.id)
    assert (done.state, done.asked, done.done) == ("ended", 3, 3)
    assert [row.index for row in client.batches.rows(batch.id).rows] == [4, 5, 6]
    first = client.batches.rows(batch.id, limit=2)
    assert (len(first.rows), first.next) == (2, 5)
    assert [each.id for each in client.batches.list()] == [batch.id]
    with pytest.raises(Conflict):
        client.batches.cancel(batch.id)


def wait_for_batch(client: Client, batch: str) -> Any:
    import time

    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = client.batches.get(batch)
        if found.state not in ("queued", "running"):
            return found
        time.sleep(0.2)
    raise AssertionError("The batch goes on for ever.")


def test_what_is_not_there_is_said_in_a_sentence(client: Client) -> None:
    with pytest.raises(NotFound, match="nosuch"):
        client.features.dictionary("nosuch")
    with pytest.raises(NotFound, match="Run"):
        client.runs.status("fake-9-abc-0")
    with pytest.raises(NotFound):
        client.features.feature("fake", 999_999)
    with pytest.raises(NotFound):
        client.runs.start(NameOrder(feature="nosuch#1"))
    with pytest.raises(NotFound):
        client.batches.get("nosuch")
    with pytest.raises(NotFound):
        client.evals.get("nosuch")
    with pytest.raises(NotFound):
        client.features.image("0" * 64)
    with pytest.raises((NotFound, UsageError)):
        client.evals.start(EvalOrder(suite="nosuch"))
    with pytest.raises(UsageError):
        client.features.top_features(b"no picture", dictionary="fake")
    with pytest.raises((NotFound, UsageError)):
        client.reviews.vote(VoteRequest(feature="fake#0", left="a", right="b", choice="a"))
    with pytest.raises(DependencyError, match="could not be reached"):
        Client("http://127.0.0.1:9").health()


def test_one_key_is_one_order(place: Place, client: Client) -> None:
    order = NameOrder(feature="fake#1", seed=5, max_images=40)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: client.runs.start(order, key="many").run, range(40)))
    assert len(set(found)) == 1
    with pytest.raises(Conflict):
        client.runs.start(order.model_copy(update={"seed": 6}), key="many")
    with pytest.raises(UsageError):
        client.runs.start(order, key="k" * 201)
    assert len([each for each in client.runs.list(feature="fake#1").runs if each.seed == 5]) == 1


def test_pages_of_runs_follow_each_other(client: Client) -> None:
    everything = client.runs.list(limit=200).runs
    found, cursor = list(client.runs.list(limit=2).runs), client.runs.list(limit=2).next
    while cursor is not None:
        page = client.runs.list(limit=2, cursor=cursor)
        found, cursor = [*found, *page.runs], page.next
    assert [each.run for each in found] == [each.run for each in everything] and len(found) >= 4


def test_images_are_kept_by_their_etag(place: Place, client: Client) -> None:
    row = client.features.feature("fake", 0).row
    assert row.answer is not None
    for query in ("", "?side=96"):
        url = f"{place.url}/images/{row.answer.icon}{query}"
        first = httpx.get(url, trust_env=False)
        assert "immutable" in first.headers["cache-control"] and len(first.content) > 50
        known = {"If-None-Match": first.headers["etag"]}
        second = httpx.get(url, headers=known, trust_env=False)
        assert (second.status_code, second.content) == (304, b"")
        assert httpx.get(url, headers={"If-None-Match": '"x"'}, trust_env=False).status_code == 200


def test_figures_for_prometheus(client: Client) -> None:
    text = client.metrics()
    assert 'namesae_requests_total{method="POST",route="/api/v1/runs",status="202"}' in text
    assert 'namesae_request_seconds_bucket{route="/api/v1/runs",le="+Inf"}' in text
    assert "namesae_queue_jobs " in text and 'namesae_runs{state="ended"}' in text
    assert "namesae_watchers 0" in text
    for line in text.splitlines():
        assert line.startswith("#") or float(line.rpartition(" ")[2]) >= 0


def test_tokens_over_the_network(client: Client, place: Place) -> None:
    made = client.issue_token("reader", "read", days=1)
    try:
        with Client(place.url, made.secret) as reader:
            assert reader.me().scope == "read"
            with pytest.raises(NotAllowed, match="scope read"):
                reader.runs.start(NameOrder(feature="fake#0"))
            with pytest.raises(NotAllowed):
                reader.tokens()
        with pytest.raises(NotAllowed):
            client.me()
    finally:
        place.service.tokens.revoke("reader")
    assert client.me().name == "local"


def test_a_full_queue_says_when_to_come_back(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place.service.runs.jobs, "most_waiting", 0)
    with Client(place.url) as client, pytest.raises(QueueFull) as full:
        client.runs.start(NameOrder(feature="fake#2", seed=99))
    assert full.value.retry_after_s > 0 and "try again" in str(full.value)

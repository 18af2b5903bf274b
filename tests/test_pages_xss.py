"""120 payloads in everything that anyone may write, in a real browser: no script runs, nothing is sent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from agent.hypothesis import Hypothesis
from agent.records import Proposal, Review
from namesae.service.service import Service
from tests.pages_app import CHROMIUM, fake_service, file_run
from tests.watched_page import FOUND, Watched, watching
from tests.xss_payloads import PAYLOADS

FEATURES, AT_ONCE = 13, 12
LISTS = (
    "/d/fake?sort=index&descending=false",
    "/search?q=owned",
    "/",
    "/d/fake/0/near",
    "/d/fake/0/histogram",
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM, reason="needs chromium (apt install chromium)"),
]


@pytest.fixture(scope="module")
def service(redis_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("home")
    _bad_dictionaries(home / "dictionaries")
    with fake_service(redis_server.url, home) as made:
        yield made


@pytest.fixture(scope="module")
def watched(service: Service) -> Iterator[Watched]:
    with watching(service) as page:
        yield page


def test_every_sink_of_a_feature_is_inert(watched: Watched, service: Service) -> None:
    for number, start in enumerate(range(0, len(PAYLOADS), AT_ONCE)):
        payloads = PAYLOADS[start : start + AT_ONCE]
        _file(service, payloads, number)
        watched.open(f"/d/fake/{number}")
        assert watched.page.locator(".step").count() == 2 * AT_ONCE, "each payload is there, as text"
        assert watched.faults == [], payloads
    for path in LISTS:
        watched.open(path)
        assert watched.faults == [], path


def test_names_are_inert_in_every_list(watched: Watched, service: Service) -> None:
    for start in range(0, len(PAYLOADS), FEATURES):
        for index, payload in enumerate(PAYLOADS[start : start + FEATURES]):
            file_run(service.state, service.settings, text=payload, index=index)
        for path in ("/d/fake/rows?sort=index&descending=false", "/search?q=owned", "/d/fake/0/near"):
            watched.insert(path)
        assert watched.faults == [], PAYLOADS[start : start + FEATURES]
    watched.open("/d/fake")
    watched.open("/d/fake/0")
    assert watched.faults == []


def test_every_sink_of_a_request_is_inert(watched: Watched) -> None:
    watched.open("/search")
    for number, payload in enumerate(PAYLOADS):
        text = quote(payload, safe="")
        for path in (f"/search?q={text}", f"/d/fake?text={text}", f"/d/{text}", f"/d/fake?sort={text}"):
            watched.insert(path)
        assert watched.faults == [], payload
        if number % 15 == 0:
            for path in (
                f"/search?q={text}",
                f"/d/fake?text={text}",
                f"/login?failed=1&next={text}",
                f"/d/{text}",
            ):
                watched.open(path)
            watched.open("/search")
            assert watched.faults == [], payload


@pytest.mark.parametrize("payload", PAYLOADS[:10])
def test_a_page_that_did_not_escape_would_be_caught(watched: Watched, payload: str) -> None:
    watched.open("/login")
    raw = "(text) => { document.querySelector('main').innerHTML = `<p title=\"${text}\">${text}</p>`; }"
    watched.page.evaluate(raw, payload)
    assert watched.page.evaluate(FOUND) != []
    watched.faults.clear()


def test_forms_that_are_refused_say_so_inertly(watched: Watched) -> None:
    watched.open("/d/fake/1")
    for payload in PAYLOADS:
        form = {"question": payload, "seed": payload, "max_images": "40"}
        assert watched.insert("/d/fake/1/ask", form) == 200
        assert watched.insert("/d/fake/1/name", form) == 400
        assert watched.faults == [], payload


def _file(service: Service, payloads: Sequence[str], index: int) -> None:
    """A run with the payloads as name, parts, prompts, rationales, claims, faults, rivals, tags, words,
    codes, proposer, person and reason: each by itself where there are several, else one after another."""
    joined = " ".join(payloads)
    told = file_run(service.state, service.settings, text=joined, index=index)
    evidence = told.evidence
    assert evidence is not None
    drawn, undrawn = evidence.trials
    trials = [
        trial.model_copy(
            update={
                "proposal": Proposal(prompt=each, intent="vary", rationale=each, claim=each, expects="rests"),
                "fault": None if trial is drawn else each,
            }
        )
        for each in payloads
        for trial in (drawn, undrawn)
    ]
    pairs = tuple((each, 0.3) for each in payloads)
    facts = evidence.facts.model_copy(update={"vocabulary": pairs[:8], "tags": pairs[-8:]})
    claims = tuple(Hypothesis(claim=each) for each in payloads)
    known = evidence.model_copy(update={"trials": tuple(trials), "facts": facts, "hypotheses": claims})
    review = Review(
        decision="accepted", name=joined, verdict="named", who=joined, at="2026-11-21", why=joined
    )
    rivals = tuple(told.rivals[0].model_copy(update={"name": each}) for each in payloads)
    changes: dict[str, Any] = {"evidence": known, "review": review, "proposer": joined, "code": joined}
    changes |= {"rivals": rivals, "parts": tuple(payloads)}
    file_run(service.state, service.settings, text=joined, index=index, **changes)


def _bad_dictionaries(folder: Path) -> None:
    """Damaged dictionaries whose titles are payloads, as far as a file system takes them."""
    for payload in PAYLOADS:
        if "/" in payload or "\x00" in payload or len(payload.encode()) > 200:
            continue
        (folder / payload).mkdir(parents=True)
        (folder / payload / "dictionary.json").write_text('{"schema": 1}')

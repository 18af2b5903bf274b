"""The page of a feature: what it says of an explanation, what can be asked of it, and how long it takes."""

from __future__ import annotations

import io
import math
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from agent.records import Explanation, Proposal, Review, Rival, Trial
from namesae.pages.activation_plot import BINS, NARROW, Sample, activation_plot
from namesae.pages.feature_view import feature_view
from namesae.pages.search_steps import search_steps, step_plot
from namesae.service.service import Service
from tests.pages_app import fake_service, file_run, name_some, pages_app
from tests.recorded_runs import recorded_trace
from tools.fakes import MemoryImageStore
from tools.protocols import Interval

FRAGMENT = {"HX-Request": "true"}
FIRES, SHA = 5.0, "a" * 64
MOST_CPU_S = 0.010
"""That a page may take on average; this machine is shared, so the test takes the best of several."""


@pytest.fixture
def service(redis_server: Any, tmp_path: Path) -> Iterator[Service]:
    with fake_service(redis_server.url, tmp_path / "home") as made:
        yield made


@pytest.fixture
def client(service: Service) -> TestClient:
    return TestClient(pages_app(service), follow_redirects=False)


@pytest.fixture
def told() -> Explanation:
    found = recorded_trace(MemoryImageStore()).explanation
    assert found is not None
    return found


def _trial(prompt: str, *activations: float | None, **proposal: Any) -> Trial:
    asked = Proposal(prompt=prompt, **{"intent": "vary", **proposal})
    images = tuple(None if value is None else SHA for value in activations)
    return Trial(proposal=asked, images=images, seeds=tuple(range(len(images))), activations=activations)


def test_the_page_holds_everything_that_is_known(client: TestClient, service: Service) -> None:
    file_run(service.state, service.settings, text="striped", index=0)
    page = client.get("/d/fake/0").text
    for said in (
        *("striped", "0.91 [0.87, 0.94]", "ceiling 0.92", "n = 50 drawn, 1,000 control", "88 % [80, 93]"),
        *("9 % [7, 11]", "optimism gap +0.020", "2.40", "undefined", "zebra", "Not drawn: striped"),
        *("Names that raced", "No usable image was drawn for it.", "$0.0123", "2 calls", "20 %"),
        *("Runs", "21 Nov 2026, 10:00"),
    ):
        assert said in page, said
    assert "this dictionary is planted" in page and "data-late" not in page


def test_a_feature_that_nobody_named_says_how(client: TestClient) -> None:
    page = client.get("/d/fake/5").text
    assert "Not named yet" in page and "namesae name 'fake#5'" in page and 'action="/d/fake/5/name"' in page
    assert 'rel="prev"' in page and 'rel="next"' in page
    assert 'rel="prev"' not in client.get("/d/fake/0").text


def test_a_failed_run_hides_no_name(client: TestClient, service: Service) -> None:
    file_run(service.state, service.settings, text="striped", index=0)
    file_run(
        service.state,
        service.settings,
        text="gone",
        index=0,
        verdict="failed",
        code="llm_unreachable",
        name=None,
        sealed=None,
        evidence=None,
        rivals=(),
        parts=(),
    )
    page = client.get("/d/fake/0").text
    assert "<h1>striped</h1>" in page and "llm_unreachable" in page


def test_a_feature_whose_only_run_failed_shows_why(client: TestClient, service: Service) -> None:
    bare: dict[str, Any] = {"name": None, "sealed": None, "evidence": None, "rivals": (), "parts": ()}
    file_run(service.state, service.settings, text="x", index=2, verdict="failed", code="bad_output", **bare)
    page = client.get("/d/fake/2")
    assert page.status_code == 200 and "bad_output" in page.text and "No name" in page.text


def test_a_persons_ruling_is_shown(client: TestClient, service: Service) -> None:
    review = Review(
        decision="rejected", name="fish", verdict="named", who="ada", at="2026-11-21", why="no fin"
    )
    file_run(service.state, service.settings, text="striped", index=0, review=review)
    page = client.get("/d/fake/0").text
    assert "ada rejected" in page and "no fin" in page


@pytest.mark.slow
def test_a_name_that_was_really_found(client: TestClient, service: Service) -> None:
    name_some(service, (1,))
    page = client.get("/d/fake/1").text
    row = service.features.row("fake", 1).answer
    assert row is not None and row.name is not None and f"<h1>{row.name}</h1>" in page
    plot = client.get("/d/fake/1/histogram", headers=FRAGMENT).text
    assert "n = 1,000" in plot and "control" in plot and plot.count("<svg") == 2
    near = client.get("/d/fake/1/near", headers=FRAGMENT)
    assert near.status_code == 200 and "<html" not in near.text and "Decoder directions" in near.text
    assert client.get("/d/fake/1/brief").text.count(row.name) == 1


def test_parts_of_the_page_are_pages_without_scripts(client: TestClient, service: Service) -> None:
    file_run(service.state, service.settings, text="striped", index=0)
    for part in ("histogram", "near"):
        assert "<html" in client.get(f"/d/fake/0/{part}").text
        assert "<html" not in client.get(f"/d/fake/0/{part}", headers=FRAGMENT).text


def test_naming_starts_one_run_however_often_it_is_sent(client: TestClient, service: Service) -> None:
    page = client.get("/d/fake/3").text
    key = re.search(r'name="key" value="([^"]+)"', page)
    assert key is not None
    form = {"max_images": "40", "cost_limit": "0.1", "seed": "0", "proposer": "", "key": key[1]}
    first, second = (client.post("/d/fake/3/name", data=form) for _ in range(2))
    assert first.status_code == 303 and first.headers["location"].startswith("/runs/"), first.text
    assert second.headers["location"] == first.headers["location"]
    work = client.get("/d/fake/3/work", headers=FRAGMENT).text
    assert "queued" in work and "data-watch=" in work and first.headers["location"] in work
    assert client.get("/d/fake/4/work").text.strip() == '<div id="work"></div>'
    assert len(service.runs.list(dictionary="fake")) == 1


@pytest.mark.parametrize(
    "wrong", [{"max_images": "2"}, {"seed": "x"}, {"cost_limit": "nan"}, {"proposer": "oracle"}]
)
def test_an_order_that_is_wrong_is_answered_in_one_sentence(
    client: TestClient, wrong: dict[str, str]
) -> None:
    form = {"max_images": "40", "cost_limit": "0.1", "seed": "0", **wrong}
    answer = client.post("/d/fake/3/name", data=form, headers=FRAGMENT)
    assert answer.status_code == 400 and 'role="alert"' in answer.text
    assert next(iter(wrong)).replace("_", " ") in answer.text.lower()


def test_asking_tells_how(client: TestClient) -> None:
    answer = client.post("/d/fake/1/ask", data={"question": "is it $(rm) 'stripes'?"}, headers=FRAGMENT).text
    assert "OPENAI_API_KEY" in answer and "namesae ask" in answer
    assert "&#39;is it $(rm) &#39;&#34;&#39;&#34;&#39;stripes" in answer, "quoted for a shell, then escaped"
    assert client.post("/d/fake/1/ask", data={"question": " "}).status_code == 400
    assert client.post("/d/fake/99999/ask", data={"question": "x"}).status_code == 404


def test_relevance_of_what_cannot_be_mapped_is_said(client: TestClient) -> None:
    planted = client.get(f"/d/fake/0/relevance/{SHA}")
    assert planted.status_code == 400 and "planted" in planted.text
    assert client.get("/d/fake/0/relevance/..%2f..%2fetc").status_code == 404
    assert client.get("/d/fake/0/relevance/xyz").status_code == 404
    assert client.get(f"/d/nope/0/relevance/{SHA}").status_code == 404


def test_pages_start_without_torch() -> None:
    told = "import sys, namesae.pages.site; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", told], check=False, timeout=60).returncode == 0


@pytest.mark.slow
def test_relevance_is_mapped_once_and_kept(client: TestClient, service: Service) -> None:
    from namesae.galleries import SandboxPictures

    pictures = SandboxPictures("probe")
    images = service.state.images.put_many([pictures.picture(row) for row in range(24)])
    answers = [client.get(f"/d/sandbox/68/relevance/{image}") for image in images]
    kinds = {each.status_code for each in answers}
    assert kinds == {200, 400}, "on some it fires, on others it is silent"
    mapped = next(at for at, each in enumerate(answers) if each.status_code == 200)
    picture = Image.open(io.BytesIO(answers[mapped].content))
    assert picture.format == "PNG" and max(picture.size) <= 256
    silent = next(each for each in answers if each.status_code == 400)
    assert "not active" in silent.text and silent.headers["content-type"].startswith("text/plain")
    kept = list((service.settings.home / "relevance").rglob("*.png"))
    assert len(kept) == sum(each.status_code == 200 for each in answers)
    before = kept[0].stat().st_mtime_ns
    assert client.get(f"/d/sandbox/68/relevance/{images[mapped]}").content == answers[mapped].content
    assert kept[0].stat().st_mtime_ns == before


def test_each_step_says_what_it_changed() -> None:
    steps = search_steps(
        (
            _trial("fish", 1.0, 2.0),
            _trial("striped fish", 9.0, 8.0),
            _trial("red fish", 7.0, 0.0),
            _trial("zebra", 0.0, 1.0, claim="stripes", expects="fires"),
            _trial("plain", 9.0, 9.5, claim="stripes", expects="rests", intent="contradict"),
            _trial("sea", 0.0, 0.0, intent="control"),
            _trial("city", 0.0, 6.0, intent="control"),
            _trial("black", None, None),
            Trial(
                proposal=Proposal(prompt="q", intent="vary"), images=(), seeds=(), activations=(), fault="?"
            ),
        ),
        threshold=FIRES,
    )
    assert [step.change for step in steps] == [
        *("same", "better", "same", "against", "against", "same", "against", "nothing", "nothing"),
    ]
    said = [step.outcome for step in steps]
    assert "fires on none: 1.50" in said[0] and said[1] == "New best mean: 8.50, before 1.50."
    assert said[2] == "It fires on 1 of 2; best stays “striped fish” with 8.50."
    assert "Fires on 0 of 2: against “stripes”" in said[3] and "should rest" in said[4]
    assert said[-1] == "Not drawn: ?" and said[-2] == "No usable image came of it."
    assert [step.best for step in steps][:3] == [1.5, 8.5, 8.5]
    plot = step_plot(steps, threshold=FIRES)
    assert plot is not None and len(plot.dots) == 7 and plot.threshold is not None
    assert step_plot(steps[:1], threshold=FIRES) is None and search_steps((), threshold=0.0) == ()


def test_rivals_are_told_why_they_lost(told: Explanation) -> None:
    def rival(
        name: str, auroc: float | None, low: float = 0.0, high: float = 1.0, rate: float = 0.9
    ) -> Rival:
        ci = None if auroc is None else Interval(low=low, high=high)
        return Rival(name=name, auroc=auroc, auroc_ci=ci, rate=rate, n_images=8)

    rivals = (
        rival("striped", 0.93, 0.9, 0.95),
        rival("fish", 0.6, 0.5, 0.7, 0.2),
        rival("zebra", 0.9, 0.8, 0.95),
        rival("lines", 0.95),
        rival("x", None),
    )
    rows = feature_view(told.model_copy(update={"rivals": rivals})).rivals
    assert [row.is_winner for row in rows] == [True, False, False, False, False]
    assert "by 0.33; the intervals are apart; fires on 20 %" in rows[1].why
    assert rows[2].why == "AUROC lower by 0.03; the intervals overlap."
    assert "no worse" in rows[3].why and "No usable image" in rows[4].why
    only = feature_view(told.model_copy(update={"rivals": rivals[:1]})).rivals
    assert only[0].why == "The only name that raced."


def test_images_stand_strongest_first_and_say_whether_they_fire(told: Explanation) -> None:
    view = feature_view(told)
    shown = [each.activation for each in view.sealed]
    assert shown == sorted(shown, key=lambda value: -(value or 0.0)) and len(shown) == 5
    assert told.evidence is not None
    assert all(each.fires == ((each.activation or 0) > told.evidence.facts.threshold) for each in view.sealed)
    bare = feature_view(told.model_copy(update={"evidence": None, "sealed": None, "rivals": ()}))
    assert bare.sealed == () and bare.steps == () and [mark.label for mark in bare.marks][-1] == "Confidence"


def test_parts_without_scores_are_shown_too(told: Explanation) -> None:
    view = feature_view(told)
    assert view.parts == (("striped", None), ("fish", None))


@pytest.mark.parametrize("width", [NARROW, 1080])
def test_every_value_of_a_histogram_is_in_one_bin(width: int) -> None:
    values = tuple(at / 7 for at in range(101))
    plot = activation_plot(
        [Sample("control", "control", (0.0,) * 37), Sample("sealed", "drawn", values)],
        threshold=4.0,
        width=width,
    )
    assert plot is not None and plot.threshold is not None
    assert [sum(each.counts) for each in plot.outlines] == [37, 101]
    assert all(len(each.counts) == BINS for each in plot.outlines)
    assert all(0 <= x <= width and x + wide <= width for x, wide, _ in plot.bins)
    ys = [y for y, _ in plot.y_ticks]
    assert ys == sorted(ys, reverse=True) and plot.y_ticks[-1][1] == "100 %"
    numbers = [float(each) for each in re.findall(r"[\d.]+", plot.outlines[1].path)]
    assert min(numbers) >= 0 and max(numbers) <= width


@pytest.mark.parametrize("values", [(), (0.0, 0.0), (math.nan,), (-1.0,)])
def test_a_histogram_of_nothing_is_not_drawn(values: tuple[float, ...]) -> None:
    assert activation_plot([Sample("control", "control", values)], threshold=1.0) is None


def test_a_histogram_takes_whatever_is_measured() -> None:
    for values in ((1e-12,), (1e12, 3.0), (math.nan, 1.0), (-5.0, 2.0), (math.inf, 1.0)):
        plot = activation_plot([Sample("sealed", "drawn", values)], threshold=None)
        assert plot is not None and plot.threshold is None and "nan" not in plot.outlines[0].path, values


def test_a_page_costs_little(client: TestClient, service: Service) -> None:
    _file_a_rich_run(service)
    pages = _pages(service)
    pages()
    spent = []
    for _ in range(12):
        before = time.thread_time()
        pages()
        spent.append(time.thread_time() - before)
    assert min(spent) <= MOST_CPU_S, f"{1000 * min(spent):.1f} ms of CPU for a page"


def _file_a_rich_run(service: Service) -> None:
    """As many images as a run of a hundred has."""
    told = file_run(service.state, service.settings, text="striped", index=1)
    assert told.evidence is not None
    sealed = told.evidence.sealed_images * 10
    trials = tuple(_trial(f"striped fish {at}", 9.0, 8.0, None) for at in range(20))
    activations = tuple(float(at % 9) for at in range(len(sealed)))
    changed = {"trials": trials, "sealed_images": sealed, "sealed_activations": activations}
    evidence = told.evidence.model_copy(update=changed)
    file_run(service.state, service.settings, text="striped", index=1, evidence=evidence)


def _pages(service: Service) -> Any:
    """What answers the page of fake#1, without the client's own work."""
    from starlette.requests import Request

    from namesae.pages.feature_page import FeaturePages
    from tests.pages_app import OpenAccess

    pages = FeaturePages(service, OpenAccess())
    scope = {"type": "http", "method": "GET", "path": "/d/fake/1", "headers": [], "query_string": b""}
    return lambda: pages.page(Request(scope), "fake", 1)

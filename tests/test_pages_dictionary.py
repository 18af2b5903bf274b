"""The home page, the grid of a dictionary, its scatter plot, search, login, and what all pages share."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from agent.records import VerdictKind
from namesae.pages import picture_page
from namesae.pages.dictionary_page import BLOCK, decades
from namesae.pages.figures import (
    MINUS,
    NONE,
    bar,
    date,
    density,
    dollars,
    figure,
    interval,
    seconds,
    segment,
    shares,
)
from namesae.pages.picture_page import small
from namesae.pages.rendering import STATIC, static_url
from namesae.pages.verdict_words import MEANINGS, VERDICTS, slices
from namesae.service import picture_reading
from namesae.service.feature_query import Ranking, ScatterPoint
from namesae.service.picture_reading import read_picture
from namesae.service.service import Service
from tests.pages_app import fake_service, file_run, pages_app, picture_of
from tools.errors import DependencyError
from tools.protocols import Interval

FRAGMENT = {"HX-Request": "true"}
WEAK: dict[str, Any] = {"verdict": "weak", "confidence": 0.2}


@pytest.fixture
def service(redis_server: Any, tmp_path: Path) -> Iterator[Service]:
    with fake_service(redis_server.url, tmp_path / "home") as made:
        yield made


@pytest.fixture
def client(service: Service) -> TestClient:
    return TestClient(pages_app(service), follow_redirects=False)


def _file(service: Service, text: str, index: int, **changes: Any) -> None:
    file_run(service.state, service.settings, text=text, index=index, **changes)


def test_home_tells_what_to_do_before_anything_is_named(client: TestClient) -> None:
    page = client.get("/")
    assert page.status_code == 200 and "fake" in page.text
    assert "namesae batch 'fake#0-" in page.text and "0 %" in page.text


def test_home_shows_how_far_a_dictionary_is_named(client: TestClient, service: Service) -> None:
    _file(service, "striped", 0)
    _file(service, "fish", 1, **WEAK)
    page = client.get("/").text
    total = service.features.dictionary("fake").n_features
    assert 'class="big num">15 %<' in page
    assert f"of {total} features have a verdict" in page
    bars = re.findall(r'aria-label="Verdicts of fake: ([^"]+)"', page)
    assert bars == [f"1 named, 1 weak, {total - 2} not tried"]


def test_the_grid_shows_every_figure_with_its_interval(client: TestClient, service: Service) -> None:
    _file(service, "striped", 3)
    page = client.get("/d/fake").text
    row = re.search(r'<tr role="row" data-step.*?</tr>', page, re.S)
    assert row is not None, "the best named feature stands first"
    for told in ("#3", "striped", "0.91", "[0.87, 0.94]", "88 %", "ceiling 0.92", "/d/fake/3"):
        assert told in row[0], told


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("verdict=weak", {1}),
        ("verdict=weak&verdict=named", {0, 1}),
        ("text=strip", {0}),
        ("text=%23 7".replace(" ", ""), {7}),
        ("which=untried&sort=index&descending=false", {2, 3, 4}),
        ("min_auroc=0.95", set()),
        ("min_auroc=&which=named", {0, 1}),
    ],
)
def test_filters(client: TestClient, service: Service, query: str, shown: set[int]) -> None:
    _file(service, "striped", 0)
    _file(service, "fish", 1, **WEAK)
    page = client.get(f"/d/fake?{query}", headers=FRAGMENT)
    found = {int(each) for each in re.findall(r'href="/d/fake/(\d+)"', page.text)}
    assert page.status_code == 200 and shown <= found and (len(shown) > 2 or found == shown)
    assert "<html" not in page.text and page.headers["vary"] == "HX-Request"


def test_a_filter_that_finds_nothing_says_so_and_leads_back(client: TestClient) -> None:
    page = client.get("/d/fake?text=zzz")
    assert page.status_code == 200 and "No feature fits" in page.text


@pytest.mark.parametrize("query", ["sort=colour", "min_auroc=2", "cursor=-1", "which=some", "verdict=good"])
def test_a_query_that_is_wrong_is_answered_in_one_sentence(client: TestClient, query: str) -> None:
    page = client.get(f"/d/fake?{query}")
    assert page.status_code in (400, 422)
    assert "Traceback" not in page.text and "pydantic" not in page.text and "<h1>" in page.text


def test_sorting_keeps_the_filters(client: TestClient, service: Service) -> None:
    _file(service, "striped", 0)
    page = client.get("/d/fake?text=strip&sort=density&descending=true").text
    heads = re.findall(r'<th role="columnheader"[^>]*>(?:<a href="([^"]+)")?', page)
    told = [head.replace("&amp;", "&") for head in heads if head]
    assert told and all("text=strip" in head for head in told)
    assert any("sort=density&descending=false" in head for head in told)
    assert page.count("aria-sort") == 1


def test_rows_come_in_blocks_and_the_pager_works_without_scripts(client: TestClient) -> None:
    rows = client.get("/d/fake/rows?sort=index&descending=false&cursor=10", headers=FRAGMENT).text
    assert next(int(each) for each in re.findall(r'aria-rowindex="(\d+)"', rows)) == 12
    assert "<html" not in rows and rows.count("<tr") == 3
    page = client.get("/d/fake").text
    assert f'data-block="{BLOCK}"' in page and 'data-total="13"' in page and 'class="pager"' in page


def test_the_scatter_has_a_table_that_says_the_same(client: TestClient, service: Service) -> None:
    _file(service, "striped", 0)
    points = client.get("/d/fake/scatter").json()
    assert all(len(point) == 4 for point in points["points"])
    table = client.get("/d/fake/densities", headers=FRAGMENT)
    whole = client.get("/d/fake/densities")
    assert table.status_code == 200 and "<html" not in table.text and "<html" in whole.text


def test_decades_count_every_point_once() -> None:
    verdicts: tuple[VerdictKind | None, ...] = ("named", None, None, "weak", None)
    points = [
        ScatterPoint(index=at, density=0.9 / 4**at, scale=1.0 + at, verdict=verdict)
        for at, verdict in enumerate(verdicts)
    ]
    bands = decades(points)
    assert sum(band.features for band in bands) == 5 and sum(band.answered for band in bands) == 2
    assert [band.low for band in bands] == sorted((band.low for band in bands), reverse=True)
    assert all(band.low < band.high for band in bands)


def test_a_dictionary_that_is_not_there_is_a_page(client: TestClient) -> None:
    for url in ("/d/nope", "/d/nope/3", "/d/fake/9999", "/d/nope/scatter"):
        page = client.get(url)
        assert page.status_code == 404 and "<h1>" in page.text and "Nothing is here" in page.text, url


def test_a_batch_is_one_job_however_often_the_form_is_sent(client: TestClient, service: Service) -> None:
    key = re.search(r'name="key" value="([^"]+)"', client.get("/d/fake").text)
    assert key is not None
    form = {"features": "0-4", "max_images": "40", "cost_limit": "0.1", "key": key[1], "total_cost": ""}
    answers = [client.post("/d/fake/batch", data=form) for _ in range(2)]
    assert [each.status_code for each in answers] == [303, 303], answers[0].text
    assert answers[0].headers["location"] == answers[1].headers["location"]
    assert answers[0].headers["location"].startswith("/batches/")
    again = client.post("/d/fake/batch", data=form, headers=FRAGMENT)
    assert again.status_code == 204 and again.headers["hx-redirect"].startswith("/batches/")
    assert len(service.batches.list()) == 1


@pytest.mark.parametrize("wrong", [{"features": "x"}, {"max_images": "1"}, {"features": ""}, {"seed": "-1"}])
def test_a_form_that_is_wrong_is_answered_in_one_sentence(client: TestClient, wrong: dict[str, str]) -> None:
    form = {"features": "0-4", "max_images": "40", **wrong}
    answer = client.post("/d/fake/batch", data=form, headers=FRAGMENT)
    assert answer.status_code in (400, 404, 422)
    assert 'role="alert"' in answer.text and "<html" not in answer.text and "Traceback" not in answer.text


def test_search_finds_by_name_and_leads_to_a_feature_by_number(client: TestClient, service: Service) -> None:
    _file(service, "striped", 0)
    found = client.get("/search?q=stri")
    assert found.status_code == 200 and "fake#0" in found.text and "[0.87, 0.94]" in found.text
    part = client.get("/search?q=stri", headers=FRAGMENT)
    assert "<html" not in part.text and "fake#0" in part.text
    direct = client.get("/search?q=fake%2312")
    assert direct.status_code == 303 and direct.headers["location"] == "/d/fake/12"
    assert client.get("/search?q=fake%2399999").status_code == 200
    assert "Nothing found" in client.get("/search?q=zebra").text
    assert client.get("/search").status_code == 200
    assert client.get("/search?q=x&by=colour").status_code == 422


def test_login_keeps_where_one_wanted_to_go_and_no_token(client: TestClient) -> None:
    page = client.get('/login?next=/d/fake"><b>')
    assert page.status_code == 200 and 'value="/d/fake&#34;&gt;&lt;b&gt;"' in page.text
    failed = client.get("/login?failed=1")
    assert failed.status_code == 401 and 'role="alert"' in failed.text and 'type="password"' in failed.text


def test_no_page_has_anything_inline(client: TestClient, service: Service) -> None:
    _file(service, "striped", 0)
    for url in ("/", "/d/fake", "/d/fake/0", "/d/fake/5", "/search?q=s", "/login", "/d/nope"):
        page = client.get(url).text
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", page), url
        assert not re.search(r"<script(?![^>]*\ssrc=)", page), url
        assert not re.search(r"""(?:src|href|action)=["'](?:https?:)?//""", page), url


def test_static_files_are_named_by_their_digest(client: TestClient) -> None:
    for name in ("namesae.css", "namesae.js", "htmx.min.js", "grid.js", "scatter.js", "theme.js"):
        url = static_url(name)
        assert re.fullmatch(rf"/static/{re.escape(name)}\?v=[0-9a-f]{{10}}", url)
        assert client.get(url).content == (STATIC / name).read_bytes()
    assert (STATIC / "htmx.LICENSE.txt").is_file() and (STATIC / "inter.LICENSE.txt").is_file()


def test_every_verdict_is_explained_and_has_its_place_in_the_bar() -> None:
    assert set(MEANINGS) == set(VERDICTS)
    made = slices([("weak", 3), ("named", 5), ("dead", 2)], 20)
    assert [each.verdict for each in made] == ["named", "weak", "dead", "unnamed"]
    assert sum(each.number for each in made) == 20
    assert sum(each.width for each in made) == pytest.approx(100, abs=0.01)
    assert slices([], 0) == ()


def test_figures_say_what_they_know_and_no_more() -> None:
    ci = Interval(low=0.871, high=0.94)
    assert (figure(0.912), figure(None), figure(float("nan")), figure(-0.1)) == (
        "0.91",
        NONE,
        NONE,
        f"{MINUS}0.10",
    )
    assert (interval(ci), interval(None), shares(ci)) == ("[0.87, 0.94]", "", "[87, 94]")
    assert (dollars(None), dollars(0), dollars(0.0123), dollars(12.5)) == (
        *("price unknown", "$0", "$0.0123"),
        "$12.50",
    )
    assert (seconds(4.2), seconds(185), seconds(7800)) == ("4.2 s", "3 min 05 s", "2 h 10 min")
    assert (density(0.00033), density(0.16), density(None)) == ("0.033 %", "16 %", NONE)
    assert (date("2026-11-21T10:00:00+00:00"), date("rubbish"), date(1e30)) == (
        "21 Nov 2026, 10:00",
        NONE,
        NONE,
    )
    assert segment("a/b c#?") == "a%2Fb%20c%23%3F"
    assert bar(0.9, ci, 1.2) == (90.0, 87.1, 94.0, 100.0)
    assert bar(0.4, None, None, origin=0.5) == (0.0, 0.0, 0.0, None)


def picture(prompt: str) -> dict[str, Any]:
    return {"image": ("mine.png", picture_of(prompt), "image/png")}


def test_a_picture_is_answered_with_its_features(client: TestClient, service: Service) -> None:
    _file(service, "striped & <b>bold</b>", 0)
    sent = picture("striped fish")
    page = client.post("/d/fake/picture", files=sent)
    part = client.post("/d/fake/picture", files=sent, headers=FRAGMENT)
    assert page.status_code == part.status_code == 200
    assert "<html" in page.text and "<html" not in part.text
    for told in (page.text, part.text):
        rows = re.findall(r'<li class="hit-row".*?</li>', told, re.S)
        assert {int(index) for index in re.findall(r'href="/d/fake/(\d+)"', told)} >= {0, 1, 4, 6}
        (named,) = [row for row in rows if 'href="/d/fake/0"' in row]
        assert "striped &amp; &lt;b&gt;bold&lt;/b&gt;" in named and "fires" in named
        assert re.search(r"activation</small> ([\d.]+)<small>,</small> [\d.]+ <small>. its 99th", named)
        assert 'src="data:image/png;base64,' in told
        # The scales of the others are not known, so none can be ranked by it.
        assert "ranked by activation." in told
        shown = [float(each) for each in re.findall(r"activation</small> ([\d.]+)", told)]
        assert shown == sorted(shown, reverse=True) and len(shown) == len(rows)


def test_where_all_scales_are_known_features_are_ranked_by_them(client: TestClient, service: Service) -> None:
    for index in range(13):
        _file(service, f"name {index}", index)
    page = client.post("/d/fake/picture", files=picture("striped fish")).text
    shown = [float(each) for each in re.findall(r"([\d.]+) <small>. its 99th", page)]
    assert "ranked in units of each one" in page
    assert len(shown) == page.count('class="hit-row"') > 3 and shown == sorted(shown, reverse=True)


def test_a_picture_on_which_nothing_is_active_says_so(
    client: TestClient, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixel = io.BytesIO()
    Image.new("RGB", (1, 1)).save(pixel, "PNG")
    sent = {"image": ("x.png", pixel.getvalue(), "image/png")}
    assert client.post("/d/fake/picture", files=sent).status_code == 200
    monkeypatch.setattr(service.features, "ranked", lambda *_, **__: Ranking((), relative=True, active=0))
    page = client.post("/d/fake/picture", files=sent)
    assert page.status_code == 200
    assert "No feature of fake is active on it." in page.text and "<ol" not in page.text


def test_a_picture_is_decoded_once(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []

    def counted(data: bytes) -> Image.Image:
        decoded.append(len(data))
        return read_picture(data)

    monkeypatch.setattr(picture_page, "read_picture", counted)
    monkeypatch.setattr(picture_reading, "read_picture", counted)
    assert client.post("/d/fake/picture", files=picture("striped fish")).status_code == 200
    assert len(decoded) == 1


def test_a_model_that_cannot_be_loaded_leaves_the_form(
    client: TestClient, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise DependencyError("The backbone cannot be loaded; run namesae doctor.")

    monkeypatch.setattr(service.features, "ranked", refuse)
    page = client.post("/d/fake/picture", files=picture("striped fish"))
    assert page.status_code == 503
    assert 'role="alert">The backbone cannot be loaded' in page.text and 'type="file"' in page.text


def test_a_long_picture_is_shown_small() -> None:
    assert small(Image.new("RGB", (100, 2000)))[1:] == (8, 160)
    assert small(Image.new("RGB", (2000, 1000)))[1:] == (160, 80)
    assert small(Image.new("RGB", (30, 20)))[1:] == (30, 20)


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        ({"image": ("x.png", b"x" * 100, "image/png")}, "no PNG, JPEG or WEBP"),
        ({"image": ("x.png", b"\x89PNG\r\n\x1a\n" + b"x" * 100, "image/png")}, "cannot be decoded"),
        ({"image": ("x.png", b"", "image/png")}, "No picture was sent"),
        (None, "No picture was sent"),
    ],
)
def test_a_picture_that_is_none_is_refused_below_the_form(
    client: TestClient, sent: Any, sentence: str
) -> None:
    for headers in ({}, FRAGMENT):
        page = client.post("/d/fake/picture", files=sent, headers=headers)
        assert page.status_code == 400
        assert re.search(rf'role="alert">[^<]*{sentence}', page.text)
        assert ('type="file"' in page.text) == (not headers)
    assert client.post("/d/nope/picture", files=sent).status_code == 404


def test_a_form_sent_without_a_file_is_refused(client: TestClient) -> None:
    # What a browser sends then.
    part = b'--x\r\nContent-Disposition: form-data; name="image"; filename=""\r\n'
    body = part + b"Content-Type: application/octet-stream\r\n\r\n\r\n--x--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    page = client.post("/d/fake/picture", content=body, headers=headers)
    assert page.status_code == 400 and "No picture was sent" in page.text

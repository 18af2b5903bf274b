"""``namesae serve`` as it ships, on the embedded dictionary: a visitor's way, and a worker killed."""

from __future__ import annotations

import csv
import io
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from namesae.service.service import Service
from namesae.settings import Settings
from namesae.wiring import open_state
from tests.conftest import RedisServer
from tests.served_runs import until
from tests.work_world import filled
from tools.draw_log import DrawLog, interrupted, redrawn

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (apt install chromium)"),
]
PATIENCE = 240_000
"""Milliseconds: the worker loads its models first, and the machine may be busy."""
LONG_S = PATIENCE / 1000
CAR = 323


class Place(NamedTuple):
    """A service that runs in processes of its own, and its store."""

    url: str
    service: Service


@pytest.fixture
def settings(
    redis: Any, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Settings:
    values = {"NAMESAE_HOME": str(tmp_path), "REDIS_URL": redis_server.url, "NAMESAE_PROPOSER": "lexical"}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return Settings.model_validate({"home": tmp_path, "redis_url": redis_server.url, "proposer": "lexical"})


@pytest.fixture
def place(settings: Settings, tmp_path: Path) -> Iterator[Place]:
    told = tmp_path / "serve.log"
    command = [sys.executable, "-m", "namesae", "serve", "--port", "0"]
    with (
        open_state(settings) as state,
        told.open("w") as log,
        subprocess.Popen(command, stdout=log, stderr=log) as serving,
    ):
        try:
            yield Place(_address(told), Service(settings, state))
        finally:
            serving.terminate()
            serving.wait(90)
    assert serving.returncode == 128 + signal.SIGTERM


def _address(told: Path) -> str:
    """Where it listens, once it says so."""
    until(lambda: "http://" in told.read_text(), limit_s=LONG_S)
    found = re.search(r"http://[\w.]+:\d+", told.read_text())
    assert found is not None
    return found.group()


@pytest.fixture
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


def opened(browser: Browser, *, width: int = 1440) -> tuple[Page, list[str]]:
    """A page in a profile of its own, and what it complains of."""
    page, complaints = browser.new_context(viewport={"width": width, "height": 900}).new_page(), list[str]()
    page.set_default_timeout(PATIENCE)
    page.on("console", lambda told: complaints.append(told.text) if told.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return page, complaints


def name_it(page: Page, url: str) -> str:
    """Ask for the name of the feature by its page; the run, on whose page one is then."""
    page.goto(f"{url}/d/sandbox/{CAR}")
    page.get_by_role("button", name="Name it", exact=True).click()
    page.wait_for_url(re.compile(rf"/runs/sandbox-{CAR}-"))
    return page.url.rpartition("/")[2]


def test_a_visitor_names_finds_compares_and_reviews(browser: Browser, place: Place, tmp_path: Path) -> None:
    service = place.service
    page, complaints = opened(browser)
    run = name_it(page, place.url)
    page.evaluate("window.stayed = true")
    expect(page.locator("#live")).to_have_attribute("data-state", "ended", timeout=PATIENCE)
    expect(page.get_by_role("heading", level=1)).to_have_text("car", timeout=PATIENCE)
    assert page.evaluate("window.stayed") is True and page.locator(".round").count() >= 1
    with page.expect_download() as download:
        page.get_by_role("link", name="Export HTML").click()
    assert "car" in Path(download.value.path()).read_text(encoding="utf-8")

    page.get_by_role("searchbox").fill("car")
    page.get_by_role("searchbox").press("Enter")
    page.locator(f'main a[href="/d/sandbox/{CAR}"]').first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("car", timeout=PATIENCE)
    told = service.features.latest("sandbox", CAR)
    assert told is not None and told.run == run and told.sealed is not None
    assert f"{told.sealed.auroc:.2f}" in page.locator("main").inner_text()

    pictures = told.evidence.sealed_images if told.evidence is not None else ()
    service.evaluations.folders.root.mkdir(parents=True)
    filled(service.evaluations.folder("one"), dictionary="sandbox", pictures=pictures)
    page.goto(f"{place.url}/evals/one")
    page.get_by_role("button", name="Compare", exact=True).click()
    expect(page.locator("#comparison")).to_be_visible()
    with page.expect_download() as download:
        page.locator("#csv").click()
    rows = list(csv.reader(io.StringIO(Path(download.value.path()).read_text(encoding="utf-8"))))
    assert len(rows) == 1 + page.locator("#comparison tr.line").count() > 1

    page.goto(f"{place.url}/review?dictionary=sandbox")
    feature = page.locator('input[name="feature"]').input_value()
    with page.expect_navigation():
        page.locator('button[value="a"]').click()
    expect(page.locator(".reveal")).to_contain_text("You chose")
    (vote,) = service.reviews.votes(feature)
    assert vote.choice == "a"
    assert complaints == []


def test_two_browsers_see_a_run_to_its_end_though_its_worker_is_killed(
    browser: Browser, place: Place
) -> None:
    service = place.service
    first, complaints = opened(browser)
    run = name_it(first, place.url)
    second, others = opened(browser, width=360)
    second.goto(first.url)
    for page in (first, second):
        page.evaluate("window.stayed = true")
    log = DrawLog(service.state.client)
    until(lambda: any(each.event == "recorded" for each in log.entries()), limit_s=LONG_S)
    worker = service.runs.jobs.get(run).worker
    assert worker is not None
    os.kill(int(worker.rpartition(":")[2]), signal.SIGKILL)
    for page in (first, second):
        expect(page.locator("#live")).to_have_attribute("data-state", "ended", timeout=PATIENCE)
        expect(page.get_by_role("heading", level=1)).to_have_text("car", timeout=PATIENCE)
        assert page.evaluate("window.stayed") is True, "it recovered by itself"
    entries = list(log.entries())
    assert redrawn(entries) == [] and len(interrupted(entries)) <= 1
    assert len({each.process for each in entries}) == 2, "it was killed before it began, or after it ended"
    until(lambda: service.runs.status(run).state == "ended", limit_s=10)
    assert complaints == [] and others == []

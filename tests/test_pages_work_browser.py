"""Runs, batches, evaluations and the review desk in a real browser, over a real service with a worker."""

from __future__ import annotations

import csv
import io
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, Page, expect, sync_playwright

from namesae.settings import Settings
from tests.api_service import OPTIONS, Place, served, settings_at
from tests.conftest import RedisServer
from tests.mcp_calls import working
from tests.recorded_runs import draw
from tests.work_world import asked_run, filled, told_run

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (apt install chromium)"),
]
PATIENCE = 60_000
"""Milliseconds: the machine may be busy."""


class Desk(NamedTuple):
    """A running service with something of everything in it."""

    place: Place
    run: str
    waits: str

    @property
    def paths(self) -> tuple[str, ...]:
        """Every page of this part."""
        compare = "/evals/one/compare?a=agent&b=mils"
        runs = ("/runs", f"/runs/{self.run}", f"/runs/{self.run}/calls/0", f"/runs/{self.run}/fork")
        evals = ("/evals", "/evals/one", compare, "/evals/one/cell?condition=agent&feature=sandbox%230")
        return (*runs, "/batches", *evals, "/review?dictionary=fake", f"/review/{self.waits}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def settings(redis_server: RedisServer, redis: object, tmp_path: Path) -> Settings:
    return settings_at(redis_server.url, tmp_path / "home")


@pytest.fixture
def desk(settings: Settings) -> Iterator[Desk]:
    with served(settings) as place:
        service = place.service
        run = told_run(service, text="striped", seed=0).run
        told_run(service, text="fish", seed=1, proposer="openai:gpt-5-mini")
        told_run(service, text="red", index=1, seed=2)
        told_run(service, text="blue", index=1, seed=3, proposer="openai:gpt-5-mini")
        waits = asked_run(service)
        service.evaluations.folders.root.mkdir(parents=True)
        filled(service.evaluations.folder("one"), features=3, pictures=draw(service.state.images, "fish"))
        yield Desk(place, run, waits)


def opened(browser: Browser, *, width: int = 1440, dark: bool = False) -> tuple[Page, list[str]]:
    """A page in a profile of its own, and what it complains of."""
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light"
    )
    page, complaints = context.new_page(), list[str]()
    page.set_default_timeout(PATIENCE)
    page.on(
        "console",
        lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None,
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return page, complaints


def text_of(page: Page, part: str) -> str:
    """What a part of the page says, clocks aside."""
    said = page.locator(f'[data-part="{part}"]').inner_text()
    return re.sub(r"\s+", " ", said)


def test_two_browsers_follow_a_run_from_its_form_to_its_end(browser: Browser, settings: Settings) -> None:
    with served(settings) as place:
        first, complaints = opened(browser)
        first.goto(f"{place.url}/runs")
        first.get_by_label("Feature", exact=True).fill("3")
        first.get_by_role("button", name="Name it").click()
        first.wait_for_url(re.compile(r"/runs/fake-3-"))
        expect(first.get_by_text("It waits for a worker.")).to_be_visible()
        second, others = opened(browser, width=360, dark=True)
        second.goto(first.url)
        for page in (first, second):
            page.evaluate("window.stayed = true")
        with working(settings):
            for page in (first, second):
                expect(page.locator("#live")).to_have_attribute("data-state", "ended", timeout=PATIENCE)
                expect(page.locator(".run-lead .badge").nth(1)).to_be_visible()
                assert page.evaluate("window.stayed") is True
        run = first.url.rpartition("/")[2]
        told = place.service.state.runs.row(run)
        assert told is not None and told.explanation is not None and told.explanation.name is not None
        expect(first.get_by_role("heading", level=1)).to_have_text(told.explanation.name)
        assert told.explanation.name in first.title()
        assert first.locator(".round").count() >= 1 and first.locator(".graph.wide .node.live").count() == 0
        assert first.locator(".graph.wide .node.done").count() >= 6
        for part in ("head", "judged", "events", "round-1"):
            assert text_of(first, part) == text_of(second, part)
        assert first.locator(".tile img").evaluate_all("all => all.filter((img) => img.complete).length") > 0
        assert complaints == [] and others == []


def test_a_page_comes_back_when_the_server_does(browser: Browser, settings: Settings) -> None:
    with served(settings) as place:
        port = int(place.url.rpartition(":")[2])
        page, complaints = opened(browser)
        page.goto(f"{place.url}/runs")
        page.get_by_label("Feature", exact=True).fill("5")
        page.get_by_role("button", name="Name it").click()
        expect(page.get_by_text("It waits for a worker.")).to_be_visible()
        page.evaluate("window.stayed = true")
    expect(page.locator("#live")).to_have_attribute(
        "data-connection", "The server does not answer; trying again", timeout=PATIENCE
    )
    with served(settings, OPTIONS._replace(port=port)), working(settings):
        expect(page.locator("#live")).to_have_attribute("data-state", "ended", timeout=PATIENCE)
        assert page.evaluate("window.stayed") is True
        expect(page.locator(".round").first).to_be_visible()
    # What a browser says by itself of a server that is away is no fault of the page.
    assert all("Failed to load" in each or "ERR_" in each for each in complaints)


def test_no_page_has_a_serious_fault_or_complains(browser: Browser, desk: Desk) -> None:
    page, complaints = opened(browser)
    for path in desk.paths:
        page.goto(desk.place.url + path)
        page.wait_for_load_state("load")
        page.evaluate("for (const box of document.querySelectorAll('details')) box.open = true")
        found = Axe().run(page).response["violations"]
        bad = [
            (each["id"], each["nodes"][0]["html"][:200])
            for each in found
            if each["impact"] in ("serious", "critical")
        ]
        assert bad == [], path
    assert complaints == []


def test_dark_pages_have_enough_contrast(browser: Browser, desk: Desk) -> None:
    page, complaints = opened(browser, dark=True)
    for path in desk.paths:
        page.goto(desk.place.url + path)
        found = Axe().run(page, options={"runOnly": ["color-contrast"]}).response["violations"]
        assert [each["nodes"][0]["html"][:200] for each in found] == [], path
    assert complaints == []


@pytest.mark.parametrize("width", [360, 1600])
def test_no_page_scrolls_sideways(browser: Browser, desk: Desk, width: int) -> None:
    page, complaints = opened(browser, width=width)
    for path in desk.paths:
        page.goto(desk.place.url + path)
        page.wait_for_load_state("load")
        page.evaluate("for (const box of document.querySelectorAll('details')) box.open = true")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
    assert complaints == []


def test_the_csv_of_a_comparison_is_the_table_on_the_screen(browser: Browser, desk: Desk) -> None:
    page, complaints = opened(browser)
    for metric in ("accuracy", "auroc"):
        page.goto(f"{desk.place.url}/evals/one/compare?a=agent&b=mils&metric={metric}")
        shown = page.locator("#comparison tr.line").evaluate_all(
            """rows => rows.map((row) => [...row.cells].flatMap((cell) => {
                 const mark = cell.querySelector(".mark .hidden");
                 const text = (cell.querySelector("a, button") ?? cell).textContent.trim();
                 return mark ? [text, mark.textContent] : [text];
               }))"""
        )
        with page.expect_download() as download:
            page.locator("#csv").click()
        rows = list(csv.reader(io.StringIO(Path(download.value.path()).read_text(encoding="utf-8"))))
        assert len(rows) == len(shown) + 1 and len(shown) >= 2
        assert [[plain(text) for text in row] for row in shown] == [
            [text.removeprefix("'") for text in row] for row in rows[1:]
        ]
    page.locator("button.opens").first.click()
    expect(page.locator("#d1 .cell-side")).to_have_count(2)
    expect(page.locator("#d1")).to_be_visible()
    page.locator("#d1 .cell-side a").last.click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert complaints == []


def plain(text: str) -> str:
    """As CSV writes a figure."""
    return "" if text == "\N{EN DASH}" else text.replace("\N{MINUS SIGN}", "-")


def test_names_are_chosen_between_by_keyboard(browser: Browser, desk: Desk) -> None:
    page, complaints = opened(browser)
    page.goto(f"{desk.place.url}/review?dictionary=fake")
    left = page.locator('button[value="a"] span').inner_text()
    feature = page.locator('input[name="feature"]').input_value()
    page.get_by_label("Note, optional").press_sequentially("ab")
    assert desk.place.service.reviews.votes(feature) == ()
    page.keyboard.press("Tab")
    with page.expect_navigation():
        page.keyboard.press("a")
    expect(page.locator(".reveal")).to_contain_text(f"You chose {left}")
    (vote,) = desk.place.service.reviews.votes(feature)
    assert (vote.choice, vote.chosen, vote.note, vote.who) == ("a", left, "ab", "local")
    with page.expect_navigation():
        page.keyboard.press("t")
    expect(page.get_by_text("You have looked at every pair")).to_be_visible()
    assert [each.choice for each in desk.place.service.reviews.all_votes("fake")] == ["tie", "a"]
    assert complaints == []


def test_a_column_sorts_and_messages_open(browser: Browser, desk: Desk) -> None:
    page, complaints = opened(browser)
    page.goto(f"{desk.place.url}/evals/one")
    head = page.locator("#leaderboard thead th", has_text="AUROC").first
    head.get_by_role("button").press("Enter")
    expect(head).to_have_attribute("aria-sort", "descending")
    page.goto(f"{desk.place.url}/runs/{desk.run}")
    page.locator("#call-0 summary").click()
    expect(page.locator("#call-0 pre").first).to_have_text("striped")
    assert complaints == []


def test_it_works_without_scripts(browser: Browser, desk: Desk) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{desk.place.url}/review?dictionary=fake")
    page.locator('button[value="b"]').click()
    expect(page.locator(".reveal")).to_be_visible()
    page.goto(f"{desk.place.url}/review/{desk.waits}")
    page.get_by_label("Reason").fill("no")
    page.get_by_role("button", name="Reject", exact=True).click()
    assert page.url.endswith(f"/runs/{desk.waits}")
    page.goto(f"{desk.place.url}/evals/one?flag=win#features-part")
    assert page.locator("#leaderboard tbody tr").count() > 3
    expect(page.locator("select[name=flag]")).to_have_value("win")

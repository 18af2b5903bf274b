"""The pages in a real browser: quiet, accessible, as wide as a phone, walked with the keyboard."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from namesae.service.service import Service
from tests.pages_app import (
    CHROMIUM,
    chromium,
    fake_service,
    file_run,
    name_some,
    pages_app,
    picture_of,
    serving,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PATHS = ("/", "/d/fake", "/d/fake/1", "/d/fake/5", "/d/fake/picture", "/search?q=s", "/login", "/d/nope")
WIDE, PHONE = {"width": 1600, "height": 1000}, {"width": 360, "height": 780}
EXPECTED = ("status of 404", "status of 401")
"""What a browser says of pages that are errors by intent."""
SERIOUS = ("serious", "critical")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM, reason="needs chromium (apt install chromium)"),
]


class Site(NamedTuple):
    """The pages and a browser."""

    url: str
    browser: Browser
    service: Service


@pytest.fixture(scope="module")
def site(redis_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with fake_service(redis_server.url, tmp_path_factory.mktemp("home")) as service:
        name_some(service, (1, 2))
        long = (
            "an improbably long name of a feature that nobody would give, with_a_word_that_cannot_be_broken"
        )
        file_run(service.state, service.settings, text=long * 2, index=8, verdict="weak")
        with serving(pages_app(service)) as url, chromium() as browser:
            yield Site(url, browser, service)


@pytest.fixture
def open_page(site: Site) -> Iterator[Any]:
    """Opens a page; at the end nothing may have been said on any console."""
    opened: list[Any] = []
    said: list[str] = []

    def opener(path: str, *, size: Any = WIDE, dark: bool = False, scripts: bool = True) -> Page:
        scheme: Any = "dark" if dark else "light"
        context = site.browser.new_context(viewport=size, color_scheme=scheme, java_script_enabled=scripts)
        opened.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: said.append(f"error: {error}"))
        page.goto(site.url + path, wait_until="networkidle")
        return page

    yield opener
    for context in opened:
        context.close()
    assert [each for each in said if not any(word in each for word in EXPECTED)] == []


def serious(page: Page) -> list[tuple[str, str]]:
    """What axe finds on a page: rule and place."""
    from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]

    found = Axe().run(page).response["violations"]
    return [(each["id"], each["nodes"][0]["html"][:160]) for each in found if each["impact"] in SERIOUS]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("path", PATHS)
def test_axe_finds_nothing_serious(open_page: Any, path: str, dark: bool) -> None:
    for size in (WIDE,) if dark else (WIDE, PHONE):
        page = open_page(path, dark=dark, size=size)
        for details in page.query_selector_all("details"):
            details.evaluate("(e) => { e.open = true; }")
        page.wait_for_timeout(300)
        assert serious(page) == [], f"{path} at {size['width']}"


@pytest.mark.parametrize("path", [*PATHS, "/d/fake/8", "/d/fake/1/histogram", "/d/fake/1/near", "/search"])
def test_a_phone_scrolls_one_way_only(open_page: Any, path: str) -> None:
    page = open_page(path, size=PHONE)
    for details in page.query_selector_all("details"):
        details.evaluate("(e) => { e.open = true; }")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    page.wait_for_timeout(400)
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_the_keyboard_walks_the_grid_and_opens_a_feature(open_page: Any) -> None:
    page = open_page("/d/fake")
    page.keyboard.press("j")
    first = page.evaluate("document.activeElement.getAttribute('href')")
    page.keyboard.press("j")
    second = page.evaluate("document.activeElement.getAttribute('href')")
    page.keyboard.press("k")
    assert first == page.evaluate("document.activeElement.getAttribute('href')") != second
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/d/fake/\d+$"))
    assert page.url.endswith(first)


def test_keys_typed_into_a_field_are_letters(open_page: Any) -> None:
    page = open_page("/d/fake")
    page.keyboard.press("/")
    page.keyboard.type("jk/")
    assert page.input_value("#find") == "jk/"
    page.keyboard.press("Enter")
    page.wait_for_url("**/search?q=jk%2F")


def test_tabs_go_from_the_skip_link_through_every_control(open_page: Any) -> None:
    page = open_page("/d/fake/1")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('main') !== null")
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll("main button, main input:not([type=hidden]), main select")]
          .filter((e) => e.offsetParent && !e.labels?.length && !e.textContent.trim() && !e.ariaLabel)
          .map((e) => e.outerHTML)"""
    )
    assert unnamed == []


def test_filters_act_at_once_and_stay_in_the_address(open_page: Any, site: Site) -> None:
    page = open_page("/d/fake")
    page.check("label.v-weak input", force=True)
    page.wait_for_selector(".found:has-text('1 feature')")
    assert "verdict=weak" in page.url and page.locator("[data-step]").count() == 1
    page.reload(wait_until="networkidle")
    assert page.is_checked("label.v-weak input") and page.locator("[data-step]").count() == 1


def test_the_scatter_tells_and_opens(open_page: Any) -> None:
    page = open_page("/d/fake")
    canvas = page.locator("canvas")
    canvas.focus()
    page.keyboard.press("ArrowRight")
    assert page.locator(".tip").is_visible() and "density" in page.inner_text("#said")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector(".tip .brief")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/d/fake/\d+$"))


def test_colours_follow_the_system_until_chosen_and_are_remembered(open_page: Any) -> None:
    page = open_page("/", dark=True)
    paper = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(paper)
    page.click("[data-theme-toggle]")
    light = page.evaluate(paper)
    page.reload(wait_until="networkidle")
    assert dark != light == page.evaluate(paper)
    assert page.get_attribute("[data-theme-toggle]", "aria-label") == "Use dark colours"


def file_of(prompt: str) -> Any:
    """A picture to be chosen."""
    return {"name": "picture.png", "mimeType": "image/png", "buffer": picture_of(prompt)}


def test_a_picture_is_sent_and_its_features_open(open_page: Any) -> None:
    page = open_page("/d/fake")
    page.get_by_role("link", name="Try a picture").click()
    page.get_by_label("Picture", exact=True).set_input_files(file_of("striped fish"))
    page.get_by_role("button", name="Find its features").click()
    page.get_by_role("img", name="The picture that was sent").wait_for()
    assert serious(page) == []
    page.set_viewport_size(PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.locator("#found").get_by_role("link", name="fish").click()
    page.wait_for_url(re.compile(r"/d/fake/1$"))


def test_a_file_that_is_too_large_is_refused_before_it_is_sent(open_page: Any, tmp_path: Path) -> None:
    (tmp_path / "large.png").write_bytes(bytes(20_100_000))
    page = open_page("/d/fake/picture")
    page.get_by_label("Picture", exact=True).set_input_files(tmp_path / "large.png")
    said = page.get_by_label("Picture", exact=True).evaluate("element => element.validationMessage")
    assert said == "The file has 20.1 MB, more than 20 MB; reduce it."
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))
    page.get_by_role("button", name="Find its features").click()
    page.wait_for_timeout(300)
    assert "POST" not in sent
    page.get_by_label("Picture", exact=True).set_input_files(file_of("fish"))
    page.get_by_role("button", name="Find its features").click()
    page.get_by_role("img", name="The picture that was sent").wait_for()
    assert sent.count("POST") == 1


def test_a_picture_is_sent_without_scripts(open_page: Any) -> None:
    page = open_page("/d/fake/picture", scripts=False)
    page.get_by_label("Picture", exact=True).set_input_files(file_of("fish"))
    page.get_by_role("button", name="Find its features").click()
    page.get_by_role("img", name="The picture that was sent").wait_for()
    assert page.get_by_role("heading", level=1).inner_text() == "Features of a picture"


def test_the_parts_that_come_late_come(open_page: Any) -> None:
    page = open_page("/d/fake/1")
    for selector in (".histogram svg", ".near"):
        page.locator(
            f"section:has({'#histogram' if 'svg' in selector else '#near'})"
        ).scroll_into_view_if_needed()
        page.wait_for_selector(selector)
    page.fill("#question", "is it stripes?")
    page.click("form.ask button")
    page.wait_for_selector("code:has-text('namesae ask')")


def test_naming_leads_to_the_run_and_the_page_shows_it_at_work(open_page: Any, site: Site) -> None:
    page = open_page("/d/fake/6")
    with page.expect_request(lambda request: request.method == "POST"):
        page.click("button:has-text('Name it')")
    page.wait_for_url("**/runs/**")
    runs = site.service.runs.list(dictionary="fake", feature="fake#6")
    assert len(runs) == 1 and page.url.endswith(runs[0].run)


def test_without_scripts_everything_can_still_be_reached(open_page: Any) -> None:
    page = open_page("/d/fake", scripts=False)
    assert page.locator("[data-step]").count() == 13
    page.goto(page.url + "?text=zzz")
    assert "No feature fits" in page.inner_text("main")
    page.goto(page.url.replace("?text=zzz", "/1"))
    page.click("text=Show the histogram")
    assert page.locator("svg[role=img]").count() >= 2


@pytest.mark.timed
def test_a_hundred_thousand_rows_keep_the_page_small(open_page: Any, site: Site) -> None:
    page = open_page("/d/fake?sort=index&descending=false")
    # The same rows again and again stand for a dictionary that large.
    page.route(
        re.compile("/rows"),
        lambda route: route.continue_(url=re.sub(r"cursor=\d+", "cursor=0", route.request.url)),
    )
    page.evaluate(
        """() => {
          const old = document.querySelector("[data-grid]"), table = old.cloneNode(true);
          const row = table.tBodies[0].rows[0];
          while (table.tBodies[0].rows.length < 50) table.tBodies[0].append(row.cloneNode(true));
          table.dataset.total = "100000";
          old.replaceWith(table);
          document.dispatchEvent(new Event("htmx:load"));
        }"""
    )
    height = page.evaluate("document.documentElement.scrollHeight")
    assert height > 5_000_000
    worst = page.evaluate(
        """async () => {
          const frames = [];
          for (let at = 0; at < 40; at += 1) {
            const before = performance.now();
            scrollTo(0, at * document.documentElement.scrollHeight / 40);
            await new Promise(requestAnimationFrame);
            await new Promise(requestAnimationFrame);
            frames.push(performance.now() - before);
          }
          return frames.sort((a, b) => a - b)[35];
        }"""
    )
    assert page.locator("table.grid tr").count() < 400
    assert worst < 250, f"{worst:.0f} ms for two frames"

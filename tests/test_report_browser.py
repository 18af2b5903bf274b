"""The page of an evaluation in a browser without a network: it sorts, filters and opens, and runs no name."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from evals.report_files import write_report
from tests.eval_report_data import board, cells, picture

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (apt install chromium)"),
]
FEATURES = 14


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report")
    return write_report(board(FEATURES), cells(FEATURES), out, picture=picture).html


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


def opened(
    browser: Browser, report: Path, *, width: int = 1440, scripts: bool = True
) -> tuple[Page, list[str]]:
    """The page, and what it complains of, requests included."""
    context = browser.new_context(
        viewport={"width": width, "height": 900}, offline=True, java_script_enabled=scripts
    )
    page, complaints = context.new_page(), list[str]()
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.on(
        "request",
        lambda request: (
            None if request.url.startswith(("file:", "data:", "blob:")) else complaints.append(request.url)
        ),
    )
    page.goto(report.as_uri())
    return page, complaints


def column(page: Page, at: int) -> list[str]:
    cells_of = page.locator(f"#leaderboard tbody.methods:not([hidden]) tr:not(.part) > :nth-child({at})")
    return [text.split("\n")[0] for text in cells_of.all_inner_texts()]


def test_columns_sort_up_and_down_and_gaps_stay_last(browser: Browser, report: Path) -> None:
    page, complaints = opened(browser, report)
    page.get_by_role("button", name="Images", exact=True).click()
    down = [float(text) for text in column(page, 15)]
    assert down == sorted(down, reverse=True) and down[0] == 951.0
    page.get_by_role("button", name="Images", exact=True).press("Enter")
    assert [float(text) for text in column(page, 15)] == sorted(down)
    assert page.locator('#leaderboard th[aria-sort="ascending"]').count() == 1
    page.get_by_role("button", name="$", exact=True).click()
    gaps = [text == "–" for text in column(page, 19)]  # noqa: RUF001  As the page writes it.
    assert gaps == sorted(gaps) and any(gaps)
    page.locator("#group").select_option("kind: and")
    assert "kind: and" in page.locator("#leaderboard tbody:visible tr.part").first.inner_text()
    assert page.locator("#leaderboard tbody:visible").count() == 2
    assert complaints == []


def test_features_are_filtered_by_text_kind_and_disagreement(browser: Browser, report: Path) -> None:
    page, complaints = opened(browser, report)
    rows = page.locator("#features tr[data-at]:visible")
    assert rows.count() == FEATURES
    page.locator("#kind").select_option("texture")
    assert rows.count() == 2 and page.locator("#count").inner_text() == "2 features"
    page.locator("#kind").select_option("")
    page.locator("#find").fill("SANDBOX#34")
    assert rows.count() == 1 and page.locator("#count").inner_text() == "1 feature"
    page.locator("#find").fill("")
    page.locator("#flag").select_option("differ")
    assert 0 < rows.count() < FEATURES
    assert complaints == []


def test_a_feature_opens_into_traces_figures_and_pictures(browser: Browser, report: Path) -> None:
    page, complaints = opened(browser, report)
    for at in range(FEATURES):
        button = page.locator(f'#features tr[data-at="{at}"] th button')
        button.press("Enter")
        assert button.get_attribute("aria-expanded") == "true"
    detail = page.locator("#d0")
    assert detail.locator(".sides > div").count() == 2
    assert detail.locator("ol.steps li").count() > 4 and detail.locator("tbody tr").count() >= 12
    sizes = detail.locator("img").evaluate_all("all => all.map((img) => img.naturalWidth)")
    assert sizes and set(sizes) == {48}
    detail.get_by_role("button", name="INVERT (length 1)").click()
    assert "It tried nothing on the way." in detail.locator(".sides > div").last.inner_text()
    page.locator('#features tr[data-at="0"] th button').click()
    assert not detail.is_visible()
    page.get_by_role("button", name="Feature", exact=True).click()
    assert page.locator("#d1").evaluate("row => row.previousElementSibling.dataset.at") == "1"
    assert page.title() == "Evaluation: sandbox-quick"
    assert page.locator("img:not([src^='data:image/webp'])").count() == 0
    assert complaints == []


def test_the_table_on_screen_can_be_saved(browser: Browser, report: Path) -> None:
    page, complaints = opened(browser, report)
    page.locator("#find").fill("sandbox#34")
    with page.expect_download() as download:
        page.locator('button[data-csv="features"]').click()
    lines = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2 and lines[1].startswith("sandbox#34,")
    assert complaints == []


@pytest.mark.parametrize("width", [360, 768, 1600])
def test_nothing_is_wider_than_the_screen(browser: Browser, report: Path, width: int) -> None:
    page, complaints = opened(browser, report, width=width)
    page.locator("#features th button[aria-expanded]").first.click()
    for details in page.locator("details").all():
        details.evaluate("each => each.open = true")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    inner = page.locator(".detail > td > div").first.bounding_box()
    assert inner is not None and inner["width"] <= width
    assert complaints == []


def test_without_scripts_everything_that_is_told_can_be_read(browser: Browser, report: Path) -> None:
    page, _ = opened(browser, report, scripts=False)
    assert page.locator("#leaderboard tbody[data-group='kind: and']").first.is_visible()
    assert page.locator("#features tr[data-at]").count() == FEATURES
    assert page.locator("svg.plot:visible").count() >= 9
    assert not page.locator("#find").is_visible()

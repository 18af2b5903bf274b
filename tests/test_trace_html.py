"""The page of a run: complete, self-contained, and inert whatever was written into it."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from agent.plans import Candidate
from agent.state import Shot
from namesae.histogram import Series, plot
from namesae.notebook_html import render_dictionary, render_framed, render_summary
from namesae.rival_cards import race_view
from namesae.tiles import MOST_BYTES, Pictures, data_url
from namesae.trace_html import render_trace, write_trace_html
from namesae.traces import Trace
from tests.recorded_runs import RUN, recorded_trace
from tools.fakes import MemoryImageStore

PAYLOADS = (
    "<script>document.title='owned'</script>",
    '"><img src=x onerror="document.title=\'owned\'">',
    "</style><script>document.title='owned'</script>",
    "javascript:document.title='owned'",
    "{{ 7 * 7 }}{% for x in y %}",
    "'\" onmouseover=alert(1) x='",
    "</pre></details><iframe src='http://127.0.0.1:9/'></iframe>",
    "<svg/onload=alert(1)>\u202e\u0000",
)
ALLOWED = {
    *("html", "head", "meta", "title", "style", "body", "main", "header", "footer", "div", "span", "p", "br"),
    *("h1", "h2", "h3", "b", "small", "code", "pre", "dl", "dt", "dd", "ul", "li", "details", "summary"),
    *("table", "thead", "tbody", "tr", "th", "td", "img", "svg", "rect", "line", "text"),
}


class Elements(HTMLParser):
    """Every element of a page and its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def store() -> MemoryImageStore:
    return MemoryImageStore()


def test_the_page_holds_everything_that_is_known_of_the_run(store: MemoryImageStore) -> None:
    page = Elements(render_trace(recorded_trace(store), store))
    for told in (
        *("striped", "named", "AUROC 0.91 [0.87, 0.94] (ceiling 0.92)"),
        *("fires on 88 % of drawn images, 9 % of control", "24 + 50 images", "70 drawn by this run"),
        *("2 LLM calls, $0.0123", "+0.020", "Round 1: draw", "Round 2: conclude", "zebra", "not drawn"),
        *("The race", "0.930", "The sealed judge", "Messages of the LLM", "9 events", RUN, "undefined"),
        *("control, n = 100", "sealed, n = 5", "Nearest features: 4, 9"),
    ):
        assert told in page.text, told
    # Two pictures of the search, one exemplar, three of the race, five sealed: each with its activation.
    assert sum(name == "src" for name, _ in page.attributes) == 11
    assert {"9.50", "0.25", "11.00", "9.75", "0.50", "8.75", "10.00"} <= set(page.text.split())


def test_rivals_stand_side_by_side_with_their_pictures_and_why_they_lost(store: MemoryImageStore) -> None:
    view = race_view(recorded_trace(store).race, Pictures(store), threshold=5.0)
    assert view is not None
    winner, loser = view.rivals
    assert (winner.name, winner.is_winner, loser.name, loser.is_winner) == ("striped", True, "fish", False)
    assert [[tile.activation for tile in drawn.tiles] for drawn in (*winner.own, *loser.own)] == [
        [9.75],
        [0.5, None],
    ]
    assert loser.own[0].tiles[1].title == "seed 5: black striped"
    assert (winner.silent, winner.loud, loser.silent, loser.loud) == ((), (), ("fish",), ("striped",))
    assert winner.why == "Balanced accuracy 0.99; 0 of its 3 claims failed."
    assert loser.why == "Balanced accuracy 0.26 against 0.99; 2 of its 3 claims failed."
    assert [(each.prompt, each.fires, each.rests) for each in view.others] == [
        ("striped fish", ("striped", "fish"), ())
    ]


@pytest.mark.parametrize(
    ("order", "said"),
    [((0, 1), "which the proposer had put before it"), ((1, 0), "Dropped in a heat")],
)
def test_a_loser_that_measured_no_worse_is_told_why(
    store: MemoryImageStore, order: tuple[int, int], said: str
) -> None:
    race = recorded_trace(store).race
    assert race is not None and race.record.winner is not None
    twin = race.record.winner.model_copy(update={"name": "banded"})
    both = (race.record.winner, twin)
    again = race.model_copy(update={"candidates": tuple(both[at] for at in order)})
    view = race_view(again, Pictures(store), threshold=5.0)
    assert view is not None
    assert [said in each.why for each in view.rivals] == [False, True]


@pytest.mark.parametrize(("activations", "said"), [((9.0, 9.5), "Too narrow"), ((0.0, 0.5), "Too wide")])
def test_a_loser_of_the_wrong_width_is_told_so(
    store: MemoryImageStore, activations: tuple[float, float], said: str
) -> None:
    race = recorded_trace(store).race
    assert race is not None and race.record.winner is not None
    winner, loser = Candidate(name="w", prompts=("striped",)), Candidate(name="l", prompts=("big",))
    yes, no = {"fires": ("fish",)}, {"rests": ("fish",)}
    winner = winner.model_copy(update=yes if said == "Too narrow" else no)
    loser = loser.model_copy(update=no if said == "Too narrow" else yes)
    shots = [Shot(prompt="fish", seed=at, image=None, activation=each) for at, each in enumerate(activations)]
    record = race.record.model_copy(update={"shots": tuple(shots), "rivals": (), "winner": winner})
    again = race.model_copy(update={"candidates": (winner, loser), "record": record})
    view = race_view(again, Pictures(store), threshold=5.0)
    assert view is not None and said in view.rivals[1].why and said not in view.rivals[0].why


def test_a_race_whose_checkpoint_has_gone_keeps_its_figures(store: MemoryImageStore) -> None:
    gone = recorded_trace(store).model_copy(update={"race": None})
    page = Elements(render_trace(gone, store))
    assert "The race" in page.text and "0.930" in page.text and "which is not here" in page.text
    assert race_view(None, Pictures(store), threshold=5.0) is None


def test_nothing_in_the_page_points_outside_it(store: MemoryImageStore) -> None:
    text = render_trace(recorded_trace(store), store)
    page = Elements(text)
    assert {name for name, _ in page.attributes} & {"href", "action", "data", "background", "srcset"} == set()
    assert all(value.startswith("data:image/") for name, value in page.attributes if name == "src")
    assert not re.search(r"url\(|@import|https?://", text)
    assert "default-src 'none'" in text


@pytest.mark.parametrize("payload", PAYLOADS)
def test_what_anyone_wrote_is_shown_as_text(store: MemoryImageStore, payload: str) -> None:
    trace = recorded_trace(store, text=payload)
    for page in (
        Elements(render_trace(trace, store)),
        Elements(render_summary(trace.explanation, store)) if trace.explanation else None,
    ):
        assert page is not None
        assert page.tags <= ALLOWED
        assert not any(name.startswith("on") for name, _ in page.attributes)
        assert payload.replace("\u0000", "\ufffd")[:12] in page.text.replace("\u0000", "\ufffd")
    framed = Elements(render_framed(trace, store))
    assert framed.tags == {"iframe"} and "sandbox" in dict(framed.attributes)


def test_an_unfinished_run_has_a_page(store: MemoryImageStore) -> None:
    whole = recorded_trace(store)
    for events in ((), whole.events[:2], whole.events[:5]):
        page = Elements(render_trace(Trace(run=RUN, events=events), store))
        assert "unfinished" in page.text and "the same command continues it" in page.text


def test_a_node_that_was_repeated_is_shown_once(store: MemoryImageStore) -> None:
    whole = recorded_trace(store)
    repeated = whole.model_copy(update={"events": (*whole.events[:5], *whole.events[3:])})
    assert Elements(render_trace(repeated, store)).text.count("Round 1: draw") == 1


def test_pictures_that_have_gone_leave_a_gap(store: MemoryImageStore) -> None:
    page = Elements(render_trace(recorded_trace(store), MemoryImageStore()))
    assert not any(name == "src" for name, _ in page.attributes)
    assert ("class", "gone") in page.attributes and "11.00" in page.text


def test_a_large_picture_becomes_a_thumbnail() -> None:
    noise = Image.effect_noise((512, 512), 90).convert("RGB")
    assert len(data_url(noise)) < 1.4 * MOST_BYTES
    assert data_url(Image.new("RGB", (64, 64), "red")).startswith("data:image/png;")


def test_the_page_is_written_in_one_step(store: MemoryImageStore, tmp_path: Path) -> None:
    path = write_trace_html(recorded_trace(store), store, path=tmp_path / "new" / "trace.html")
    assert [each.name for each in path.parent.iterdir()] == ["trace.html"]
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("values", "shown"),
    [((), False), ((0.0, 0.0), False), ((float("nan"), 1.0, 2.0), True), ((1e-9,), True), ((1e9, 3.0), True)],
)
def test_a_histogram_is_drawn_of_whatever_is_positive(values: tuple[float, ...], shown: bool) -> None:
    found = plot([Series("control", values)], threshold=0.5)
    assert (found is not None) is shown
    if found is not None:
        _, _, bars, _ = found.lanes[0]
        assert all(0 <= bar.x <= found.width and 0 <= bar.y <= found.height for bar in bars)
        assert 2 <= len(found.ticks) <= 9


@given(highest=st.floats(min_value=1e-30, max_value=1e30))
def test_the_axis_of_a_histogram_has_a_few_round_figures(highest: float) -> None:
    shown = plot([Series("images", (highest,))])
    assert shown is not None and 4 <= len(shown.ticks) <= 9


def test_every_value_of_a_histogram_is_in_one_bar() -> None:
    values = tuple(at / 7 for at in range(101))
    found = plot([Series("control", values)])
    assert found is not None
    assert sum(int(bar.title.split()[0]) for bar in found.lanes[0][2]) == 101


def test_a_dictionary_is_shown_with_its_card() -> None:
    from namesae.dictionaries import Listed

    assert "13 features" in render_dictionary(Listed("<b>x", None, 13, "planted"))
    assert "<b>x" not in render_dictionary(Listed("<b>x", None, 13, "planted"))


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("chromium"), reason="needs chromium (apt install chromium)")
@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_script_runs_in_a_browser(store: MemoryImageStore, tmp_path: Path, payload: str) -> None:
    path = write_trace_html(recorded_trace(store, text=payload), store, path=tmp_path / "trace.html")
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'c'}"]
    told = subprocess.run(
        [*command, "--dump-dom", path.as_uri()], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert "<title>owned" not in told and "sealed judge" in told

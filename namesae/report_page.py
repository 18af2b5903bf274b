"""A report on a dictionary as one HTML file: no script, no request, every text escaped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from evals.thumbnails import MOST, thumbnails
from namesae.lines import plain
from namesae.report_lines import figures, heading, shared_line
from namesae.tiles import page_environment
from sae.whole_file import whole_file
from tools.errors import NamesaeError, UsageError

if TYPE_CHECKING:
    from agent.feature_rows import FeatureRow
    from namesae.dictionary_report import DictionaryReport
    from tools.image_store import ImageStore
    from tools.protocols import Interval

MOST_ROWS = 5_000
"""Features a page lists; more would be slow to open."""
WIDTH = 120
"""Of an interval's bar, in SVG units, AUROC 0 to 1."""


class Line(NamedTuple):
    """A feature in the table."""

    answer: FeatureRow
    picture: str | None
    """Base64 WebP."""
    bar: tuple[float, float, float] | None
    """Low, high and AUROC in SVG units."""


def write_report_page(
    report: DictionaryReport, answers: Sequence[FeatureRow], store: ImageStore, *, path: Path
) -> Path:
    """Write the page in one step and return its path; UsageError where its folder cannot be made."""
    page = render_report(report, answers, store)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(f"{path.parent} is no folder; write the page elsewhere.") from error
    with whole_file(path) as partial:
        partial.write_text(page, encoding="utf-8")
    return path


def render_report(report: DictionaryReport, answers: Sequence[FeatureRow], store: ImageStore) -> str:
    """The page as text."""
    view: dict[str, Any] = {
        "report": report,
        "heading": heading(report),
        "figures": tuple(figures(report)),
        "shared": tuple(plain(shared_line(each)) for each in report.shared),
        "lines": _lines(answers[:MOST_ROWS], store),
        "more": max(0, len(answers) - MOST_ROWS),
        "pictures": MOST,
        "width": WIDTH,
    }
    return page_environment().get_template("dictionary_report.html").render(view)


def _lines(answers: Sequence[FeatureRow], store: ImageStore) -> tuple[Line, ...]:
    icons = (each.icon for each in answers if each.icon is not None)
    carried = thumbnails(icons, lambda image: _png(store, image))
    made = []
    for each in answers:
        place = carried.place(each.icon)
        picture = None if place < 0 else carried.sources[place]
        made.append(Line(each, picture, _bar(each.auroc, each.auroc_ci)))
    return tuple(made)


def _png(store: ImageStore, image: str) -> bytes:
    try:
        return store.png(image)
    except NamesaeError as error:
        # A damaged picture is left out; namesae doctor tells of it.
        raise KeyError(image) from error


def _bar(auroc: float | None, interval: Interval | None) -> tuple[float, float, float] | None:
    if auroc is None or interval is None:
        return None
    return interval.low * WIDTH, interval.high * WIDTH, auroc * WIDTH

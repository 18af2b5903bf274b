"""A report on a dictionary as one HTML file: no script, no request, every text escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from evals.thumbnails import MOST, thumbnails
from namesae.lines import plain
from namesae.report_lines import figures, heading, shared_line
from namesae.tiles import page_environment
from sae.whole_file import whole_file
from tools.errors import NamesaeError, UsageError

if TYPE_CHECKING:
    from namesae.dictionary_report import DictionaryReport
    from namesae.service.feature_query import GridRow
    from tools.image_store import ImageStore
    from tools.protocols import Interval

MOST_ROWS = 5_000
"""Features a page lists; more would be slow to open."""
WIDTH = 120
"""Of an interval's bar, in SVG units, AUROC 0 to 1."""


class Line(NamedTuple):
    """A feature in the table."""

    row: GridRow
    picture: str | None
    """Base64 WebP."""
    bar: tuple[float, float, float] | None
    """Low, high and AUROC in SVG units."""


def write_report_page(
    report: DictionaryReport, rows: Sequence[GridRow], store: ImageStore, *, path: Path
) -> Path:
    """Write the page in one step and return its path; UsageError where its folder cannot be made."""
    page = render_report(report, rows, store)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(f"{path.parent} is no folder; write the page elsewhere.") from error
    with whole_file(path) as partial:
        partial.write_text(page, encoding="utf-8")
    return path


def render_report(report: DictionaryReport, rows: Sequence[GridRow], store: ImageStore) -> str:
    """The page as text."""
    view: dict[str, Any] = {
        "report": report,
        "heading": heading(report),
        "figures": tuple(figures(report)),
        "shared": tuple(plain(shared_line(each)) for each in report.shared),
        "lines": _lines(rows[:MOST_ROWS], store),
        "more": max(0, len(rows) - MOST_ROWS),
        "pictures": MOST,
        "width": WIDTH,
    }
    return page_environment().get_template("dictionary_report.html").render(view)


def _lines(rows: Iterable[GridRow], store: ImageStore) -> tuple[Line, ...]:
    shown = [(row, row.answer) for row in rows if row.answer is not None]
    carried = thumbnails(
        (answer.icon for _, answer in shown if answer.icon is not None), lambda image: _png(store, image)
    )
    made = []
    for row, answer in shown:
        place = carried.place(answer.icon)
        picture = None if place < 0 else carried.sources[place]
        made.append(Line(row, picture, _bar(answer.auroc, answer.auroc_ci)))
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

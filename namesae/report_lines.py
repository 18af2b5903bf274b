"""A report on a dictionary in lines of text. Pure functions; imports no torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from namesae.lines import GAP, percent, plain

if TYPE_CHECKING:
    from namesae.dictionary_report import DictionaryReport, Quartiles, SharedName

SHARED, HOLDERS = 10, 8
"""Shared names that are shown, and features of each; --json has them all."""


def report_lines(report: DictionaryReport) -> Iterator[str]:
    """Verdicts, how well the names hold, what they cost, names that several features share."""
    yield plain(heading(report))
    for each in report.verdicts:
        yield f"  {each.verdict:<16}{each.count:>7,}{GAP}{percent(each.count / report.answered)}"
    for words, figure in figures(report):
        yield plain(f"  {words:<16}{figure}")
    if report.shared:
        yield f"Names that several features have: {len(report.shared):,}"
        yield from (f"  {plain(shared_line(each))}" for each in report.shared[:SHARED])
        if len(report.shared) > SHARED:
            yield f"  and {len(report.shared) - SHARED:,} more"


def heading(report: DictionaryReport) -> str:
    """How far it is named."""
    return (
        f"{report.dictionary}: {report.answered:,} of {report.n_features:,} features "
        f"({percent(report.coverage)}) have a verdict, {report.named:,} a name."
    )


def figures(report: DictionaryReport) -> Iterator[tuple[str, str]]:
    """(what, figure) of all that is known."""
    if report.failed:
        yield "no verdict", f"{report.failed:,} more whose runs failed or were stopped"
    if report.auroc is not None:
        yield "sealed AUROC", f"{_spread(report.auroc, '.2f')} of {report.auroc.features:,} named"
    if report.interval is not None:
        yield "its interval", f"{_spread(report.interval, '.2f')} wide; {report.at_chance:,} reach chance"
    if report.confidence is not None:
        yield "confidence", _spread(report.confidence, ".2f")
    if report.search_images is not None:
        yield "search images", f"{_spread(report.search_images, '.0f')} a feature"
    if report.usd is None or report.usd > 0:
        yield "dollars", "price unknown" if report.usd is None else f"{report.usd:.4f}"
    yield "proposer", ", ".join(report.proposers)
    yield "reviewed", f"{report.reviewed:,} by a person"
    yield "made", " to ".join(dict.fromkeys((report.first[:10], report.last[:10])))


def shared_line(each: SharedName) -> str:
    """A name and who has it."""
    shown = ", ".join(f"#{index}" for index in each.features[:HOLDERS])
    more = f" and {len(each.features) - HOLDERS:,} more" if len(each.features) > HOLDERS else ""
    return f"{each.name}: {shown}{more}"


def _spread(told: Quartiles, form: str) -> str:
    return f"median {told.median:{form}}, middle half {told.low:{form}} to {told.high:{form}}"

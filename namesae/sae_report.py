"""The report on a dictionary: an HTML file without a request or a script, its record and its tables."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import jinja2
import numpy as np

import evals
from evals.forest_plot import bar
from evals.table import Table, csv_text
from namesae.sae_measuring import Outcome
from namesae.sae_plots import plots
from namesae.sae_tables import classes, explained, heading, interval_of, matching, scores, substitutions
from sae.measures.evaluating import Details
from sae.measures.findings import Evaluation
from sae.whole_file import whole_file
from tools.page_templates import page_templates

TEMPLATES = Path(__file__).with_name("templates")
HOUSE = Path(evals.__file__ or "").with_name("templates")
"""Of the evaluations' reports, whose style and tables are used."""


class ReportFiles(NamedTuple):
    """Where a report lies."""

    html: Path
    record: Path
    features: Path
    tables: tuple[Path, ...]


def write_report(outcome: Outcome, folder: Path) -> ReportFiles:
    """report.html, evaluation.json, features.csv and a CSV file for each table; each whole or absent."""
    folder.mkdir(parents=True, exist_ok=True)
    evaluation = outcome.evaluation
    tables = []
    for table in filled_tables(evaluation):
        tables.append(folder / f"{table.name}.csv")
        _write(tables[-1], csv_text(table))
    features, record, html = (folder / name for name in ("features.csv", "evaluation.json", "report.html"))
    _write(features, features_csv(outcome.details))
    _write(html, render_html(outcome))
    _write(record, evaluation.model_dump_json(indent=1) + "\n")
    return ReportFiles(html, record, features, tuple(tables))


def render_html(outcome: Outcome) -> str:
    """The page as text."""
    evaluation = outcome.evaluation
    own = evaluation.findings[0]
    view = {
        "evaluation": evaluation,
        "own": own,
        "heading": heading(evaluation),
        "summary": summary(evaluation),
        "facts": facts(evaluation),
        "scores": scores(evaluation),
        "explained": explained(evaluation),
        "substitutions": substitutions(evaluation),
        "classes": classes(evaluation),
        "matching": matching(evaluation),
        "plots": plots(evaluation, outcome.details),
    }
    return _environment().get_template("sae_report.html").render(view)


def filled_tables(evaluation: Evaluation) -> tuple[Table, ...]:
    """Those that have a line."""
    found = (each(evaluation) for each in (scores, explained, substitutions, classes, matching))
    return tuple(table for table in found if table.lines)


def features_csv(details: Details) -> str:
    """A line a feature; empty where something cannot be told."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = ("density", "images", "mean", "highest", "monosemanticity", "nearest")
    writer.writerow(["feature", *names])
    for feature, row in enumerate(zip(*(getattr(details, name) for name in names), strict=True)):
        writer.writerow([feature, *_cells(row)])
    return out.getvalue()


def summary(evaluation: Evaluation) -> str:
    """What a reader should know first, in one or two sentences."""
    own = evaluation.findings[0]
    fvu, l0, dead = own.fidelity.fvu.value, own.activity.l0.value, own.activity.dead.value
    parts = [] if fvu is None else [f"It leaves {fvu:.1%} of the variance unexplained"]
    parts += [] if l0 is None else [f"with {l0:.1f} active features a token"]
    parts += [] if dead is None else [f"and {dead:.1%} of its features dead"]
    said = f"{' '.join(parts)} on these images." if parts else "Nothing varies in these activations."
    whole = next((each for each in evaluation.substitutions if each.tokens == "all"), None)
    if whole is None:
        return said
    row = next(row for row in whole.rows if row.what == "dictionary")
    if row.drop.value is None or row.top1.value is None:
        return said
    way = "read by class texts" if whole.templates else "its own classes"
    lost = f"{100 * row.drop.value:.1f} points less than untouched"
    right = f"the model is right on {row.top1.value:.1%} ({way}), {lost}"
    return f"{said} With reconstructions in the place of all tokens {right}."


def facts(evaluation: Evaluation) -> tuple[tuple[str, str], ...]:
    """What was measured, on what."""
    n_classes = len(evaluation.classes)
    return (
        ("Architecture", evaluation.architecture + ("" if evaluation.k is None else f", k {evaluation.k}")),
        ("Features", f"{evaluation.n_features:,} of width {evaluation.width:,}"),
        ("Hook point", f"{evaluation.hook_point} of {evaluation.backbone}"),
        ("Pooling", evaluation.pooling),
        ("Images", f"{evaluation.n_images:,} of {evaluation.images}"),
        ("Tokens of an image", f"{evaluation.tokens:,}"),
        ("Classes", f"{n_classes:,}" if n_classes else "none"),
        ("Images alike as seen by", evaluation.findings[0].meaning.encoder),
        ("Seed", str(evaluation.seed)),
    )


def _environment() -> jinja2.Environment:
    environment = page_templates(TEMPLATES)
    environment.loader = jinja2.FileSystemLoader([TEMPLATES, HOUSE])
    environment.filters["interval"] = interval_of
    environment.filters["bar"] = lambda entry: "" if entry.interval is None else bar(entry.interval)
    return environment


def _cells(row: Iterable[float]) -> list[str]:
    return [f"{value:.6g}" if np.isfinite(value) else "" for value in row]


def _write(path: Path, text: str) -> None:
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")

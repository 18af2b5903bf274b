"""The report as one HTML file: no request, every text escaped, and readable where scripts do not run."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from evals import report_tables, report_trust
from evals.batch_table import batch_costs
from evals.cell import Cell
from evals.cell_details import FIGURES, details, inert_json
from evals.cell_result import SIGNS, Result
from evals.contenders import EVERYTHING, Contender, groups_of
from evals.feature_table import DISAGREEMENTS, by_feature, features_table
from evals.forest_plot import bar
from evals.plots import plots
from evals.report_ablations import ablations
from evals.report_words import commands, facts, summary
from evals.scoreboard import Scoreboard
from evals.table import Line, Table, interval_text
from evals.thumbnails import SIZE, Picture, thumbnails, wanted
from sae.feature import Feature
from tools.page_templates import page_templates

TEMPLATES = Path(__file__).with_name("templates")
SCRIPTS = ("report.js", "report_details.js")


def render_html(
    board: Scoreboard, cells: Sequence[Cell], shown: Sequence[Contender], *, picture: Picture
) -> str:
    """The page as text."""
    features = by_feature(cells)
    script = "".join((TEMPLATES / name).read_text(encoding="utf-8") for name in SCRIPTS)
    view = {
        "script": Markup(script),
        "script_hash": _hash(script),
        **_figures(board, shown),
        **_features(features, shown, picture),
        "plots": plots(board, features, shown),
    }
    return _environment().get_template("report.html.j2").render(view)


def _environment() -> jinja2.Environment:
    environment = page_templates(TEMPLATES)
    environment.filters["interval"] = interval_text
    environment.filters["bar"] = lambda entry: "" if entry.interval is None else bar(entry.interval)
    environment.filters["sign"] = _sign
    return environment


def _hash(script: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _sign(mark: str) -> str:
    return next(sign for result, sign in SIGNS.items() if result == mark.removesuffix(", weak"))


def _figures(board: Scoreboard, shown: Sequence[Contender]) -> dict[str, Any]:
    whole = report_tables.leaderboard(board)
    return {
        "board": board,
        "summary": summary(board, shown),
        "facts": facts(board),
        "commands": commands(board),
        "leaderboard": whole,
        "groups": tuple((group, _parts(whole, group)) for group in groups_of(board)),
        "everything": EVERYTHING,
        "quoted": report_tables.quoted(board),
        "differences": report_tables.differences(board),
        "ablations": ablations(board),
        "by_kind": report_tables.by_kind(board, shown),
        "verdicts": report_tables.verdicts(board),
        "coverage": report_trust.coverage(board),
        "calibration": report_trust.calibration(board),
        "calibration_errors": report_trust.calibration_errors(board),
        "costs": report_tables.costs(board),
        "batches": batch_costs(board),
        "sanity": report_tables.sanity(board),
    }


def _parts(whole: Table, group: str) -> tuple[tuple[str, tuple[Line, ...]], ...]:
    """The lines of a group: those that compete, and the controls apart."""
    lines = [line for line in whole.lines if line.group == group]
    parts = {
        "Methods": tuple(line for line in lines if line.role != "control"),
        "Controls": tuple(line for line in lines if line.role == "control"),
    }
    return tuple((part, found) for part, found in parts.items() if found)


def _features(
    features: Mapping[Feature, Mapping[str, Cell]], shown: Sequence[Contender], picture: Picture
) -> dict[str, Any]:
    carried = thumbnails(wanted(features, shown), picture)
    told = details(features, shown, carried=carried)
    table = features_table(features, shown)
    results: tuple[Result, ...] = tuple(SIGNS)
    return {
        "features": table,
        "kinds": sorted({line.group for line in table.lines if line.group}),
        "disagreements": DISAGREEMENTS,
        "legend": tuple((SIGNS[result], result) for result in results if SIGNS[result]),
        "details": tuple(Markup(text) for text in told.texts),
        "kept": told,
        "carried": len(carried.sources),
        "thumbnails": Markup(inert_json(list(carried.sources))),
        "page": Markup(
            inert_json(
                {
                    "conditions": [[each.condition, each.title, each.role] for each in shown],
                    "figures": list(FIGURES),
                    "signs": {result: SIGNS[result] for result in results},
                    "size": SIZE,
                }
            )
        ),
    }

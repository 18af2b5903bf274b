"""The report of an evaluation on disk: a page, a text, and every table of them as CSV and JSON lines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from evals.batch_table import batch_costs
from evals.cell import Cell
from evals.contenders import contenders
from evals.feature_table import by_feature, features_table
from evals.report_html import render_html
from evals.report_markdown import render_markdown
from evals.report_tables import differences, leaderboard
from evals.scoreboard import Scoreboard
from evals.table import csv_text, jsonl_text
from evals.thumbnails import Picture
from sae.whole_file import whole_file


class ReportFiles(NamedTuple):
    """Where the report lies."""

    html: Path
    markdown: Path
    tables: tuple[Path, ...]
    """CSV and JSON lines of leaderboard, features, differences and, where there is a batch, its costs."""


def write_report(board: Scoreboard, cells: Sequence[Cell], out: Path, *, picture: Picture) -> ReportFiles:
    """Write every file of the report into a folder, each whole or not at all.

    ``picture`` gives an image's PNG bytes by id; one that is missing (KeyError) or unreadable leaves a gap.
    """
    out.mkdir(parents=True, exist_ok=True)
    shown = contenders(board)
    tables = [leaderboard(board), features_table(by_feature(cells), shown), differences(board)]
    tables += [batch_costs(board)] if board.batches else []
    written = [
        _write(out / f"{table.name}.{ending}", text)
        for table in tables
        for ending, text in (("csv", csv_text(table)), ("jsonl", jsonl_text(table)))
    ]
    return ReportFiles(
        _write(out / "report.html", render_html(board, cells, shown, picture=picture)),
        _write(out / "report.md", render_markdown(board, shown)),
        tuple(written),
    )


def _write(path: Path, text: str) -> Path:
    with whole_file(path) as partial:
        # Not write_text: a carriage return in a name would be read back as a line's end.
        partial.write_bytes(text.encode("utf-8"))
    return path

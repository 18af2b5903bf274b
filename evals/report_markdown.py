"""The report as Markdown: what a page of a repository or an issue can hold."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from evals import report_tables, report_trust
from evals.contenders import Contender
from evals.report_ablations import ablations
from evals.report_words import commands, facts, summary
from evals.scoreboard import Scoreboard
from evals.table import Table, markdown_escaped, markdown_text

WIDTH = 118
MAIN = (
    *("title", "accuracy", "named_share", "precision", "abstention", "auroc", "activation_rate", "auprc"),
    *("f1", "correlation", "specificity", "charged", "llm_calls", "usd", "failed"),
)
"""Columns of the leaderboard that a text shows; the CSV beside it has them all."""
MARKER = re.compile(r"[^\w(&\"']|\d+[.)]$")
"""What a line must not begin with: it would be a list, a title or a rule."""


def render_markdown(board: Scoreboard, shown: Sequence[Contender]) -> str:
    """The whole text; a section that has nothing to say is left out."""
    main = report_tables.main_board(board)
    methods = main._replace(lines=tuple(line for line in main.lines if line.role != "control"))
    controls = main._replace(lines=tuple(line for line in main.lines if line.role == "control"))
    parts = [
        f"# Evaluation: {markdown_escaped(board.suite)}",
        _wrapped(markdown_escaped(board.description)),
        _wrapped(markdown_escaped(summary(board, shown))),
        _listed("What is missing", board.missing),
        _listed("Notes", board.notes),
        _section("Leaderboard", methods, keys=MAIN),
        _section("Controls", controls, keys=MAIN),
        _section("Ablations", ablations(board)),
        _section("Differences", report_tables.differences(board)),
        _section("Accuracy by kind", report_tables.by_kind(board, shown)),
        _section("Right verdict", report_tables.verdicts(board)),
        _section("Calibration", report_trust.calibration_errors(board)),
        _section("Can the metrics be trusted?", report_tables.sanity(board)),
        _section("Quoted, other features", report_tables.quoted(board)),
        _section("Cost", report_tables.costs(board)),
        _totals(board),
        "## Again\n\n```sh\n" + "\n".join(commands(board)) + "\n```",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _section(title: str, table: Table, *, keys: Collection[str] | None = None) -> str:
    if not table.lines:
        return ""
    return f"## {title}\n\n{table.caption}.\n\n{markdown_text(table, keys=keys)}"


def _listed(title: str, sentences: Sequence[str]) -> str:
    if not sentences:
        return ""
    items = (_wrapped(markdown_escaped(each), first="- ", rest="  ") for each in sentences)
    return f"## {title}\n\n" + "\n".join(items)


def _totals(board: Scoreboard) -> str:
    lines = (f"- {word}: {markdown_escaped(value)}" for word, value in facts(board))
    return "## Totals\n\n" + "\n".join(lines)


def _wrapped(text: str, *, first: str = "", rest: str = "") -> str:
    # Not textwrap: it would break a word that is too long, and an escape with it.
    lines, line = [], first
    for word in text.split():
        if len(line) + len(word) > WIDTH and not MARKER.match(word) and line.strip() not in ("", "-"):
            lines.append(line.rstrip())
            line = rest
        line += word + " "
    return "\n".join([*lines, line.rstrip()]).rstrip()

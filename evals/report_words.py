"""A report in a sentence, and how to make it again."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from evals.contenders import EVERYTHING, Contender, is_variant, rivals
from evals.figure_text import finite, interval, number, p_text, with_interval
from evals.scoreboard import Difference, Figure, Scoreboard
from evals.suite import built_in_suites


def summary(board: Scoreboard, shown: Sequence[Contender]) -> str:
    """What came of it, from the figures alone."""
    ours = next((each for each in shown if each.role == "ours"), None)
    best = next((each for each in rivals(shown) if not is_variant(each.condition)), None)
    first = ours or best
    if first is None:
        return "No condition has an answer yet."
    sentence = f"{_titled(first)} {_achieved(first)}"
    if ours is None or best is None:
        return sentence + "."
    return f"{sentence}; the best rival, {best.title}, {_achieved(best)}{_difference(board, best)}."


def _titled(each: Contender) -> str:
    # A name is written as it is written.
    is_name = each.title.startswith("namesae")
    return each.title if is_name else each.title[:1].upper() + each.title[1:]


def _achieved(each: Contender) -> str:
    images = number(each.row.charged, 0)
    accuracy = each.row.accuracy
    if finite(accuracy.value) is None:
        return f"reaches an AUROC of {with_interval(each.row.auroc)} at {images} images a feature"
    return f"names {_share(accuracy)} at {images} images a feature"


def _share(figure: Figure) -> str:
    right = round((figure.value or 0.0) * figure.n)
    ends = f"{number(figure.value)} {interval(figure)}".rstrip()
    return f"{right} of {figure.n} features right ({ends})"


def _difference(board: Scoreboard, best: Contender) -> str:
    found = next((each for each in board.differences if _is_main(each, best.condition)), None)
    if found is None or finite(found.estimate.value) is None:
        return ""
    p = f", p = {p_text(found.p_corrected)} after Holm".replace("= <", "< ") if found.p_corrected else ""
    return f"; the difference is {with_interval(found.estimate)}{p}"


def _is_main(each: Difference, theirs: str) -> bool:
    return each.measure == "accuracy" and each.group == EVERYTHING and each.theirs == theirs


def facts(board: Scoreboard) -> tuple[tuple[str, str], ...]:
    """What was evaluated, in pairs of a word and its value."""
    totals = board.totals
    return (
        ("Suite", f"{board.suite} (version {board.version})"),
        ("Features", str(totals.features)),
        ("Cells", f"{totals.cells} of {totals.expected}"),
        ("Sealed images a name", str(board.sealed)),
        ("Control images", str(board.control)),
        ("Proposer", board.proposer),
        ("Seed", str(board.seed)),
        ("Images", f"{totals.charged:,} charged, {totals.distinct:,} distinct; {totals.judged:,} judged"),
        ("Time", f"{number(totals.seconds, 0)} s"),
    )


def commands(board: Scoreboard) -> tuple[str, ...]:
    """How to make the same report again."""
    source = board.suite if board.suite in built_in_suites() else f"{board.suite}.toml"
    return (
        f"namesae evals run {shlex.quote(source)} --out evals-out",
        "namesae evals report evals-out",
    )

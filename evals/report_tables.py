"""The tables of a report, each built once from the scoreboard and then written in any format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import NamedTuple

from evals.contenders import CONTROLS, EVERYTHING, Contender, groups_of, in_order, ours_of, role_of
from evals.figure_text import finite, p_text
from evals.scoreboard import Figure, Row, Scoreboard
from evals.table import Column, Entry, Line, Table, figure_entry, number_entry, text_entry

KIND = "kind: "
"""How the groups of one kind of truth begin."""


class _Told(NamedTuple):
    """A column of the leaderboard and how it is read."""

    column: Column
    read: Callable[[Row], Entry]


def _figure(key: str, label: str, hint: str, *, minor: bool = False) -> _Told:
    read = attrgetter(key)
    return _Told(
        Column(key, label, "figure", hint, minor, key == "accuracy"), lambda row: figure_entry(read(row))
    )


def _number(key: str, label: str, hint: str, *, digits: int = 0, minor: bool = False) -> _Told:
    read = attrgetter(key)
    return _Told(Column(key, label, "number", hint, minor), lambda row: number_entry(read(row), digits))


LEADERBOARD: tuple[_Told, ...] = (
    _Told(Column("title", "Condition", "text"), lambda row: text_entry(row.title)),
    _figure("accuracy", "Accuracy", "Share of features with a true concept whose name is right"),
    _figure("named_share", "Named", "Share of all features for which a name is put forward"),
    _figure("precision", "Precision", "Share right among the names put forward"),
    _figure("abstention", "Abstention", "Share of features without a concept rightly left without a name"),
    _figure("auroc", "AUROC", "CoSy: activations on sealed images of the name against control images"),
    _figure("max_mad", "max-MAD", "CoSy: difference of means in units of the control's maximum"),
    _figure("activation_rate", "Fires", "Activation rate: share of the name's sealed images that fire"),
    _figure("auprc", "AUPRC", "Activation against the name's label on held-out images"),
    _figure("f1", "F1", "At the best cut of the activation on held-out images"),
    _figure("correlation", "Corr.", "Pearson's, of activation and label on held-out images"),
    _figure("specificity", "Specificity", "How often the feature fires above its nearest neighbours"),
    _figure("optimism", "Optimism", "Search AUROC less sealed AUROC"),
    _figure("collisions", "Collisions", "Share of names another feature with another concept has too"),
    _number("charged", "Images", "Mean images charged to the search, a feature", digits=1),
    _number("verdict_images", "Own judge", "Mean images its own judge asked for beside them", digits=1),
    _number("distinct", "Distinct", "Different images asked for, over all features"),
    _number("llm_calls", "LLM calls", "Mean a feature", digits=1),
    _number("tokens", "Tokens", "Mean a feature"),
    _number("usd", "$", "Mean a feature", digits=4),
    _number("seconds", "Seconds", "Mean a feature, as measured here", digits=1),
    _number("failed", "Failed", "Counted here and in no mean"),
    _number("features", "Features", "Asked of it", minor=True),
    _number("named", "Names", "Names put forward", minor=True),
    _number("abstained", "Abstained", "No name put forward", minor=True),
    _figure("exact", "Exact", "Same words as the true concept", minor=True),
    _figure("synonym", "Synonym", "Same words once synonyms are replaced", minor=True),
    _figure("similarity", "Similarity", "Cosine of sentence embeddings of name and concept", minor=True),
    _figure("mad", "MAD", "CoSy: in deviations of the control; median", minor=True),
    _figure("iou", "IoU", "At the cut of F1", minor=True),
)


def leaderboard(board: Scoreboard) -> Table:
    """Every condition in every group; the group comes last, as a column of its own."""
    ours = ours_of(board)
    lines = tuple(
        Line(
            (*(told.read(row) for told in LEADERBOARD), text_entry(row.condition), text_entry(group)),
            role_of(row.condition, ours),
            group,
        )
        for group in groups_of(board)
        for row in in_order(board, group)
    )
    columns = (
        *(told.column for told in LEADERBOARD),
        Column("condition", "Id", "text", "What the command line calls it", True),
        Column("group", "Group", "text", "", True),
    )
    return Table("leaderboard", "How good the names are, and what they cost", columns, lines)


def main_board(board: Scoreboard) -> Table:
    """The leaderboard over all features alone."""
    whole = leaderboard(board)
    return whole._replace(lines=tuple(line for line in whole.lines if line.group == EVERYTHING))


def differences(board: Scoreboard) -> Table:
    """Ours less each other, paired by feature."""
    titles = {row.condition: row.title for row in board.rows}
    columns = (
        Column("measure", "Measure", "text"),
        Column("group", "Group", "text"),
        Column("ours", "Ours", "text"),
        Column("theirs", "Theirs", "text"),
        Column("estimate", "Difference", "figure", "Ours less theirs, paired by feature"),
        Column("n", "n", "number", "Features both answered"),
        Column("p", "p", "number", "Two-sided: exact McNemar for shares, Wilcoxon signed-rank else"),
        Column("p_corrected", "p, Holm", "number", "Over all comparisons of one measure and group"),
    )
    lines = tuple(
        Line(
            (
                text_entry(each.measure),
                text_entry(each.group),
                text_entry(titles.get(each.ours, each.ours)),
                text_entry(titles.get(each.theirs, each.theirs)),
                figure_entry(each.estimate),
                number_entry(each.estimate.n),
                Entry(p_text(each.p), finite(each.p)),
                Entry(p_text(each.p_corrected), finite(each.p_corrected)),
            ),
            "control" if each.theirs in CONTROLS else "",
            each.group,
        )
        for each in board.differences
    )
    return Table("differences", "Ours less theirs, paired by feature", columns, lines)


def by_kind(board: Scoreboard, shown: Sequence[Contender]) -> Table:
    """Accuracy of every condition on every kind of truth."""
    kinds = [group for group in groups_of(board) if group.startswith(KIND)]
    known = {(row.condition, row.group): row.accuracy for row in board.rows}
    columns = (
        Column("title", "Condition", "text"),
        *(Column(kind, kind.removeprefix(KIND), "figure") for kind in kinds),
    )
    lines = tuple(
        Line(
            (
                text_entry(each.title),
                *(figure_entry(known.get((each.condition, kind), Figure(value=None))) for kind in kinds),
            ),
            each.role,
        )
        for each in shown
    )
    return Table("by_kind", "Accuracy by kind of truth", columns, lines if kinds else ())


def verdicts(board: Scoreboard) -> Table:
    """How often a condition that abstains says why."""
    kinds = {
        "dead": "Called dead",
        "dense": "Called dense",
        "incoherent": "Called unexplained: no words describe them",
        "undrawable": "Called unrenderable: the generator does not show their concept",
        "lost": "Features with a concept that can be drawn, and no name",
    }
    columns = (
        Column("title", "Condition", "text"),
        *(Column(kind, kind, hint=hint) for kind, hint in kinds.items()),
    )
    lines = tuple(
        Line((text_entry(each.title), *(figure_entry(getattr(each, kind)) for kind in kinds)))
        for each in board.verdicts
        if any(getattr(each, kind).n for kind in kinds)
    )
    return Table("verdicts", "Right verdict by kind, and good features lost to abstention", columns, lines)


def sanity(board: Scoreboard) -> Table:
    """How far each metric can be trusted."""
    columns = (
        Column("metric", "Metric", "text"),
        Column("missing", "Missing labels", hint="Share of features where hiding labels lowers the metric"),
        Column("extra", "Extra labels", hint="Share of features where false labels lower the metric"),
    )
    lines = tuple(
        Line((text_entry(each.metric), figure_entry(each.missing), figure_entry(each.extra)))
        for each in board.sanity
    )
    return Table(
        "sanity", "How often a metric passes the missing-label and extra-label tests", columns, lines
    )


def quoted(board: Scoreboard) -> Table:
    """Figures published by others on other features."""
    columns = (
        Column("label", "Method", "text"),
        Column("measure", "Measure", "text"),
        Column("value", "Value", "number"),
        Column("source", "Source", "text"),
        Column("note", "Note", "text"),
    )
    lines = tuple(
        Line(
            (
                text_entry(each.label),
                text_entry(each.measure),
                number_entry(each.value, 2),
                text_entry(each.source),
                text_entry(each.note),
            )
        )
        for each in board.quoted
    )
    return Table(
        "quoted",
        "Figures published by others, on other features and models: never compared with ours",
        columns,
        lines,
    )


def costs(board: Scoreboard) -> Table:
    """Accuracy when every search is stopped early."""
    columns = (
        Column("title", "Condition", "text"),
        Column("images", "Images", "number"),
        Column("accuracy", "Accuracy"),
    )
    lines = tuple(
        Line((text_entry(curve.title), number_entry(point.images), figure_entry(point.accuracy)))
        for curve in board.costs
        for point in curve.points
    )
    return Table("costs", "Accuracy when every search is stopped at so many images", columns, lines)

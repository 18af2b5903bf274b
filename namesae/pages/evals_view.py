"""An evaluation laid out for its pages: leaderboard, plots, features, and one cell with its steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from markupsafe import Markup

from evals.answer import Step
from evals.cell import Cell, Judged
from evals.cell_result import is_weak, result_of
from evals.contenders import EVERYTHING, Contender, contenders, groups_of
from evals.feature_table import DISAGREEMENTS, by_feature, features_table
from evals.figure_text import NONE, interval, number, p_text, with_interval
from evals.forest_plot import bar
from evals.plot_axes import Scale, dot, line, text, tick_text
from evals.plots import accuracy_plot, cost_plot
from evals.report_tables import differences
from evals.report_words import facts, summary
from evals.scoreboard import Figure, Scoreboard
from evals.step_choice import best_steps
from evals.table import Entry, Line, Table, interval_text
from namesae.pages.search_steps import Shown
from sae.feature import Feature
from tools.errors import UsageError
from tools.protocols import Interval

if TYPE_CHECKING:
    from namesae.service.evaluations import Evaluations

STEPS = 12
"""Of a search, that are shown: its best ones, in their order."""
IMAGES = 8
"""Of a step or a judge."""


class BoardView(NamedTuple):
    """An evaluation, laid out."""

    board: Scoreboard
    summary: str
    facts: tuple[tuple[str, str], ...]
    leaderboard: Table
    parts: tuple[tuple[str, tuple[Line, ...]], ...]
    """The lines that compete, and the controls apart."""
    groups: tuple[str, ...]
    contenders: tuple[Contender, ...]
    ours: str
    """What is compared first."""
    rival: str
    """With what."""
    differences: Table
    """Of accuracy over all features."""
    accuracy: Markup | None
    costs: Markup | None
    features: Table
    """Those that the flag lets through."""
    of: tuple[Feature, ...]
    """The feature of each line."""
    flags: tuple[tuple[str, str], ...]


class CellView(NamedTuple):
    """What one condition said of one feature."""

    cell: Cell
    result: str
    weak: bool
    figures: tuple[tuple[str, str], ...]
    steps: tuple[tuple[int, Step, tuple[Shown, ...]], ...]
    """(number, step, its images)."""
    left_out: int
    """Steps that are not shown."""
    judged: tuple[Shown, ...]
    """Strongest first."""


def board_view(evaluations: Evaluations, evaluation: str, *, group: str, flag: str) -> BoardView:
    """``flag``: one of DISAGREEMENTS, or '' for every feature. UsageError, NotFound."""
    if flag and flag not in DISAGREEMENTS:
        raise UsageError(f"There is no filter {flag[:20]!r}; there are {', '.join(DISAGREEMENTS)}.")
    board, cells = evaluations.board(evaluation), evaluations.cells(evaluation)
    shown = contenders(board)
    found = by_feature(cells)
    ours = next((each.condition for each in shown if each.role == "ours"), shown[0].condition)
    whole = features_table(found, shown)
    kept = [
        (line, feature)
        for line, feature in zip(whole.lines, found, strict=True)
        if not flag or flag in line.flags
    ]
    leaders = evaluations.leaderboard(evaluation, group=group)
    return BoardView(
        board=board,
        summary=summary(board, shown),
        facts=facts(board),
        leaderboard=leaders,
        parts=_parts(leaders),
        groups=groups_of(board),
        contenders=shown,
        ours=ours,
        rival=next((each.condition for each in shown if each.condition != ours), ours),
        differences=_main(differences(board)),
        accuracy=accuracy_plot(shown),
        costs=cost_plot(board, shown),
        features=whole._replace(lines=tuple(line for line, _ in kept)),
        of=tuple(feature for _, feature in kept),
        flags=tuple(DISAGREEMENTS.items()),
    )


def cell_view(cell: Cell) -> CellView:
    """A cell with the best of its steps."""
    answer = cell.answer
    best = sorted(best_steps(answer.steps, STEPS))
    return CellView(
        cell=cell,
        result=result_of(cell),
        weak=is_weak(cell),
        figures=_figures(cell),
        steps=tuple((at + 1, answer.steps[at], _images(answer.steps[at])) for at in best),
        left_out=len(answer.steps) - len(best),
        judged=_judged(cell.judged),
    )


def bar_of(entry: Entry) -> Markup:
    """The interval of a figure, small enough to stand in a table."""
    return Markup("") if entry.interval is None else bar(entry.interval, width=88, height=12)


def column_of(table: Table, key: str) -> int:
    """Where a column stands."""
    return next(at for at, column in enumerate(table.columns) if column.key == key)


def _parts(table: Table) -> tuple[tuple[str, tuple[Line, ...]], ...]:
    parts = {
        "Methods": tuple(line for line in table.lines if line.role != "control"),
        "Controls": tuple(line for line in table.lines if line.role == "control"),
    }
    return tuple((part, lines) for part, lines in parts.items() if lines)


def _main(table: Table) -> Table:
    measure, group = column_of(table, "measure"), column_of(table, "group")
    lines = tuple(
        line
        for line in table.lines
        if line.entries[measure].value == "accuracy" and line.entries[group].value == EVERYTHING
    )
    return table._replace(lines=lines)


def _figures(cell: Cell) -> tuple[tuple[str, str], ...]:
    answer, judged = cell.answer, cell.judged or Judged()
    told = [
        ("Verdict", answer.verdict or NONE),
        ("Confidence", number(answer.confidence)),
        ("Sealed AUROC", NONE if judged.cosy is None else _ends(judged.cosy.auroc, judged.cosy.auroc_ci)),
        (
            "Fires on drawn",
            NONE
            if judged.cosy is None
            else _ends(judged.cosy.activation_rate, judged.cosy.activation_rate_ci),
        ),
        ("AUPRC on labels", NONE if judged.recall is None else number(judged.recall.auprc)),
        ("F1 on labels", NONE if judged.recall is None else number(judged.recall.f1)),
        ("Specificity", number(judged.specificity)),
        ("Images", f"{answer.images:,}"),
        ("LLM calls", f"{answer.cost.llm_calls:,}"),
        ("$", number(answer.cost.usd, 4)),
        ("Seconds", number(answer.cost.seconds, 1)),
    ]
    return tuple((label, text) for label, text in told if text != NONE)


def _ends(value: float, ends: Interval) -> str:
    return with_interval(Figure(value=value, low=ends.low, high=ends.high))


def _images(step: Step) -> tuple[Shown, ...]:
    values: Sequence[float | None] = (*step.activations, *[None] * len(step.images))
    pairs = list(zip(step.images, values, strict=False))[:IMAGES]
    return tuple(Shown(image, value, False) for image, value in pairs)


def _judged(judged: Judged | None) -> tuple[Shown, ...]:
    if judged is None:
        return ()
    pairs = sorted(zip(judged.images, judged.activations, strict=False), key=lambda each: -each[1])
    return tuple(Shown(image, value, False) for image, value in pairs[:IMAGES])


def interval_words(entry: Entry) -> str:
    """[lo, hi] of a figure, else empty."""
    return interval_text(entry)


def signed(figure: Figure) -> str:
    """A difference with its sign."""
    text = number(figure.value)
    return f"+{text}" if (figure.value or 0.0) > 0 else text


def difference_plot(figure: Figure) -> Markup:
    """A difference with its interval on the scale from -1 to 1; decoration only."""
    if figure.value is None:
        return Markup("")
    scale = Scale(-1.0, 1.0, 14, 506)
    low, high = figure.low, figure.high
    parts = [
        line((14, 26), (506, 26), "line"),
        line((scale(0), 8), (scale(0), 44), "zero"),
        *(text((scale(at), 60), tick_text(at), anchor="middle") for at in (-1.0, -0.5, 0.0, 0.5, 1.0)),
    ]
    if low is not None and high is not None:
        parts.append(line((scale(low), 26), (scale(high), 26), "ci"))
    parts.append(dot((scale(figure.value), 26), 6.5, "at"))
    head = Markup('<svg class="axis-plot" viewBox="0 0 520 66" aria-hidden="true">')
    return head + Markup("").join(parts) + Markup("</svg>")


FILTERS = {
    "interval_svg": bar_of,
    "interval_words": interval_words,
    "signed": signed,
    "ends": interval,
    "p_words": p_text,
    "difference_svg": difference_plot,
}
"""What the templates of evaluations use beside those of all pages."""

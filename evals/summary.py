"""From cells to the scoreboard: every figure of every condition on every group of features."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from evals.answer import Answer
from evals.calibration import calibration_bins, calibration_errors
from evals.cell import Cell, Judged, Recall
from evals.cell_groups import group_names, in_group
from evals.cell_result import result_of
from evals.collisions import Place, can_collide, colliding_places, place_of
from evals.comparing import differences
from evals.cost_curves import Right, batch_curves, cost_curves
from evals.coverage import coverage_curves
from evals.figures import mean_of, median_of, share_of
from evals.results import Expected
from evals.right_verdicts import verdict_rows
from evals.scoreboard import Figure, QuotedRow, Row, SanityRow, Scoreboard, Totals
from sae.feature import Frozen
from tools.protocols import CosyScore


class Description(Frozen):
    """What is known of an evaluation beside its cells."""

    suite: str
    description: str
    version: str
    seed: int
    proposer: str
    sealed: int
    control: int
    """Images of the judge's control set."""
    expected: tuple[Expected, ...]
    """The cells that belong to it."""
    ours: str = "agent"
    """The condition that is compared with the others."""
    sanity: tuple[SanityRow, ...] = ()
    quoted: tuple[QuotedRow, ...] = ()
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class _Told(NamedTuple):
    """The cells a row's figures are of: one condition's in one group, failures left out."""

    cells: Sequence[Cell]
    seed: int

    def share(self, told: Callable[[Cell], bool], *, among: Callable[[Cell], bool]) -> Figure:
        """Share of the cells ``among`` which it is told."""
        return share_of(told(cell) for cell in self.cells if among(cell))

    def cosy(self, read: Callable[[CosyScore], float | None]) -> Iterator[float | None]:
        """A figure on drawn images, of each cell that has them."""
        return (None if each.cosy is None else read(each.cosy) for each in self._judged())

    def recall(self, read: Callable[[Recall], float]) -> Figure:
        """Mean of a figure on labelled images."""
        return mean_of(
            (read(each.recall) for each in self._judged() if each.recall is not None), seed=self.seed
        )

    def judged(self, read: Callable[[Judged], float | None]) -> Figure:
        """Mean of a figure of names."""
        return mean_of(map(read, self._judged()), seed=self.seed)

    def cost(self, read: Callable[[Answer], float | None]) -> float | None:
        """Mean of what an answer cost; None where that of any is unknown."""
        known = [value for value in (read(cell.answer) for cell in self.cells) if value is not None]
        return sum(known) / len(known) if known and len(known) == len(self.cells) else None

    def _judged(self) -> Iterator[Judged]:
        return (cell.judged for cell in self.cells if cell.judged is not None)


def summarise(cells: Sequence[Cell], description: Description, *, right: Right | None = None) -> Scoreboard:
    """All figures of an evaluation, of the cells there are; those that are not are told in ``missing``.

    ``right`` tells whether a name is right for a cell's feature, for accuracy against images; None: no such
    curves. Means, medians and differences are resampled with the evaluation's seed.
    """
    return Scoreboard(
        suite=description.suite,
        description=description.description,
        version=description.version,
        seed=description.seed,
        proposer=description.proposer,
        sealed=description.sealed,
        control=description.control,
        rows=_rows(cells, seed=description.seed),
        differences=differences(cells, ours=description.ours, seed=description.seed),
        coverage=coverage_curves(cells),
        calibration=calibration_bins(cells),
        calibration_errors=calibration_errors(cells, seed=description.seed),
        costs=() if right is None else cost_curves(cells, right=right),
        batches=batch_curves(cells),
        sanity=description.sanity,
        quoted=description.quoted,
        verdicts=verdict_rows(cells),
        missing=(*description.missing, *_absent(cells, description.expected)),
        notes=description.notes,
        totals=_totals(cells, expected=len(description.expected)),
    )


def _rows(cells: Sequence[Cell], *, seed: int) -> tuple[Row, ...]:
    """A row for every condition and group that have a cell in common, condition by condition."""
    colliding = colliding_places(cells)
    by_condition: dict[str, list[Cell]] = {}
    for cell in cells:
        by_condition.setdefault(cell.condition, []).append(cell)
    groups = group_names(cells)
    found = ((group, in_group(own, group)) for own in by_condition.values() for group in groups)
    return tuple(_row(group, members, colliding=colliding, seed=seed) for group, members in found if members)


def _row(group: str, cells: Sequence[Cell], *, colliding: Collection[Place], seed: int) -> Row:
    """Of one condition's cells in one group."""
    told = _Told([cell for cell in cells if result_of(cell) != "failed"], seed)
    named = sum(_claims(cell) for cell in told.cells)
    return Row(
        condition=cells[0].condition,
        title=cells[0].title,
        group=group,
        features=len(cells),
        named=named,
        abstained=len(told.cells) - named,
        failed=len(cells) - len(told.cells),
        accuracy=told.share(lambda cell: cell.grade.right is True, among=_coherent),
        exact=told.share(lambda cell: cell.grade.exact is True, among=_coherent),
        synonym=told.share(lambda cell: cell.grade.synonym is True, among=_coherent),
        similarity=mean_of((cell.grade.similarity for cell in told.cells), seed=seed),
        named_share=told.share(_claims, among=lambda cell: True),
        abstention=told.share(lambda cell: not _claims(cell), among=_incoherent),
        precision=told.share(lambda cell: cell.grade.right is True, among=_graded),
        auroc=mean_of(told.cosy(lambda score: score.auroc), seed=seed),
        mad=median_of(told.cosy(lambda score: score.mad), seed=seed),
        max_mad=mean_of(told.cosy(lambda score: score.max_mad), seed=seed),
        activation_rate=mean_of(told.cosy(lambda score: score.activation_rate), seed=seed),
        auprc=told.recall(lambda found: found.auprc),
        f1=told.recall(lambda found: found.f1),
        iou=told.recall(lambda found: found.iou),
        correlation=told.recall(lambda found: found.correlation),
        specificity=told.judged(lambda each: each.specificity),
        optimism=told.judged(lambda each: each.optimism),
        collisions=told.share(lambda cell: place_of(cell) in colliding, among=can_collide),
        charged=told.cost(lambda answer: answer.images) or 0.0,
        verdict_images=told.cost(lambda answer: answer.verdict_images) or 0.0,
        distinct=len({image for cell in cells for image in cell.asked}),
        llm_calls=told.cost(lambda answer: answer.cost.llm_calls) or 0.0,
        tokens=told.cost(_tokens),
        usd=told.cost(lambda answer: answer.cost.usd),
        seconds=told.cost(lambda answer: answer.cost.seconds) or 0.0,
    )


def _claims(cell: Cell) -> bool:
    return cell.answer.claims


def _coherent(cell: Cell) -> bool:
    return cell.truth is not None and cell.truth.concept != ""


def _incoherent(cell: Cell) -> bool:
    return cell.truth is not None and cell.truth.concept == ""


def _graded(cell: Cell) -> bool:
    return cell.answer.claims and cell.grade.right is not None


def _tokens(answer: Answer) -> float | None:
    read, written = answer.cost.prompt_tokens, answer.cost.completion_tokens
    return None if read is None or written is None else read + written


def _absent(cells: Iterable[Cell], expected: Sequence[Expected]) -> tuple[str, ...]:
    """A sentence for each condition some of whose cells are not there."""
    there = {place_of(cell) for cell in cells}
    asked = Counter(each.condition for each in expected)
    lacking = Counter(each.condition for each in expected if (each.condition, each.feature) not in there)
    return tuple(
        f"{condition}: {count} of {asked[condition]} features are not there yet."
        for condition, count in lacking.items()
    )


def _totals(cells: Sequence[Cell], *, expected: int) -> Totals:
    return Totals(
        cells=len(cells),
        expected=expected,
        features=len({cell.feature for cell in cells}),
        charged=sum(cell.answer.images for cell in cells),
        distinct=len({image for cell in cells for image in cell.asked}),
        judged=len({image for cell in cells if cell.judged is not None for image in cell.judged.images}),
        drawn=sum(cell.drawn for cell in cells),
        seconds=sum(cell.answer.cost.seconds for cell in cells),
    )

"""An evaluation as a data set: a folder that ``datasets.load_dataset`` reads, one row a cell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import Field

from evals.cell import Cell, Judged
from evals.cell_result import result_of
from evals.figure_text import finite, one_line
from evals.scoreboard import Scoreboard
from sae.feature import Frozen
from sae.whole_file import whole_file

DATA_FILE = Path("data") / "cells-00000.jsonl"
CARD_FILE = "README.md"
_TYPES = {"str": "string", "float": "float64", "int": "int64", "bool": "bool"}


def _told(description: str) -> Any:
    return Field(description=description)


class FlatRow(Frozen):
    """A cell without nesting: text and numbers only, None where there is none."""

    condition: str = _told("what named the feature")
    title: str = _told("what reports call it")
    feature: str = _told("dictionary#index")
    group: str = _told("the group of the suite it was chosen for")
    also: str = _told("further groups that hold it, comma-separated")
    concept: str | None = _told("the true concept; empty: nothing coherent; null: not known")
    kind: str | None = _told("of the true concept")
    truth_f1: float | None = _told("F1 of the true concept as what the feature detects")
    outside_seeds: bool | None = _told("whether the true concept lies outside the seed classes")
    name: str | None = _told("the answer; null: none")
    claims: bool = _told("whether the name is put forward")
    result: str = _told("right, wrong, abstained, failed or ungraded")
    verdict: str | None = _told("the condition's own")
    code: str | None = _told("why it failed")
    confidence: float | None = _told("in the name, 0 to 1")
    score: float | None = _told("the condition's own, in its own unit")
    search_score: float | None = _told("AUROC of the search's images")
    right: bool | None = _told("by labels where they exist, else by synonyms")
    labels: bool | None = _told("F1 on labelled images within 0.03 of the best concept's")
    exact: bool | None = _told("the same words, but for case and articles")
    synonym: bool | None = _told("the same words once synonyms are replaced")
    similarity: float | None = _told("cosine of the sentence embeddings of name and concept")
    name_f1: float | None = _told("F1 of the name on labelled images")
    best_f1: float | None = _told("F1 of the best concept on labelled images")
    auroc: float | None = _told("of the sealed images against the control set")
    auroc_low: float | None = _told("lower end of its 95 % interval")
    auroc_high: float | None = _told("upper end of its 95 % interval")
    ceiling: float | None = _told("highest AUROC the control set allows")
    mad: float | None = _told("mean difference over the control's standard deviation")
    max_mad: float | None = _told("mean difference over the control's maximum")
    activation_rate: float | None = _told("share of sealed images on which the feature fires")
    control_rate: float | None = _told("share of control images on which it fires")
    n_generated: int | None = _told("sealed images")
    n_control: int | None = _told("control images")
    auprc: float | None = _told("on labelled images")
    f1: float | None = _told("on labelled images, at a cut chosen on others")
    iou: float | None = _told("on labelled images, at the same cut")
    correlation: float | None = _told("Pearson's, on labelled images")
    specificity: float | None = _told("how far the sealed images prefer it to its nearest features")
    optimism: float | None = _told("search AUROC less sealed AUROC")
    images: int = _told("images charged to the search")
    drawn: int = _told("images really drawn")
    llm_calls: int = _told("calls of an LLM")
    prompt_tokens: int | None = _told("tokens read by the LLM")
    completion_tokens: int | None = _told("tokens written by the LLM")
    usd: float | None = _told("price in US dollars; null: unknown")
    seconds: float = _told("time it took")
    run: str = _told("of an agent's answer: its run id")
    suite: str = _told("digest of all that determines the row")


class Column(NamedTuple):
    """A column of the data set."""

    name: str
    dtype: str
    """As the datasets library calls it."""
    meaning: str


COLUMNS = tuple(
    Column(name, _TYPES[str(FlatRow.__annotations__[name]).removesuffix(" | None")], str(field.description))
    for name, field in FlatRow.model_fields.items()
)


def flat_row(cell: Cell) -> FlatRow:
    """The row of a cell; a figure that is not finite is None."""
    answer, truth, cost = cell.answer, cell.truth, cell.answer.cost
    return FlatRow(
        condition=cell.condition,
        title=cell.title,
        feature=str(cell.feature),
        group=cell.group,
        also=",".join(cell.also),
        concept=truth.concept if truth else None,
        kind=truth.kind if truth else None,
        truth_f1=finite(truth.f1) if truth else None,
        outside_seeds=cell.outside_seeds,
        name=answer.name,
        claims=answer.claims,
        result=result_of(cell),
        verdict=answer.verdict,
        code=answer.code,
        confidence=finite(answer.confidence),
        score=finite(answer.score),
        search_score=finite(answer.search_score),
        right=cell.grade.right,
        **_finite(cell.grade.model_dump()),
        **_judged(cell.judged or Judged()),
        images=answer.images,
        drawn=cell.drawn,
        llm_calls=cost.llm_calls,
        prompt_tokens=cost.prompt_tokens,
        completion_tokens=cost.completion_tokens,
        usd=finite(cost.usd),
        seconds=cost.seconds,
        run=answer.run,
        suite=cell.suite,
    )


def write_dataset(cells: Iterable[Cell], board: Scoreboard, *, folder: Path) -> Path:
    """Write the rows and their card into a folder, made where it is missing; returns it."""
    lines = [flat_row(cell).model_dump_json() + "\n" for cell in cells]
    (folder / DATA_FILE).parent.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / DATA_FILE) as partial:
        partial.write_text("".join(lines), encoding="utf-8")
    # The card last: without it the folder is no data set.
    with whole_file(folder / CARD_FILE) as partial:
        partial.write_text(_card(board, len(lines)), encoding="utf-8")
    return folder


def _judged(judged: Judged) -> dict[str, Any]:
    """The sealed figures and those on labelled images, None where there are none."""
    cosy, recall = judged.cosy, judged.recall
    on_sealed = ("auroc", "ceiling", "mad", "max_mad", "activation_rate", "control_rate", "n_generated")
    on_labels = ("auprc", "f1", "iou", "correlation")
    figures = {name: getattr(cosy, name) if cosy else None for name in (*on_sealed, "n_control")}
    figures |= {name: getattr(recall, name) if recall else None for name in on_labels}
    figures |= {"auroc_low": cosy.auroc_ci.low, "auroc_high": cosy.auroc_ci.high} if cosy else {}
    return _finite(
        {"auroc_low": None, "auroc_high": None}
        | figures
        | {"specificity": judged.specificity, "optimism": judged.optimism}
    )


def _finite(figures: dict[str, Any]) -> dict[str, Any]:
    return {name: finite(value) if isinstance(value, float) else value for name, value in figures.items()}


def _card(board: Scoreboard, rows: int) -> str:
    header = {
        "pretty_name": f"{board.suite}: names of features",
        "tags": ["interpretability", "sparse-autoencoders", "namesae"],
        "size_categories": [_size(rows)],
        # Types are said, so that a column that is empty throughout has one too.
        "configs": [
            {"config_name": "default", "data_files": [{"split": "test", "path": DATA_FILE.as_posix()}]}
        ],
        "dataset_info": {"features": [{"name": each.name, "dtype": each.dtype} for each in COLUMNS]},
    }
    table = [f"| `{each.name}` | {each.dtype} | {each.meaning} |" for each in COLUMNS]
    return "\n".join(
        [
            "---",
            yaml.safe_dump(header, sort_keys=False, allow_unicode=True).rstrip(),
            "---",
            "",
            f"# {one_line(board.suite)}",
            "",
            *_about(board, rows),
            "",
            "| column | type | meaning |",
            "|---|---|---|",
            *table,
            "",
        ]
    )


def _about(board: Scoreboard, rows: int) -> Sequence[str]:
    said = [one_line(board.description), ""] if board.description else []
    return [
        *said,
        f"{rows} rows, one for each feature and condition, by namesae {one_line(board.version)}: "
        f"proposer {one_line(board.proposer)}, seed {board.seed}, names judged on {board.sealed} sealed "
        f"images against {board.control} control images.",
    ]


def _size(rows: int) -> str:
    """The hub's word for a number of rows."""
    if rows < 1000:
        return "n<1K"
    return "1K<n<10K" if rows < 10_000 else "10K<n<100K" if rows < 100_000 else "100K<n<1M"

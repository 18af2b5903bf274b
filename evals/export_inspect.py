"""An evaluation as logs of Inspect (inspect.aisi.org.uk): one ``.eval`` file a condition, a sample a feature.

The format is a zip of JSON files. It is written here because inspect-ai pins libraries that ours exclude.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from evals.answer import Step
from evals.cell import Cell
from evals.cell_result import Result, result_of, rightly
from evals.export_datasets import flat_row
from evals.figure_text import finite
from evals.scoreboard import Scoreboard
from sae.whole_file import whole_file
from tools.digest import digest

VERSION = 2
"""Of Inspect's log format."""
YES_NO = ("labels", "exact", "synonym")
NUMBERS = (
    *("similarity", "auroc", "mad", "max_mad", "activation_rate", "auprc", "f1", "iou", "correlation"),
    *("specificity", "optimism", "confidence"),
)
"""Figures that become scores, as the data set calls them; the rest is metadata."""

Json = dict[str, Any]


class Scored(NamedTuple):
    """One score of one sample."""

    name: str
    value: Literal["C", "I", "N"] | float
    """Correct, incorrect, no answer, as Inspect writes them; or a figure."""

    @property
    def number(self) -> float:
        """What Inspect counts it as."""
        return self.value if isinstance(self.value, float) else float(self.value == "C")


class _Log(NamedTuple):
    board: Scoreboard
    cells: Sequence[Cell]
    created: str
    """ISO 8601."""

    @property
    def condition(self) -> str:
        return self.cells[0].condition


def write_inspect_logs(
    cells: Iterable[Cell], board: Scoreboard, *, folder: Path, created: datetime
) -> tuple[Path, ...]:
    """Write one log for each condition, in the order of the cells; returns the files.

    ``created``: when the evaluation was made; one without a time zone is taken as UTC.
    """
    by_condition: dict[str, list[Cell]] = {}
    for cell in cells:
        by_condition.setdefault(cell.condition, []).append(cell)
    when = (created if created.tzinfo else created.replace(tzinfo=UTC)).astimezone(UTC)
    folder.mkdir(parents=True, exist_ok=True)
    logs = (_Log(board, some, when.isoformat(timespec="seconds")) for some in by_condition.values())
    return tuple(_write(log, folder) for log in logs)


def scores_of(cell: Cell) -> tuple[Scored, ...]:
    """The scores of a cell; what cannot be told, or was not measured, has none. A failure has none at all.

    'right' is what accuracy is the mean of: no name, where there is a concept to be named, is no answer and
    counts as wrong. 'abstains' is there where nothing coherent is to be named.
    """
    result, row = result_of(cell), flat_row(cell)
    if result == "failed":
        return ()
    named = _right(cell, result)
    told = [(name, getattr(row, name)) for name in YES_NO]
    yes_no = [Scored(name, "C" if value else "I") for name, value in told if value is not None]
    figures = [(name, getattr(row, name)) for name in NUMBERS]
    return (
        *([named] if named is not None else []),
        *yes_no,
        *(Scored(name, float(value)) for name, value in figures if value is not None),
    )


def _right(cell: Cell, result: Result) -> Scored | None:
    if cell.truth is None or result == "ungraded":
        return None
    if not cell.truth.concept:
        return Scored("abstains", "C" if rightly(cell) else "I")
    return Scored("right", "N" if result == "abstained" else "C" if result == "right" else "I")


def _write(log: _Log, folder: Path) -> Path:
    """One zip: the samples, their summaries, and the header last, as Inspect writes it."""
    stamp = re.sub(r"[:+]", "-", log.created)
    path = folder / f"{stamp}_{_slug(log.board.suite)}_{_slug(log.condition)}.eval"
    summaries = [_summary(log, cell) for cell in log.cells]
    with whole_file(path) as partial, ZipFile(partial, "w") as archive:
        for name, content in (
            ("_journal/start.json", {"version": VERSION, "eval": _spec(log), "plan": _plan(log)}),
            *((f"samples/{cell.feature}_epoch_1.json", _sample(log, cell)) for cell in log.cells),
            ("_journal/summaries/1.json", summaries),
            ("summaries.json", summaries),
            ("header.json", _header(log)),
        ):
            # A fixed date: the same cells make the same bytes.
            archive.writestr(ZipInfo(name), json.dumps(content, allow_nan=False), ZIP_DEFLATED)
    return path


def _spec(log: _Log) -> Json:
    board = log.board
    told = digest(suite=board.suite, condition=log.condition, created=log.created)
    return {
        "eval_id": told,
        "run_id": digest(suite=board.suite, created=log.created),
        "task_id": told,
        "created": log.created,
        "task": board.suite,
        "task_version": 0,
        "task_args": {"seed": board.seed, "proposer": board.proposer, "sealed": board.sealed},
        "solver": log.condition,
        "dataset": {
            "name": board.suite,
            "samples": len(log.cells),
            "sample_ids": [str(cell.feature) for cell in log.cells],
        },
        # What answers is the condition, not an LLM.
        "model": f"namesae/{log.condition}",
        "config": {"epochs": 1},
        "packages": {"namesae": board.version},
        "metadata": {"title": log.cells[0].title, "description": board.description, "control": board.control},
    }


def _plan(log: _Log) -> Json:
    return {"name": "plan", "steps": [{"solver": log.condition, "params": {}}], "config": {}}


def _header(log: _Log) -> Json:
    failed = sum(result_of(cell) == "failed" for cell in log.cells)
    return {
        "version": VERSION,
        "status": "success",
        "eval": _spec(log),
        "plan": _plan(log),
        "results": {
            "total_samples": len(log.cells),
            "completed_samples": len(log.cells) - failed,
            "scores": list(_results(log)),
        },
        "stats": {"started_at": log.created, "completed_at": log.created},
    }


def _results(log: _Log) -> Iterator[Json]:
    """The mean of every score over the samples that have it."""
    by_name: dict[str, list[float]] = {}
    for cell in log.cells:
        for score in scores_of(cell):
            by_name.setdefault(score.name, []).append(score.number)
    for name, numbers in by_name.items():
        metric = "mean" if name in NUMBERS else "accuracy"
        yield {
            "name": name,
            "scorer": name,
            "scored_samples": len(numbers),
            "unscored_samples": len(log.cells) - len(numbers),
            "metrics": {metric: {"name": metric, "value": sum(numbers) / len(numbers)}},
        }


def _sample(log: _Log, cell: Cell) -> Json:
    return _summary(log, cell) | {
        "messages": list(_messages(cell)),
        "output": _output(log, cell),
        "error": _error(cell),
        "store": {},
        "events": [],
        "attachments": {},
    }


def _summary(log: _Log, cell: Cell) -> Json:
    """What a list of samples shows: all but the messages."""
    concept = "" if cell.truth is None else cell.truth.concept
    failed = result_of(cell) == "failed"
    return {
        "id": str(cell.feature),
        "epoch": 1,
        "input": str(cell.feature),
        "target": concept,
        "metadata": flat_row(cell).model_dump(),
        "scores": {
            score.name: {"value": score.value, "answer": cell.answer.name} for score in scores_of(cell)
        },
        "model_usage": _usage(log, cell),
        "total_time": cell.answer.cost.seconds,
        "error": (cell.answer.code or "failed") if failed else None,
        "completed": True,
        "message_count": len(cell.answer.steps) + 2,
    }


def _usage(log: _Log, cell: Cell) -> Json:
    cost = cell.answer.cost
    if not cost.llm_calls or cost.prompt_tokens is None or cost.completion_tokens is None:
        return {}
    tokens = {"input_tokens": cost.prompt_tokens, "output_tokens": cost.completion_tokens}
    total = cost.prompt_tokens + cost.completion_tokens
    return {f"namesae/{log.condition}": tokens | {"total_tokens": total, "total_cost": finite(cost.usd)}}


def _error(cell: Cell) -> Json | None:
    if result_of(cell) != "failed":
        return None
    return {"message": cell.answer.code or "failed", "traceback": "", "traceback_ansi": ""}


def _messages(cell: Cell) -> Iterator[Json]:
    """The feature, every step, and the name."""
    yield _message(cell, 0, role="user", content=f"What does the feature {cell.feature} stand for?")
    for at, step in enumerate(cell.answer.steps, start=1):
        yield _message(cell, at, role="assistant", content=step.text) | {"metadata": _figures(step)}
    yield _message(cell, len(cell.answer.steps) + 1, role="assistant", content=_concluded(cell))


def _figures(step: Step) -> Json:
    """What a step came to; what is not finite is null, which JSON can say."""
    activations = [finite(each) for each in step.activations]
    return step.model_dump(mode="json") | {"score": finite(step.score), "activations": activations}


def _concluded(cell: Cell) -> str:
    return (
        cell.answer.name
        if cell.answer.name is not None
        else f"(no name: {cell.answer.verdict or 'none given'})"
    )


def _message(cell: Cell, at: int, *, role: str, content: str) -> Json:
    return {"id": f"{cell.feature}-{at}", "role": role, "content": content}


def _output(log: _Log, cell: Cell) -> Json:
    model, name = f"namesae/{log.condition}", cell.answer.name
    if name is None:
        return {"model": model, "choices": [], "completion": ""}
    last = _message(cell, len(cell.answer.steps) + 1, role="assistant", content=name)
    return {"model": model, "choices": [{"message": last, "stop_reason": "stop"}], "completion": name}


def _slug(text: str) -> str:
    """The text as a part of a file name; what had to be changed is told apart by its hash."""
    plain = re.sub(r"[^A-Za-z0-9.-]+", "-", text)[:60]
    return plain if plain == text else f"{plain}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

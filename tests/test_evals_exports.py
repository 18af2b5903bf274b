"""Exports of an evaluation: logs for Inspect and a data set, checked as the formats they are."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import yaml

from agent.records import Cost, VerdictKind
from evals.answer import Answer, Step
from evals.cell import Cell, Grade, Judged, Recall
from evals.export_datasets import COLUMNS, FlatRow, flat_row, write_dataset
from evals.export_inspect import Scored, scores_of, write_inspect_logs
from evals.scoreboard import Scoreboard, Totals
from evals.subject import Truth
from sae.feature import Feature
from tools.protocols import CosyScore, Interval

WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FISH = Truth(concept="fish", kind="object", f1=0.9)
NOTHING = Truth(concept="", kind="dead")
COSY = CosyScore(
    auroc=0.75,
    auroc_ci=Interval(low=0.5, high=0.875),
    ceiling=None,
    mad=1.5,
    max_mad=None,
    activation_rate=0.5,
    activation_rate_ci=Interval(low=0.25, high=0.75),
    control_rate=0.0,
    control_rate_ci=Interval(low=0.0, high=0.1),
    n_generated=30,
    n_control=1000,
)
RECALL = Recall(auprc=0.5, f1=0.25, iou=0.125, correlation=math.nan, auroc=0.5, positives=3, images=9)
STEPS = (
    Step(text="a fish", score=2.0, images=("ab", None), activations=(2.0, None), charged=2, note="explore"),
    Step(text="a \u2028red fish", score=math.inf, charged=4, best="fish"),
)
COST = Cost(llm_calls=2, prompt_tokens=10, completion_tokens=4, usd=None, seconds=1.5)


def cell(
    index: int,
    name: str | None = "fish",
    *,
    condition: str = "agent",
    truth: Truth | None = FISH,
    **more: Any,
) -> Cell:
    verdict: VerdictKind = "named" if name else "unexplained"
    answer = Answer(name=name, verdict=verdict, confidence=0.5, images=4, cost=COST, steps=STEPS, run="r-1")
    given: dict[str, Any] = {
        "suite": "0" * 32,
        "condition": condition,
        "title": "T",
        "feature": Feature(dictionary="folder/own", index=index),
        "group": "truth",
        "truth": truth,
        "answer": answer,
    }
    return Cell(**given | more)


RIGHT = cell(
    0,
    judged=Judged(cosy=COSY, recall=RECALL, specificity=0.5, optimism=-0.25),
    grade=Grade(labels=True, exact=False, synonym=True, similarity=0.9, name_f1=0.9, best_f1=0.9),
    also=("any", "mine"),
    drawn=3,
)
WRONG = cell(1, "dog", grade=Grade(exact=False, synonym=False))
SILENT = cell(2, None)
REST = cell(3, None, truth=NOTHING)
INVENTED = cell(4, "dog", truth=NOTHING, grade=Grade(labels=False))
FAILED = cell(5, None, answer=Answer(name=None, verdict="failed", code="KeyError"))
UNKNOWN = cell(6, "caf\u00e9", truth=None)
OTHER = cell(0, condition="file:own names.csv", answer=Answer(name="fish"))
CELLS = (RIGHT, WRONG, SILENT, REST, INVENTED, FAILED, UNKNOWN, OTHER)

BOARD = Scoreboard(
    suite="own suite",
    description="Own\nfeatures: all",
    version="0.1.0",
    seed=3,
    proposer="lexical",
    sealed=30,
    control=1000,
    rows=(),
    totals=Totals(cells=8, expected=8, features=7, charged=28, distinct=9, drawn=3, seconds=1.5),
)


def members(path: Path) -> dict[str, Any]:
    with ZipFile(path) as archive:
        assert archive.testzip() is None
        return {name: json.loads(archive.read(name)) for name in archive.namelist()}


def test_a_log_has_the_parts_inspect_reads(tmp_path: Path) -> None:
    ours, theirs = write_inspect_logs(CELLS, BOARD, folder=tmp_path / "logs", created=WHEN)
    assert ours.name.startswith("2026-01-02T03-04-05-00-00_own-suite-")
    assert ours.name.endswith("_agent.eval") and "_file-own-names.csv-" in theirs.name
    content = members(ours)
    samples = [f"samples/folder/own#{index}_epoch_1.json" for index in range(7)]
    journal = ["_journal/start.json", "_journal/summaries/1.json"]
    assert sorted(content) == sorted([*journal, *samples, "header.json", "summaries.json"])
    header = content["header.json"]
    assert (header["version"], header["status"]) == (2, "success")
    assert header["eval"] == content["_journal/start.json"]["eval"]
    assert header["eval"]["dataset"]["sample_ids"] == [f"folder/own#{index}" for index in range(7)]
    assert header["results"]["total_samples"] == 7 and header["results"]["completed_samples"] == 6
    assert content["summaries.json"] == content["_journal/summaries/1.json"]
    assert [each["id"] for each in content["summaries.json"]] == header["eval"]["dataset"]["sample_ids"]
    assert len(members(theirs)) == 5


def test_a_sample_is_a_feature_with_its_steps(tmp_path: Path) -> None:
    content = members(write_inspect_logs(CELLS, BOARD, folder=tmp_path, created=WHEN)[0])
    sample = content["samples/folder/own#0_epoch_1.json"]
    assert (sample["input"], sample["target"]) == ("folder/own#0", "fish")
    assert [each["content"] for each in sample["messages"]] == [
        "What does the feature folder/own#0 stand for?",
        "a fish",
        "a \u2028red fish",
        "fish",
    ]
    assert sample["messages"][1]["metadata"]["activations"] == [2.0, None]
    assert sample["messages"][2]["metadata"]["score"] is None
    assert sample["output"]["choices"][0]["message"]["content"] == "fish" == sample["output"]["completion"]
    assert sample["scores"]["right"] == {"value": "C", "answer": "fish"}
    assert sample["scores"]["auroc"]["value"] == 0.75 and "correlation" not in sample["scores"]
    assert sample["model_usage"]["namesae/agent"]["total_tokens"] == 14
    assert sample["metadata"]["also"] == "any,mine" and sample["metadata"]["drawn"] == 3
    failed = content["samples/folder/own#5_epoch_1.json"]
    assert failed["error"]["message"] == "KeyError" and failed["scores"] == {} and failed["model_usage"] == {}
    silent = content["samples/folder/own#2_epoch_1.json"]
    assert silent["messages"][-1]["content"] == "(no name: unexplained)" and silent["output"]["choices"] == []


def test_a_log_counts_what_the_samples_say(tmp_path: Path) -> None:
    header = members(write_inspect_logs(CELLS, BOARD, folder=tmp_path, created=WHEN)[0])["header.json"]
    results = {each["name"]: each for each in header["results"]["scores"]}
    right, auroc = results["right"], results["auroc"]
    assert right["metrics"]["accuracy"]["value"] == pytest.approx(1 / 3)
    assert (right["scored_samples"], right["unscored_samples"]) == (3, 4)
    assert results["abstains"]["metrics"]["accuracy"]["value"] == 0.5
    assert auroc["metrics"]["mean"]["value"] == 0.75 and auroc["scored_samples"] == 1


@pytest.mark.parametrize(
    ("one", "first"),
    [
        (RIGHT, Scored("right", "C")),
        (WRONG, Scored("right", "I")),
        (SILENT, Scored("right", "N")),
        (REST, Scored("abstains", "C")),
        (INVENTED, Scored("abstains", "I")),
        (UNKNOWN, Scored("confidence", 0.5)),
    ],
)
def test_scores_tell_wrong_from_silent(one: Cell, first: Scored) -> None:
    scores = scores_of(one)
    assert scores[0] == first
    assert first.number == (0.5 if first.name == "confidence" else float(first.value == "C"))
    assert len({score.name for score in scores}) == len(scores)
    assert scores_of(FAILED) == ()


def test_the_same_cells_make_the_same_bytes(tmp_path: Path) -> None:
    first, second = (
        write_inspect_logs(CELLS, BOARD, folder=tmp_path / name, created=WHEN) for name in ("a", "b")
    )
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert write_inspect_logs((), BOARD, folder=tmp_path / "c", created=WHEN) == ()


def test_a_time_without_zone_is_utc(tmp_path: Path) -> None:
    (path,) = write_inspect_logs([RIGHT], BOARD, folder=tmp_path, created=WHEN.replace(tzinfo=None))
    assert members(path)["header.json"]["eval"]["created"] == "2026-01-02T03:04:05+00:00"


def test_a_row_holds_every_figure_of_its_cell() -> None:
    row = flat_row(RIGHT)
    assert (row.feature, row.concept, row.kind, row.truth_f1) == ("folder/own#0", "fish", "object", 0.9)
    assert (row.right, row.labels, row.exact, row.similarity) == (True, True, False, 0.9)
    assert (row.auroc, row.auroc_low, row.auroc_high, row.control_rate) == (0.75, 0.5, 0.875, 0.0)
    assert (row.ceiling, row.n_generated, row.n_control) == (None, 30, 1000)
    assert (row.auprc, row.f1, row.iou, row.correlation) == (0.5, 0.25, 0.125, None)
    assert (row.specificity, row.optimism, row.images, row.drawn) == (0.5, -0.25, 4, 3)
    assert [flat_row(each).result for each in CELLS] == [
        *("right", "wrong", "abstained", "abstained", "wrong", "failed", "ungraded", "ungraded"),
    ]
    assert flat_row(REST).concept == "" and flat_row(UNKNOWN).concept is None
    assert flat_row(SILENT).auroc is None and not flat_row(SILENT).claims


def test_a_data_set_says_the_type_of_every_column(tmp_path: Path) -> None:
    folder = write_dataset(CELLS, BOARD, folder=tmp_path / "set")
    assert sorted(path.name for path in folder.rglob("*") if path.is_file()) == [
        "README.md",
        "cells-00000.jsonl",
    ]
    empty, header, body = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    card = yaml.safe_load(header)
    assert empty == "" and card["size_categories"] == ["n<1K"]
    (split,) = card["configs"][0]["data_files"]
    raw = (folder / split["path"]).read_bytes().decode()
    rows = [FlatRow.model_validate_json(line) for line in raw.removesuffix("\n").split("\n")]
    assert rows == [flat_row(each) for each in CELLS] and "NaN" not in raw and "Infinity" not in raw
    types = {each["name"]: each["dtype"] for each in card["dataset_info"]["features"]}
    assert list(types) == list(FlatRow.model_fields) and set(types.values()) == {
        "string",
        "float64",
        "int64",
        "bool",
    }
    assert types["code"] == "string" and types["usd"] == "float64" and types["labels"] == "bool"
    assert "# own suite\n\nOwn features: all\n\n8 rows, one for each feature and condition" in body
    assert all(f"| `{column.name}` | {column.dtype} | {column.meaning} |" in body for column in COLUMNS)


def test_an_empty_evaluation_is_an_empty_data_set(tmp_path: Path) -> None:
    write_dataset((), BOARD, folder=tmp_path)
    assert (tmp_path / "data" / "cells-00000.jsonl").read_bytes() == b""

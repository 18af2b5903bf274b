"""Exports: each is read back by its own kind of reader and says what the store says."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis as redis_module
from hypothesis import given
from hypothesis import strategies as st

from agent.records import Explanation, Review
from evals.explanation_files import of_dictionary, read_explanations
from namesae.exports.csv_cells import csv_lines, defused, fused
from namesae.exports.flat_row import FlatRow, flat_row
from namesae.exports.neuronpedia import NeuronpediaExplanation
from namesae.service.errors import NotFound
from namesae.service.exporting import Exporting
from namesae.service.feature_query import FeatureQuery
from namesae.service.features import Features
from namesae.wiring import State
from tests.named_features import finish, settings_of, state_of, told
from tests.weightless_dictionary import write_weightless
from tools.errors import UsageError

NAMES = (
    "fish",
    'a "red", striped\nfish',
    "=HYPERLINK(0)",
    "+1",
    "-2 birds",
    "@cmd",
    "\ttab",
    "\rreturn",
    "'=quoted",
    "'90s cars",
    "café \u2028 日本 \U0001f41f",
    "\uff1dwide",
)
DUMPED = (
    *("id", "modelId", "layer", "index", "authorId", "description", "embedding", "typeName"),
    *("explanationModelName", "umap_x", "umap_y", "umap_cluster", "umap_log_feature_sparsity"),
)
"""The columns Neuronpedia's own export writes for an explanation."""


@pytest.fixture
def state(redis: redis_module.Redis, tmp_path: Path) -> State:
    return state_of(redis, tmp_path)


@pytest.fixture
def features(state: State, tmp_path: Path) -> Features:
    """A dictionary of a name in every second place, one dead feature, and one reviewed."""
    write_weightless(tmp_path, "My dict", np.eye(40, dtype=np.float32))
    review = Review(
        decision="accepted", name="fish", verdict="named", who="me", at="2026-11-21T10:00:00+00:00"
    )
    more: list[dict[str, Any]] = [{} for _ in NAMES]
    more[0] = {"review": review, "proposer": "openai:gpt-5-mini"}
    finish(
        state,
        *(
            told(2 * at, name, dictionary="My dict", auroc=0.6 + at / 50, **more[at])
            for at, name in enumerate(NAMES)
        ),
        told(33, None, dictionary="My dict", verdict="dead", confidence=0.0),
    )
    return Features(settings_of(tmp_path), state)


@pytest.fixture
def exporting(features: Features) -> Exporting:
    return Exporting(features)


def whole(exporting: Exporting, form: str, **query: Any) -> bytes:
    asked = FeatureQuery.model_validate(query) if query else None
    return b"".join(exporting.stream("My dict", form, query=asked))


def expected(features: Features, **query: Any) -> list[FlatRow]:
    asked = FeatureQuery.model_validate({"which": "answered", "limit": 500} | query)
    return [flat_row("My dict", row) for row in features.rows("My dict", asked).rows]


def read_csv(data: bytes) -> Iterator[FlatRow]:
    """What a program reads: an empty cell is nothing, an apostrophe before a formula is taken off."""
    for cells in csv.DictReader(io.StringIO(data.decode(), newline="")):
        yield FlatRow.model_validate({key: fused(cell) or None for key, cell in cells.items()})


def read_jsonl(data: bytes, *, kind: str) -> Iterator[dict[str, Any]]:
    for line in data.decode().removesuffix("\n").split("\n"):
        record = json.loads(line)
        assert (record.pop("schema"), record.pop("type")) == (1, kind)
        yield record


def test_csv_reads_back_as_the_table(exporting: Exporting, features: Features) -> None:
    data = whole(exporting, "csv")
    rows = list(read_csv(data))
    assert rows == expected(features) and len(rows) == len(NAMES) + 1
    assert [row.name for row in rows[:-1]] == list(NAMES) and rows[0].reviewed and not rows[1].reviewed
    assert data.startswith(b"dictionary,index,name,verdict,") and data.count(b"\r\n") == len(rows) + 1


def test_no_cell_of_a_csv_is_a_formula(exporting: Exporting) -> None:
    for form in ("csv", "cosy"):
        reader = csv.reader(io.StringIO(whole(exporting, form).decode(), newline=""))
        cells = [cell for row in reader for cell in row]
        assert not [cell for cell in cells if cell and cell[0] in "=+-@\t\r\n\uff1d"]
        assert "'=HYPERLINK(0)" in cells and "''=quoted" in cells and "'90s cars" in cells


@given(st.text(st.sampled_from("'=+-@\t\r\nab,\"é\uff0b"), max_size=8))
def test_a_defused_text_is_told_from_every_other(text: str) -> None:
    cell = defused(text)
    assert fused(cell) == text
    assert not cell or cell[0] not in "=+-@\t\r\n\uff0b"
    ((read,),) = csv.reader(io.StringIO("".join(csv_lines([[text or "x"]])), newline=""))
    assert fused(read) == (text or "x")


def test_numbers_are_exact_and_not_taken_for_formulas() -> None:
    line = "".join(csv_lines([[-0.1, 1 / 3, None, True, -3, "-3"]]))
    assert line == "-0.1,0.3333333333333333,,true,-3,'-3\r\n"


def test_jsonl_reads_back_as_the_table(exporting: Exporting, features: Features) -> None:
    records = read_jsonl(whole(exporting, "jsonl"), kind="row")
    assert [FlatRow.model_validate(each) for each in records] == expected(features)
    assert whole(exporting, "jsonl").isascii()


def test_explanations_read_back_as_the_store_has_them(exporting: Exporting, features: Features) -> None:
    records = read_jsonl(whole(exporting, "explanations"), kind="feature")
    found = [Explanation.model_validate(each) for each in records]
    assert found == [features.latest("My dict", each.feature.index) for each in found]
    assert len(found) == len(NAMES) + 1


def test_neuronpedia_gets_a_line_for_each_name(exporting: Exporting, features: Features) -> None:
    data = whole(exporting, "neuronpedia")
    lines = gzip.decompress(data).split(b"\n")[:-1]
    told = [NeuronpediaExplanation.model_validate_json(line) for line in lines]
    named = [row for row in expected(features) if row.name]
    assert [(int(each.index), each.description) for each in told] == [(row.index, row.name) for row in named]
    assert {(each.modelId, each.layer, each.typeName) for each in told} == {("clip", "my-dict", "namesae")}
    assert told[0].explanationModelName == "openai:gpt-5-mini" and len({each.id for each in told}) == len(
        told
    )
    assert set(DUMPED) <= set(json.loads(lines[0])) and isinstance(json.loads(lines[0])["index"], str)
    assert told[0].notes is not None and "sealed AUROC 0.600 [0.550, 0.630]" in told[0].notes
    assert data == whole(exporting, "neuronpedia"), "the same features are the same bytes"


def test_cosy_reads_our_names(exporting: Exporting, features: Features, tmp_path: Path) -> None:
    data = whole(exporting, "cosy")
    rows = list(csv.reader(io.StringIO(data.decode(), newline="")))
    named = {row.index: row.name for row in expected(features) if row.name}
    assert rows[0] == ["neuron", "concept"]
    assert {int(index): fused(concept) for index, concept in rows[1:]} == named
    path = tmp_path / "names.csv"
    path.write_bytes(data)
    read = of_dictionary(read_explanations(path), "My dict", source="names.csv")
    assert set(read) == set(named) and read[0].name == "fish"


def test_an_export_is_exactly_the_table_that_is_shown(exporting: Exporting, features: Features) -> None:
    query: dict[str, Any] = {"min_auroc": 0.7, "sort": "auroc", "descending": True, "which": "named"}
    rows = list(read_csv(whole(exporting, "csv", limit=1, cursor=2, **query)))
    assert rows == expected(features, **query) and 0 < len(rows) < len(NAMES)
    everything = list(read_csv(whole(exporting, "csv", which="all")))
    assert len(everything) == 40 and everything[1].verdict is None and everything[1].index == 1


def test_a_dictionary_without_names_is_an_empty_table(features: Features) -> None:
    exporting = Exporting(features)
    for form in exporting.formats():
        data = b"".join(exporting.stream("sandbox", form.name))
        text = gzip.decompress(data) if form.suffix.endswith(".gz") else data
        assert text.count(b"\n") == (1 if form.suffix.endswith(".csv") else 0)


def test_formats_are_listed_and_others_refused_before_anything_is_written(exporting: Exporting) -> None:
    assert [form.name for form in exporting.formats()] == [
        *("csv", "jsonl", "explanations", "neuronpedia", "cosy"),
    ]
    with pytest.raises(UsageError, match=r"'xlsx' does not exist; there are csv"):
        exporting.stream("My dict", "xlsx")
    with pytest.raises(NotFound):
        exporting.stream("nothing", "csv")
    out = io.BytesIO()
    assert exporting.write("My dict", "csv", out=out) == len(out.getvalue()) > 0


@pytest.mark.parametrize(
    ("dictionary", "name"),
    [
        ("sandbox", "sandbox.csv"),
        ("My dict", "My-dict.csv"),
        ("../../etc", "etc.csv"),
        ('"; rm\r\n', "rm.csv"),
        ("é", "dictionary.csv"),
    ],
)
def test_file_names_are_safe(exporting: Exporting, dictionary: str, name: str) -> None:
    assert exporting.file_name(dictionary, "csv") == name

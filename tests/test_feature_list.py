"""Lists of features and tables of quoted figures: what is read, and the line of what cannot be."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.feature_list import Listed, read_features, refuse_mixed
from evals.published import read_quoted
from evals.scoreboard import QuotedRow
from sae.feature import Feature
from tools.errors import UsageError

WORDS = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=12).map(str.strip)
SAID = st.one_of(st.none(), WORDS.filter(bool))
DICTIONARIES = WORDS.filter(lambda name: bool(name))
FEATURES = st.builds(Feature, dictionary=DICTIONARIES, index=st.integers(0, 10**9))
LISTS = st.lists(
    st.builds(Listed, feature=FEATURES, concept=SAID, kind=SAID),
    min_size=1,
    max_size=7,
    unique_by=lambda one: one.feature,
)


def written(folder: Path, content: str | bytes, *, name: str) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refusal(folder: Path, content: str | bytes, *, name: str = "own.csv") -> str:
    path = written(folder, content, name=name)
    with pytest.raises(UsageError) as caught:
        read_features(path)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(f"{folder}/", "")


def as_csv(listed: list[Listed], *, split: bool) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([*(("dictionary", "index") if split else ("feature",)), "concept", "kind"])
    for one in listed:
        name = (one.feature.dictionary, one.feature.index) if split else (str(one.feature),)
        writer.writerow([*name, one.concept or "", one.kind or ""])
    return text.getvalue()


def as_json_lines(listed: list[Listed], *, split: bool, ascii_only: bool) -> str:
    lines = []
    for one in listed:
        name: dict[str, Any] = one.feature.model_dump() if split else {"feature": str(one.feature)}
        said = {"concept": one.concept, "kind": one.kind}
        lines.append(json.dumps(name | said, ensure_ascii=ascii_only))
    return "\n".join(lines)


@given(listed=LISTS, split=st.booleans(), mark=st.booleans())
def test_a_csv_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, listed: list[Listed], split: bool, mark: bool
) -> None:
    text = ("\ufeff" if mark else "") + as_csv(listed, split=split)
    assert list(read_features(written(tmp_path_factory.mktemp("l"), text, name="own.CSV"))) == listed


@given(listed=LISTS, split=st.booleans(), ascii_only=st.booleans())
def test_json_lines_are_read_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, listed: list[Listed], split: bool, ascii_only: bool
) -> None:
    text = as_json_lines(listed, split=split, ascii_only=ascii_only)
    assert list(read_features(written(tmp_path_factory.mktemp("l"), text, name="own.jsonl"))) == listed


@given(content=st.binary(max_size=80), name=st.sampled_from(["own.csv", "own.jsonl"]))
def test_any_bytes_are_a_list_or_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str
) -> None:
    assert refusal(tmp_path_factory.mktemp("l"), b"feature\n" + content + b'\n"', name=name)


def test_blank_lines_and_order_of_columns_do_not_matter(tmp_path: Path) -> None:
    text = "kind, feature ,concept\r\n\r\nobject, a#2 ,fish\r\n,,\r\n,a#1,\r\n"
    assert read_features(written(tmp_path, text, name="own.csv")) == (
        Listed(feature=Feature(dictionary="a", index=2), concept="fish", kind="object"),
        Listed(feature=Feature(dictionary="a", index=1)),
    )


def test_json_lines_can_say_that_nothing_coherent_is_there(tmp_path: Path) -> None:
    text = '{"feature": "a#1", "concept": ""}\n\n{"dictionary": "a", "index": "2", "concept": null}\r\n'
    listed = read_features(written(tmp_path, text, name="own.ndjson"))
    assert [(str(one.feature), one.concept) for one in listed] == [("a#1", ""), ("a#2", None)]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "own.csv, line 1: no header; write the columns there, of feature,"),
        ("feature\n", "Feature list own.csv holds no feature;"),
        ("feature,concpt\na#1,x\n", "own.csv, line 1: unknown column 'concpt'; did you mean 'concept'?"),
        ("feature;concept\na#1;x\n", "own.csv, line 1: unknown column 'feature;concept'"),
        ("feature,feature\na#1,a#1\n", "own.csv, line 1: column 'feature' is there twice"),
        (
            "feature,concept\na#1,x\na#2\n",
            "own.csv, line 3: 1 values where the header has 2 columns, from 'a#2'",
        ),
        ("feature,concept\na#1,x,y\n", "own.csv, line 2: 3 values where the header has 2"),
        ('feature,concept\na#1,"x\ny"\na#1,z\n', "own.csv, line 4: feature a#1 is on line 3 already"),
        ("feature\na#1\na#01\n", "own.csv, line 3: feature a#1 is on line 2 already"),
        ("feature\na1\n", "own.csv, line 2: 'a1' is not a feature; write DICTIONARY#INDEX"),
        (f"feature\na#{'9' * 5000}\n", "own.csv, line 2: 'a#999"),
        ("feature\na#-1\n", "'a#-1' is not a feature"),
        ("feature,index\na#1,2\n", "line 2: both a feature and a dictionary or index; write either"),
        ("concept\nfish\n", "line 2: no feature; write either feature, or dictionary and index."),
        ("dictionary,index\na,-3\n", "line 2: index '-3' is not a whole number from 0"),
        (f"dictionary,index\na,{'9' * 5000}\n", "line 2: index '999"),
        ("dictionary,index\n,3\n", "line 2: dictionary None is not a name"),
        ("dictionary\na\n", "line 2: index None is not a whole number"),
        ('feature\n"a#1\n', "own.csv, line 2: not CSV ("),
        (b"feature,concept\na#1,caf\xc3\xa9\na#2,caf\xe9\n", "own.csv, line 3: byte 0xe9 is not UTF-8; save"),
        ("feature\na#1\n".encode("utf-16"), "own.csv, line 1: byte 0xff is not UTF-8"),
    ],
)
def test_a_faulty_csv_is_told_by_line_and_value(tmp_path: Path, content: str | bytes, told: str) -> None:
    assert told in refusal(tmp_path, content)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("\n\n", "Feature list own.jsonl holds no feature"),
        ('{"feature": "a#1"}\n{"feature"\n', "own.jsonl, line 2: '{\"feature\"' is not JSON; correct it."),
        ("[" * 99_999, "own.jsonl, line 1: '[[["),
        ('["a#1"]', "line 1: '[\"a#1\"]' is not a JSON object"),
        ('{"feature": "a#1", "knd": "x"}', "line 1: unknown key 'knd'; did you mean 'kind'?"),
        ('{"feature": "a#1", "kind": 3}', "line 1: kind 3 is not a text"),
        ('{"feature": 7}', "line 1: '7' is not a feature"),
        ('{"dictionary": "a", "index": true}', "line 1: index 'True' is not a whole number"),
        ('{"dictionary": "a", "index": 1.0}', "line 1: index '1.0' is not a whole number"),
        ('{"dictionary": 3, "index": 1}', "line 1: dictionary 3 is not a name"),
        ('{"feature": "a#1"}\n{"dictionary": "a", "index": 1}', "line 2: feature a#1 is on line 1 already"),
    ],
)
def test_faulty_json_lines_are_told_by_line_and_value(tmp_path: Path, content: str, told: str) -> None:
    assert told in refusal(tmp_path, content, name="own.jsonl")


def test_a_list_of_no_kind_or_that_is_not_there(tmp_path: Path) -> None:
    assert "own.txt is neither .csv nor .jsonl" in refusal(tmp_path, "a#1", name="own.txt")
    with pytest.raises(UsageError, match=r"none[.]csv cannot be read \(No such file"):
        read_features(tmp_path / "none.csv")


def test_one_list_is_of_one_dictionary() -> None:
    a, b = Feature(dictionary="a", index=1), Feature(dictionary="b", index=1)
    refuse_mixed([], where="It")
    refuse_mixed([a, a.model_copy(update={"index": 2})], where="It")
    with pytest.raises(UsageError, match="It holds a#1 and b#1, of two dictionaries; make one list of each"):
        refuse_mixed([a, b], where="It")


def test_quoted_figures_are_read(tmp_path: Path) -> None:
    text = 'label,source,measure,value,note\n"A, B",arXiv 1,auroc,0.95,other features\nC,arXiv 2,mad,-1e-3,\n'
    assert read_quoted(written(tmp_path, text, name="t.csv")) == (
        QuotedRow(label="A, B", source="arXiv 1", measure="auroc", value=0.95, note="other features"),
        QuotedRow(label="C", source="arXiv 2", measure="mad", value=-0.001),
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("label,source,measure,value\n", "holds no figure"),
        ("label,source,measure,value\nA,S,,1\n", "line 2: no measure"),
        ("label,source,value\nA,S,1\n", "line 2: no measure"),
        ("label,source,measure,value\nA,S,auroc,95 %\n", "line 2: value '95 %' is not a finite number"),
        ("label,source,measure,value\nA,S,auroc,nan\n", "line 2: value 'nan' is not a finite number"),
        ("label,source,measure,values\n", "unknown column 'values'; did you mean 'value'?"),
    ],
)
def test_a_faulty_table_is_told_by_line_and_value(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        read_quoted(written(tmp_path, text, name="t.csv"))

"""Names found elsewhere: every form of file, what is wrong with some, and the condition that judges them."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.records import Explanation
from evals.conditions import make_condition
from evals.conditions.elsewhere import Elsewhere
from evals.explanation_files import read_explanations
from evals.told import LONGEST, clean_name
from namesae.reporters import write_json
from sae.feature import Feature
from tests.eval_world import FakeSubject, case_of
from tools.errors import UsageError


def written(folder: Path, text: str, name: str = "names") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def told(path: Path) -> dict[tuple[str, int], str | None]:
    return {(each.layer, each.feature): each.name for each in read_explanations(path)}


FORMS = {
    "CoSy": "neuron,concept\n3,red fish\n17,boat\n",
    "CoSy with figures": "neuron,concept,AUC,U1,p\n3,red fish,.9,1,0\n17,boat,.8,1,0\n",
    "MILAN": "unit,description\n3,red fish\n17,boat\n",
    "namesae by index": "index,name\n3,red fish\n17,boat\n",
    "capitals and blanks": "\ufeff Neuron , Concept \r\n3,red fish\r\n\r\n17,boat\r\n",
    "tabs": "neuron\tconcept\n3\tred fish\n17\tboat",
    "quoted tabs": '"neuron"\t"concept"\n"3"\t"red fish"\n"17"\t"boat"',
    "semicolons": "neuron;concept\n3;red fish\n17;boat\n",
    "delphi, plain indices": '{"3": "red fish", "17": "boat"}',
    "delphi, several lines": '{\n "3": {"explanation": "red fish"},\n "17": {"explanation": "boat"}\n}\n',
    "list of records": '[{"index": 3, "name": "red fish"}, {"index": "17", "name": "boat"}]',
    "JSON lines": '{"feature": 3, "name": "red fish"}\n\n{"feature": 17, "name": "boat"}\n',
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_known_by_its_content(form: str, tmp_path: Path) -> None:
    assert told(written(tmp_path, FORMS[form])) == {("", 3): "red fish", ("", 17): "boat"}


def test_layers_modules_and_dictionaries_are_kept_apart(tmp_path: Path) -> None:
    dissect = "layer,unit,description,similarity\nlayer3,5,red,1.5\nlayer4,5,boat,nan\n"
    found = read_explanations(written(tmp_path, dissect))
    assert [(each.layer, each.feature, each.name, each.score) for each in found] == [
        ("layer3", 5, "red", 1.5),
        ("layer4", 5, "boat", None),
    ]
    delphi = '{"model.layers.3.mlp_latent12": "red", ".layers.4_latent12": "boat"}'
    assert told(written(tmp_path, delphi)) == {
        ("model.layers.3.mlp", 12): "red",
        (".layers.4", 12): "boat",
    }
    ours = read_explanations(written(tmp_path, "feature,name\nsandbox#3,red\nclip-b32#3,boat\n"))
    assert [(each.layer, each.feature, each.of_dictionary) for each in ours] == [
        ("sandbox", 3, True),
        ("clip-b32", 3, True),
    ]
    numbered = '[{"layer": 0, "unit": 1, "label": "red"}, {"layer": 1, "unit": 1, "label": "boat"}]'
    assert told(written(tmp_path, numbered)) == {("0", 1): "red", ("1", 1): "boat"}


def test_what_namesae_writes_is_read(tmp_path: Path) -> None:
    explanations = [
        Explanation(
            feature=Feature(dictionary="fake", index=1), name="fish", verdict="named", confidence=0.9
        ),
        Explanation(feature=Feature(dictionary="fake", index=2), name="red", verdict="weak", confidence=0.2),
        Explanation(feature=Feature(dictionary="fake", index=8), name=None, verdict="dead", confidence=0.95),
        Explanation(
            feature=Feature(dictionary="fake", index=9), name="a guess", verdict="unexplained", confidence=0.5
        ),
    ]
    out = io.StringIO()
    write_json("launch", {"features": 4}, out=out)
    for explanation in explanations:
        write_json("feature", explanation.model_dump(mode="json"), out=out)
    write_json("done", {"named": 1}, out=out)
    found = read_explanations(written(tmp_path, out.getvalue()))
    assert [(each.feature, each.name, each.verdict, each.confidence) for each in found] == [
        (1, "fish", "named", 0.9),
        (2, "red", "weak", 0.2),
        (8, None, "dead", 0.95),
        (9, None, "unexplained", 0.5),
    ]


def test_a_folder_of_delphi_holds_a_file_a_latent(tmp_path: Path) -> None:
    written(tmp_path, '"red \\u2018fish\\u2019"', "layers.3.mlp_latent7.txt")
    written(tmp_path, "boat, or ship\n", "layers.3.mlp_latent12.txt")
    written(tmp_path, '{"explanation": "sand"}', "layers.3.mlp_latent0.json")
    written(tmp_path, "42", "layers.3.mlp_latent4.txt")
    written(tmp_path, "no explanation of anything", "README.md")
    assert told(tmp_path) == {
        ("layers.3.mlp", 0): "sand",
        ("layers.3.mlp", 4): "42",
        ("layers.3.mlp", 7): "red \u2018fish\u2019",
        ("layers.3.mlp", 12): "boat, or ship",
    }


WRONG = {
    "empty": ("", "is empty"),
    "blank": (" \n\n", "is empty"),
    "delimiters alone": (",,,\n,,\n", "has the columns none"),
    "no index column": ("concept,AUC\nred,.9\n", "needs one of neuron, unit"),
    "no name column": ("neuron,AUC\n3,.9\n", "needs one of neuron, unit"),
    "header alone": ("neuron,concept\n", "holds no explanation"),
    "word for an index": ("neuron,concept\nthree,red\n", "line 2, has the index 'three'"),
    "fraction": ("neuron,concept\n3.0,red\n", "has the index '3.0'"),
    "negative": ("neuron,concept\n-3,red\n", "has the index '-3'"),
    "no digit of ours": ("neuron,concept\n\u0663,red\n", "has the index"),
    "twice": ("neuron,concept\n3,red\n4,sand\n03,boat\n", "explains feature 3 twice"),
    "unquoted comma": ("neuron,concept\n3,red, or blue\n", "line 2, has 3 cells where its first row has 2"),
    "short row": ("neuron,concept\n3\n", "has 1 cells"),
    "open quote": ('neuron,concept\n3,"red\n', "is not CSV"),
    "broken JSON": ('{"3": "red",', "is not JSON"),
    "broken line": ('{"feature": 1, "name": "red"}\n{"feature": 2,\n', "line 2, is not JSON"),
    "JSON key twice": ('{"3": "red",\n "3": "boat"}', "'3' comes twice"),
    "JSON key that is no feature": ('{"red": "boat"}', "explains 'red', which is no feature"),
    "JSON value that is no text": ('{"3": ["red"]}', "by something other than text"),
    "JSON list of texts": ('["red"]', "record 1, lacks a column"),
    "JSON nested too deeply": ("[" * 100_000, "nested too deeply"),
    "JSON index that is true": ('[{"index": true, "name": "red"}]', "has the index 'True'"),
    "JSON of no feature": ('{"type": "launch", "schema": 1}', "holds no explanation"),
    "empty object": ("{}", "holds no explanation"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_wrong_file_is_told_in_one_sentence(fault: str, tmp_path: Path) -> None:
    text, sentence = WRONG[fault]
    path = written(tmp_path, text)
    with pytest.raises(UsageError) as error:
        read_explanations(path)
    told_of = str(error.value)
    assert sentence in told_of
    assert told_of.startswith(str(path)) and told_of.endswith(".") and "\n" not in told_of


def test_a_file_that_is_not_there_or_no_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_explanations(tmp_path / "missing.csv")
    (tmp_path / "bytes").write_bytes(b"neuron,concept\n3,\xff\xfe\n")
    with pytest.raises(UsageError, match="not UTF-8"):
        read_explanations(tmp_path / "bytes")


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that",
        "I\u2019m sorry",
        "",
        " \t\n",
        "NaN",
        "Unable to produce descriptions",
        "Explanation could not be parsed.",
        "I cannot see the images",
        "No coherent concept",
        "\u200b\u0007",
    ],
)
def test_a_refusal_is_no_name(text: str) -> None:
    assert clean_name(text) is None


@pytest.mark.parametrize("text", ["sorry face", "candles", "nanny", "no smoking sign", "unable"])
def test_a_name_like_a_refusal_is_a_name(text: str) -> None:
    assert clean_name(text) == text


@given(st.text(max_size=200))
def test_a_name_is_one_printable_line_and_cleaning_it_again_changes_nothing(text: str) -> None:
    name = clean_name(text)
    if name is not None:
        assert name.isprintable() and 0 < len(name) <= LONGEST
        assert clean_name(name) == name


NAMES = st.text(st.characters(codec="utf-8"), max_size=40) | st.sampled_from(
    ['a "quoted", name', "two\nlines", "carriage\r\nreturn", "sea, or ocean", "\u706b", "#3", "{", "\u2028x"]
)


@given(
    st.dictionaries(st.integers(0, 10**9), NAMES, min_size=1, max_size=8), st.sampled_from([",", ";", "\t"])
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
def test_tables_and_objects_of_any_text_come_back(
    tmp_path: Path, names: dict[int, str], delimiter: str
) -> None:
    out = io.StringIO(newline="")
    table = csv.writer(out, delimiter=delimiter)
    table.writerows([("neuron", "concept"), *names.items()])
    expected = {("", index): clean_name(name) for index, name in names.items()}
    path = tmp_path / "table"
    path.write_bytes(out.getvalue().encode())
    assert told(path) == expected
    path.write_bytes(json.dumps({str(index): name for index, name in names.items()}).encode())
    assert told(path) == expected
    lines = [
        json.dumps({"feature": index, "name": name}, ensure_ascii=False) for index, name in names.items()
    ]
    path.write_bytes("\n".join(lines).encode())
    assert told(path) == expected


@given(st.text(max_size=80))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
def test_any_text_is_read_or_told_to_be_wrong(tmp_path: Path, text: str) -> None:
    path = tmp_path / "anything"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with contextlib.suppress(UsageError):
        assert read_explanations(path)


# The condition


def test_elsewhere_answers_what_the_file_says(tmp_path: Path) -> None:
    subject = FakeSubject()
    text = "layer,unit,description,similarity\nfc,1,fish,.7\nfc,2,I'm sorry,.1\n"
    condition = make_condition(f"file:{written(tmp_path, text, 'dissect.csv')}")
    assert condition.title == "dissect"
    assert condition.lacks(subject) is None
    assert condition.answer(case_of(subject, 1)).model_dump(exclude_defaults=True) == {
        "name": "fish",
        "score": 0.7,
    }
    refused = condition.answer(case_of(subject, 2))
    assert (refused.name, refused.verdict, refused.code) == (None, "unexplained", None)
    missing = condition.answer(case_of(subject, 3))
    assert (missing.name, missing.verdict, missing.code) == (None, None, "not_in_file")


def test_elsewhere_takes_the_layer_it_is_told(tmp_path: Path) -> None:
    subject = FakeSubject()
    path = str(written(tmp_path, "layer,unit,description\nlayer3,1,red\nlayer4,1,boat\n"))
    assert Elsewhere(path=path, layer="layer4", label="Dissect").answer(case_of(subject, 1)).name == "boat"
    with pytest.raises(UsageError, match="give one of them as layer"):
        Elsewhere(path=path).answer(case_of(subject, 1))
    with pytest.raises(UsageError, match=r"holds no layer 'layer5'; it holds 'layer3', 'layer4'\."):
        Elsewhere(path=path, layer="layer5").lacks(subject)


def test_names_of_another_dictionary_are_not_taken(tmp_path: Path) -> None:
    path = str(written(tmp_path, "feature,name\nfake#1,fish\nother#1,boat\nother#2,red\n"))
    subject, other = FakeSubject(), FakeSubject(dictionary="other")
    stranger = FakeSubject(dictionary="stranger")
    condition = Elsewhere(path=path)
    assert condition.answer(case_of(subject, 1)).name == "fish"
    assert condition.answer(case_of(subject, 2)).code == "not_in_file"
    assert condition.answer(case_of(other, 1)).name == "boat"
    assert condition.lacks(stranger) == "names in names"
    plain = Elsewhere(path=str(written(tmp_path, "index,name\n1,fish\n", "plain")), dictionary="fake")
    assert plain.lacks(subject) is None
    assert plain.lacks(other) == "names in plain"


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    subject = FakeSubject()
    path = written(tmp_path, "index,name\n1,fish\n")
    condition = Elsewhere(path=str(path))
    assert condition.answer(case_of(subject, 1)).name == "fish"
    path.write_text("index,name\n1,boat\n")
    os.utime(path, ns=(1, 1))
    assert condition.answer(case_of(subject, 1)).name == "boat"

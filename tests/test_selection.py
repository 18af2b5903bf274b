"""Which features a selection means, and what a wrong one says."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from namesae.dictionaries import Damaged, find_dictionary, list_dictionaries, read_truth
from namesae.selection import choose_features, parse_selection
from namesae.settings import Settings, load_settings
from tools.errors import IntegrityError, UsageError

CARD = {
    "schema": 1,
    "name": "mine",
    "architecture": "topk",
    "width": 8,
    "n_features": 200,
    "k": 2,
    "backbone": {"kind": "timm", "source": "backbone"},
    "hook_point": "pooled",
    "weights": "0" * 64,
}
KINDS = ("object", "colour", "and", "background", "none")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings with a dictionary 'mine' of 200 features: 120 concepts, a fifth of them conjunctions."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "home" / "dictionaries" / "mine"
    folder.mkdir(parents=True)
    (folder / "dictionary.json").write_text(json.dumps(CARD))
    rows = [
        {
            "index": index,
            "concept": "" if KINDS[index % 5] == "none" else f"concept {index % 120}",
            "kind": KINDS[index % 5],
            "f1": 0.0 if KINDS[index % 5] == "none" else 0.5 + (index % 50) / 100,
            "auroc": 0.9,
            "density": 0.1,
        }
        for index in range(200)
    ]
    (folder / "truth.json").write_text(json.dumps(rows))
    return load_settings()


def chosen(text: str, settings: Settings, *, sample: int | None = None, seed: int = 0) -> list[int]:
    selection = parse_selection(text)
    listed = find_dictionary(selection.dictionary, settings)
    return [each.index for each in choose_features(selection, listed, sample=sample, seed=seed)]


@pytest.mark.parametrize(
    ("text", "indices"),
    [
        ("mine#7", [7]),
        ("mine#3,7,10-12", [3, 7, 10, 11, 12]),
        ("mine#5, 3-6", [5, 3, 4, 6]),
        ("mine#199", [199]),
    ],
)
def test_indices_and_ranges(settings: Settings, text: str, indices: list[int]) -> None:
    assert chosen(text, settings) == indices


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("mine", "names no feature"),
        ("#3", "names no feature"),
        ("mine#", "names no feature"),
        ("mine#x", "'x' where an index"),
        ("mine#-3", "where an index"),
        ("mine#3,,4", "where an index"),
        ("mine#9-3", "write 3-9"),
        ("mine#200", "has features 0 to 199"),
        ("mine#0-99999999999", "has features 0 to 199"),
        ("mine#truth>=1.5", "from 0 to 1"),
        ("mien#3", "did you mean 'mine'"),
        ("nothing-like-it#3", "There are"),
    ],
)
def test_a_wrong_selection_is_one_sentence(settings: Settings, text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told) as raised:
        chosen(text, settings)
    assert "\n" not in str(raised.value)
    assert raised.value.exit_code == 2


def test_a_dictionary_can_be_a_folder_anywhere(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "dictionary.json").write_text(json.dumps(CARD))
    assert find_dictionary(str(folder), settings).origin == "folder"
    assert find_dictionary("elsewhere", settings).name == str(folder)
    with pytest.raises(UsageError, match=r"has no truth\.json"):
        read_truth(find_dictionary(str(folder), settings))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"holds no dictionary\.json"):
        find_dictionary("empty", settings)


@pytest.mark.parametrize(
    "text",
    ["not json", json.dumps({"schema": 99}), json.dumps({"schema": 1}), json.dumps(CARD | {"width": "wide"})],
)
def test_a_damaged_dictionary_is_listed_and_refused(settings: Settings, text: str) -> None:
    (settings.home / "dictionaries" / "mine" / "dictionary.json").write_text(text)
    (damaged,) = [each for each in list_dictionaries(settings) if each.name == "mine"]
    assert isinstance(damaged, Damaged)
    with pytest.raises(IntegrityError) as raised:
        find_dictionary("mine", settings)
    assert raised.value.exit_code == 5 and "\n" not in str(raised.value)


def test_a_damaged_truth_table_is_one_sentence(settings: Settings) -> None:
    (settings.home / "dictionaries" / "mine" / "truth.json").write_text('[{"index": 1}]')
    with pytest.raises(IntegrityError, match=r"truth\.json does not hold"):
        chosen("mine#truth>=0.8", settings)


def test_truth_selects_by_f1_and_leaves_the_incoherent_out(settings: Settings) -> None:
    rows = {row.index: row for row in read_truth(find_dictionary("mine", settings))}
    indices = chosen("mine#truth>=0.8", settings)
    assert indices == [index for index, row in rows.items() if row.concept and (row.f1 or 0) >= 0.8]
    with pytest.raises(UsageError, match=r"the best has 0\.98"):
        chosen("mine#truth>=0.99", settings)


@pytest.mark.parametrize("sample", [1, 7, 20, 40])
def test_a_sample_is_seeded_varied_and_holds_conjunctions(settings: Settings, sample: int) -> None:
    rows = {row.index: row for row in read_truth(find_dictionary("mine", settings))}
    first = chosen("mine#truth>=0.5", settings, sample=sample, seed=7)
    assert first == sorted(set(first)) and len(first) == sample
    assert first == chosen("mine#truth>=0.5", settings, sample=sample, seed=7)
    assert first != chosen("mine#truth>=0.5", settings, sample=sample, seed=8)
    assert max(Counter(rows[index].concept for index in first).values()) <= 2
    assert sum(rows[index].kind == "and" for index in first) >= min(10, sample // 2)


def test_a_sample_larger_than_what_there_is_says_how_many_there_are(settings: Settings) -> None:
    with pytest.raises(UsageError, match=r"at most 2 a concept.*fewer than --sample 199"):
        chosen("mine#truth>=0.5", settings, sample=199)
    with pytest.raises(UsageError, match="asks for nothing"):
        chosen("mine#0-9", settings, sample=0)
    assert len(chosen("mine#0-9", settings, sample=4)) == 4


def test_choosing_features_loads_no_model_library() -> None:
    probe = "import sys, namesae.selection; sys.exit(any(m in sys.modules for m in ('torch', 'langgraph')))"
    assert subprocess.run([sys.executable, "-c", probe], check=False).returncode == 0

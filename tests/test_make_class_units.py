"""A classifier's classes as a dictionary of one's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from namesae.dictionaries import find_dictionary, read_truth
from namesae.make_class_units import IMAGENET, class_names, main
from namesae.selection import choose_features, parse_selection
from namesae.settings import load_settings
from tests.test_wiring import write_pictures
from tests.tiny_models import write_timm


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_classes_become_features_whose_names_are_known(tmp_path: Path) -> None:
    write_timm(tmp_path / "timm")
    pictures = write_pictures(tmp_path / "pictures", 3)
    names = tmp_path / "names.txt"
    names.write_text("fish\nbird\n\ncat\ntree\ncar\n")
    arguments = [str(tmp_path / "timm"), str(pictures), "--name", "mine", "--classes", str(names)]
    assert main(arguments) == 0
    listed = find_dictionary("mine", load_settings())
    assert [row.concept for row in read_truth(listed)] == ["fish", "bird", "cat", "tree", "car"]
    chosen = choose_features(parse_selection("mine#kind=class"), listed)
    assert [feature.index for feature in chosen] == [0, 1, 2, 3, 4]
    assert main(arguments) == 2


def test_imagenets_names_come_with_timm() -> None:
    names = class_names(IMAGENET)
    assert len(names) == 1000 and names[0] == "tench" and not any("," in name for name in names)


def test_what_is_wrong_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_timm(tmp_path / "timm")
    source, pictures = str(tmp_path / "timm"), str(write_pictures(tmp_path / "pictures", 3))
    for classes, said in (
        ("nowhere.txt", "cannot be read"),
        ("empty.txt", "is empty"),
        (IMAGENET, "1000 are"),
    ):
        (tmp_path / "empty.txt").write_text("\n")
        assert main([source, pictures, "--classes", classes]) in (2, 5)
        told = capsys.readouterr().err
        assert told.startswith("Error: ") and said in told and told.count("\n") == 1
    assert not (load_settings().home / "dictionaries" / "classes-of-mine" / "dictionary.json").exists()

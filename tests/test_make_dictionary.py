"""A dictionary of one's own pictures, on a tiny backbone."""

from __future__ import annotations

from pathlib import Path

import pytest

from namesae.dictionaries import find_dictionary
from namesae.make_dictionary import GENERATOR, Recipe, main, make_dictionary
from namesae.settings import load_settings
from sae.card import BackboneSpec
from sae.dictionary import load_dictionary
from tests.test_wiring import write_pictures
from tests.tiny_models import WIDTH, write_open_clip


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_pictures_become_a_dictionary_that_can_be_named(tmp_path: Path) -> None:
    write_open_clip(tmp_path / "clip")
    pictures = write_pictures(tmp_path / "pictures", 1003)
    backbone = BackboneSpec(kind="open_clip", source=str(tmp_path / "clip"))
    recipe = Recipe(pictures=pictures, name="mine", backbone=backbone, n_features=24, k=3, steps=5)
    settings = load_settings()
    folder = make_dictionary(recipe, settings)
    listed = find_dictionary("mine", settings)
    assert listed.folder == folder and listed.n_features == 24
    assert listed.card is not None and listed.card.generator == GENERATOR
    assert listed.card.probe_set is not None and listed.card.probe_set.images == 1003
    assert load_dictionary(folder).width == WIDTH


def test_what_is_wrong_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nowhere")]) == 2
    assert "does not exist" in capsys.readouterr().err
    assert main([str(write_pictures(tmp_path / "few", 3))]) == 2
    assert "holds 3 pictures; give 1,000 or more" in capsys.readouterr().err
    (load_settings().home / "dictionaries" / "clip-b32").mkdir(parents=True)
    assert main([str(tmp_path / "few")]) == 2
    assert "exists already" in capsys.readouterr().err

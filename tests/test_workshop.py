"""Dictionaries as evaluations are handed them: built ones, twins, pictures that nobody saw."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from namesae.built_dictionaries import STAMP_FILE, find_or_build, twin_of
from namesae.dictionaries import find_dictionary
from namesae.galleries import FolderPictures, open_pictures
from namesae.settings import Settings, load_settings
from sae.dictionary import load_dictionary
from tests.test_wiring import write_pictures
from tests.tiny_dictionary import N_FEATURES, random_dictionary, write_dictionary
from tools.errors import UsageError


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tiny")
    write_dictionary(root)
    return root


@pytest.fixture
def settings(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A home of its own with the dictionary 'tiny'."""
    monkeypatch.chdir(tmp_path)
    settings = load_settings(home=tmp_path / "home")
    shutil.copytree(models / "tiny", settings.home / "dictionaries" / "tiny")
    shutil.copytree(models / "clip", settings.home / "dictionaries" / "clip")
    return settings


def test_a_twin_is_built_once_and_anew_when_the_dictionary_is_trained_anew(settings: Settings) -> None:
    listed = find_dictionary("tiny", settings)
    name = twin_of(listed, settings)
    twin = find_or_build(name, settings, say=lambda _: None)
    assert (name, twin.n_features, twin.origin) == ("tiny-untrained", N_FEATURES, "built")
    assert twin.folder is not None and listed.folder is not None
    weights = load_dictionary(twin.folder).W_dec
    assert not weights.equal(load_dictionary(listed.folder).W_dec)
    marked = twin.folder / "mark"
    marked.touch()
    twin_of(listed, settings)
    assert marked.exists(), "the same weights have the same twin"
    card = find_dictionary("tiny", settings).card
    assert card is not None
    random_dictionary(seed=1).save(listed.folder, card)
    anew = find_dictionary("tiny", settings)
    twin_of(anew, settings)
    assert not marked.exists() and (twin.folder / STAMP_FILE).is_file()
    (twin.folder / STAMP_FILE).write_text("of another model")
    marked.touch()
    assert find_or_build(name, settings, say=lambda _: None).n_features == N_FEATURES
    assert not marked.exists()


def test_what_nobody_can_build_does_not_exist(settings: Settings) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        find_or_build("nothing", settings, say=lambda _: None)
    with pytest.raises(UsageError, match="does not exist"):
        find_or_build("nothing-untrained", settings, say=lambda _: None)


def test_the_judges_pictures_are_neither_exemplars_nor_control(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pictures", 403)
    probe = open_pictures(str(folder), "probe", count=150)
    control = open_pictures(str(folder), "control", count=101)
    judge = open_pictures(str(folder), "judge", count=100, apart=[probe, control])
    chosen = [set(each.paths) for each in (probe, control, judge) if isinstance(each, FolderPictures)]
    assert [len(each) for each in chosen] == [150, 101, 100]
    assert not chosen[2] & (chosen[0] | chosen[1])
    rest = open_pictures(str(folder), "judge", count=1000, apart=[probe, control])
    assert len(rest) == 403 - len(chosen[0] | chosen[1])

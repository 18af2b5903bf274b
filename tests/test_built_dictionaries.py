"""Dictionaries that evaluations build: their names, their seeds, and when they are built anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from namesae.built_dictionaries import BUILT, STAMP_FILE, Recipe, find_or_build
from namesae.dictionaries import shipped_folder
from namesae.settings import Settings, load_settings
from sae.card import BackboneSpec, Origin
from tests.tiny_dictionary import random_dictionary
from tools.errors import UsageError


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    return load_settings(home=tmp_path / "home")


class Builds:
    """A recipe that remembers with which seeds it was followed."""

    def __init__(self) -> None:
        self.seeds: list[int] = []

    def __call__(self, folder: Path, seed: int) -> object:
        self.seeds.append(seed)
        backbone = BackboneSpec(kind="open_clip", source="clip")
        origin = Origin(name="made", backbone=backbone, hook_point="pooled")
        return random_dictionary(seed=seed).save(folder, origin)


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> Builds:
    builds = Builds()
    monkeypatch.setitem(BUILT, "made", Recipe(builds, ("vit",)))
    monkeypatch.setitem(BUILT, "fixed", Recipe(builds, ("vit",), seeded=False))
    return builds


def test_a_name_and_a_seed_are_a_dictionary_of_their_own(settings: Settings, builds: Builds) -> None:
    said: list[str] = []
    plain = find_or_build("made", settings, say=said.append)
    seeded = find_or_build("made@3", settings, say=said.append)
    assert (plain.name, seeded.name, builds.seeds) == ("made", "made@3", [0, 3])
    assert plain.card is not None and seeded.card is not None
    assert plain.card.weights != seeded.card.weights
    find_or_build("made@3", settings, say=said.append)
    assert builds.seeds == [0, 3]
    assert said == ["Building dictionary made, once.", "Building dictionary made@3, once."]


@pytest.mark.parametrize("name", ["made@", "made@0", "made@x", "made@-1", "fixed@1", "nothing@1", "made@1@2"])
def test_what_is_no_seed_is_no_dictionary(settings: Settings, builds: Builds, name: str) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        find_or_build(name, settings, say=lambda _: None)
    assert builds.seeds == []


def test_another_version_of_a_recipe_builds_anew(
    settings: Settings, builds: Builds, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = find_or_build("made", settings, say=lambda _: None).folder
    assert folder is not None and (folder / STAMP_FILE).is_file()
    monkeypatch.setitem(BUILT, "made", BUILT["made"]._replace(version=2))
    find_or_build("made", settings, say=lambda _: None)
    assert builds.seeds == [0, 0]


def test_the_dictionaries_of_the_sandbox_can_be_built() -> None:
    assert set(BUILT) == {"planted", "planted-undrawable", "classes"}
    shipped = shipped_folder()
    assert all((shipped / model).is_dir() for recipe in BUILT.values() for model in recipe.models)

"""Which generator a dictionary is drawn with, and which kinds of them there are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from namesae.dictionaries import Listed
from namesae.galleries import Shelf
from namesae.places import Place
from namesae.real_models import GENERATORS, Workplace, generator_of
from namesae.settings import load_settings
from sae.card import BackboneSpec, DictionaryCard
from tools.errors import UsageError
from tools.image_store import ImageStore


def workplace(folder: Path, *, own: str | None = None, **settings: Any) -> Workplace:
    card = DictionaryCard(
        name="tiny",
        backbone=BackboneSpec(kind="timm", source="m"),
        hook_point="pooled",
        generator=own,
        architecture="relu",
        width=2,
        n_features=3,
        weights="0" * 64,
    )
    listed = Listed(name="tiny", folder=folder, n_features=3, origin="folder", card=card)
    chosen = load_settings(home=folder / "home", **settings)
    return Workplace(listed, chosen, Shelf(ImageStore(folder / "images")), lambda _: None)


def test_a_generator_is_the_persons_else_the_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sd").mkdir()
    folder = str((tmp_path / "sd").resolve())
    assert generator_of(workplace(tmp_path, own="sd")) == Place(folder)
    assert generator_of(workplace(tmp_path, own="diffusers:sd")) == Place(folder)
    assert generator_of(workplace(tmp_path, own="sd", generator="a/b@c1")) == Place("a/b", "c1")


def test_a_further_kind_needs_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GENERATORS, "paint", GENERATORS["diffusers"])
    assert generator_of(workplace(tmp_path, generator="paint:oil")) == Place("oil", kind="paint")


def test_an_unknown_kind_is_one_sentence_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'oil:fish' is of no known kind; have diffusers"):
        generator_of(workplace(tmp_path, generator="oil:fish"))

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.training.dictionaries import RECIPES, asked, main


def test_a_dictionary_whose_backbone_is_missing_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(tmp_path / "models", tmp_path / "work", steps=0)
    told = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in told] == [recipe.name for recipe in RECIPES]
    assert all("not trained yet" in line for line in told)


def test_after_an_interruption_only_the_rest_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models, work = tmp_path / "models", tmp_path / "work"
    work.mkdir()
    (models / "clip").mkdir(parents=True)
    (models / "clip" / "weights").write_bytes(b"1")
    first, second, third = RECIPES
    for recipe in (first, second):
        (work / f"{recipe.name}.done").write_text(asked(recipe, models, steps=0, seed=0))
    main(models, work, steps=0)
    assert capsys.readouterr().out.count("trained already") == 2
    assert third.backbone.source == "../vit"


def test_another_recipe_seed_or_backbone_is_another_training(tmp_path: Path) -> None:
    (tmp_path / "clip").mkdir()
    weights = tmp_path / "clip" / "weights"
    weights.write_bytes(b"1")
    first, second, _ = RECIPES
    told = {
        asked(first, tmp_path, steps=0, seed=0),
        asked(first, tmp_path, steps=9, seed=0),
        asked(first, tmp_path, steps=0, seed=1),
        asked(second, tmp_path, steps=0, seed=0),
    }
    weights.write_bytes(b"2")
    told.add(asked(first, tmp_path, steps=0, seed=0))
    assert len(told) == 5

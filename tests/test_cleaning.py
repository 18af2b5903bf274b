"""A cleaned checkpoint is the same dictionary, smaller, and loads with torch's weights_only."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sae.errors import BadDictionary
from sae.exports.cleaning import clean
from sae.exports.round_trip import doubled
from sae.formats.container import open_container
from sae.loading import load
from tests.format_files import CASES, Case, case

TORCH = [
    each
    for each in CASES
    if each.format
    in ("martetten", "nworkv", "msae", "hugofry", "asf", "openai", "clipscope", "prisma", "dn-cbm")
]


@pytest.mark.parametrize("each", TORCH, ids=lambda each: each.name)
def test_a_cleaned_checkpoint_is_the_same_dictionary(each: Case, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    written = each.write(tmp_path / "in", 5)
    loaded = load(written.path, **each.options)
    target = tmp_path / "out" / "clean.pth"
    try:
        done = clean(written.path, target, **each.options)
    except BadDictionary as error:
        # Its file said what it is by its name or its classes, and no plain form expresses it.
        assert "cannot express" in str(error) and not target.exists()
        return
    options = {} if done.rewritten else dict(each.options)
    again = load(target, **options).dictionary
    x = torch.randn(
        20, loaded.dictionary.width, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    assert torch.allclose(doubled(again).reconstruct(x), doubled(loaded.dictionary).reconstruct(x), atol=1e-5)
    torch.load(target, weights_only=True)
    assert [path.name for path in target.parent.iterdir()] == ["clean.pth"]


def test_what_only_training_needs_is_left_out(tmp_path: Path) -> None:
    path = case("martetten-epoch").write(tmp_path, 5).path
    held = torch.load(path, weights_only=True)
    held["optimizer_state_dict"] = {"state": {0: {"exp_avg": torch.zeros(400, 400)}}, "param_groups": []}
    held["scheduler"] = {"last_epoch": 3}
    torch.save(held, tmp_path / "large.pth")
    done = clean(tmp_path / "large.pth", tmp_path / "small.pth", k=3)
    assert set(done.removed) == {"optimizer_state_dict", "scheduler"}
    assert done.after * 20 < done.before and not done.rewritten
    tree = open_container(tmp_path / "small.pth").tree
    assert set(tree) == {"epoch", "model_state_dict", "metrics"} and tree["epoch"] == 7


def test_files_without_an_optimiser_and_existing_ones_are_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    folder = case("sparsify").write(tmp_path / "in", 5).path
    with pytest.raises(BadDictionary, match="holds weights alone"):
        clean(folder, tmp_path / "clean.pth")
    (tmp_path / "one").mkdir()
    path = case("martetten-epoch").write(tmp_path / "one", 5).path
    with pytest.raises(BadDictionary, match="exists already"):
        clean(path, path, k=3)

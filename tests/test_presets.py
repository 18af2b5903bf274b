from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from sae.errors import BadRecipe
from sae.stream import MemoryStream
from sae.trainer.coder import keep_highest
from sae.trainer.measure import prepare, restore
from sae.trainer.recipe import Recipe
from sae.trainer.recipe_file import preset_names, read_preset, read_recipes, write_recipe
from sae.trainer.run import Training

WIDTH = 12
NEEDED = {
    *("martetten-topk500", "vit-tiny-topk64", "sative-relu", "msae-rw", "msae-uw", "dn-cbm", "openai-topk"),
    *("saelens-batchtopk", "prisma-vanilla", "hugofry-vanilla", "dictlearn-topk", "dictlearn-jumprelu"),
    *(
        "dictlearn-gated",
        "dictlearn-matryoshka",
        "sparsify-topk",
        "saev-relu",
        "bussmann-matryoshka",
        "patchsae",
    ),
}


def rows(n: int = 203, *, seed: int = 0) -> Tensor:
    chance = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(n, 6, generator=chance) @ torch.randn(6, WIDTH, generator=chance) + 3


def small(name: str) -> Recipe:
    """The preset for a few steps, its learning rate and schedule as they are."""
    return read_preset(name, changes=["steps=4", "batch_size=50", "input.rows=120"])


def test_every_promised_preset_is_there() -> None:
    assert set(preset_names()) >= NEEDED
    assert all(read_preset(name).about for name in preset_names())


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_becomes_a_dictionary_that_reconstructs_as_its_coder_does(name: str) -> None:
    training = Training({name: small(name)}, MemoryStream(rows()))
    dictionary = training.run()[name]
    member = training.members[name]
    if member.recipe.optimiser.average is not None:
        member._set(member.averaged)
    # Rows that no threshold was calibrated on: those lie on it exactly.
    x = rows(31, seed=1)
    with torch.no_grad():
        batch = prepare(x, member.recipe.input, by=member.measured)
        h = member.coder.pre_activations(batch.u)
        z = member.coder.activate(h, member.recipe.k)
        if member.recipe.architecture == "batchtopk":
            assert dictionary.threshold is not None
            every = keep_highest(h, h.shape[1], sign=member.recipe.sign)
            z = every.where(every > dictionary.threshold, 0)
        known = member.coder.decode(z)
        if batch.target is batch.u or member.recipe.input.layer_norm is None:
            known = restore(known, batch, how=member.recipe.input, by=member.measured)
    torch.testing.assert_close(dictionary.encode(x), z, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(dictionary.reconstruct(x), known, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", preset_names())
def test_a_written_preset_reads_the_same(name: str, tmp_path: Path) -> None:
    path = tmp_path / "it.yaml"
    path.write_text(write_recipe(read_preset(name)))
    assert read_recipes(path) == {"it": read_preset(name)}


def test_a_file_holds_several_recipes_each_from_a_preset(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(
        "dictionaries:\n  a: {preset: dn-cbm, steps: 5, loss: {weight: 0.5}}\n  b: {preset: openai-topk}\n"
    )
    found = read_recipes(path, changes=["batch_size=64"])
    assert list(found) == ["a", "b"] and {recipe.batch_size for recipe in found.values()} == {64}
    a = found["a"]
    assert (a.steps, a.epochs, a.loss.weight, a.loss.sparsity) == (5, None, 0.5, "l1")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("lr=1", "no setting 'lr'; did you mean optimiser.lr"),
        ("optimiser.lrr=1", "did you mean optimiser.lr"),
        ("n_feature=5", "did you mean n_features"),
        ("k=-1", "k -1: Input should be greater than 0"),
        ("architecture=tokp", "architecture 'tokp'"),
        ("k", "not of the form KEY=VALUE"),
        ("k=[", "value that is not YAML"),
        ("loss.sparsity=l0", "need architecture jumprelu"),
        ("nesting={by: k}", "nesting by k needs architecture topk"),
        ("nesting={by: prefix, shares: [0.5]}", "must sum to 1"),
        ("loss=[]", "loss"),
    ],
)
def test_a_wrong_setting_is_refused_with_the_nearest_name(change: str, says: str) -> None:
    with pytest.raises(BadRecipe) as refused:
        read_preset("dn-cbm", changes=[change])
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- a", "no mapping of settings"),
        ("a: [", "is not YAML"),
        ("k: 3", "give either n_features or expansion"),
        ("dictionaries: {a: 3}", "a is no mapping"),
        ("dictionaries: {}\nk: 3", "must hold 'dictionaries'"),
        ("preset: dn-cmb", "did you mean 'dn-cbm'"),
        ("!!python/object/apply:os.system ['true']", "is not YAML"),
    ],
)
def test_a_file_that_holds_no_recipe_is_refused(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "it.yaml"
    path.write_text(text)
    with pytest.raises(BadRecipe, match=says):
        read_recipes(path)

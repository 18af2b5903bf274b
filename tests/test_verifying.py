"""Readings of files that are wrong in the ways people meet are found out on real activations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from sae.backbone import load_backbone
from sae.card import BackboneSpec
from sae.dictionary import SparseDictionary
from sae.errors import BadDictionary
from sae.hypotheses import AS_LOADED
from sae.loading import Loaded, load
from sae.verifying import ENOUGH, GIVEN, Verification, activations_around, verify
from tests.tiny_models import WIDTH, write_open_clip

D, F, K = 32, 48, 3


class World:
    """Activations that are sparse sums of known directions, and the dictionary of these directions."""

    def __init__(self, seed: int = 0) -> None:
        self.chance = torch.Generator().manual_seed(seed)
        self.directions = normalize(torch.randn(F, D, generator=self.chance))
        self.offset = 3 * torch.randn(D, generator=self.chance)

    def sums(self, n: int = 200) -> Tensor:
        """(n, D) without the offset."""
        strengths = 2 + torch.rand(n, K, generator=self.chance)
        chosen = torch.stack([torch.randperm(F, generator=self.chance)[:K] for _ in range(n)])
        return (strengths[:, :, None] * self.directions[chosen]).sum(1)

    def file(self, path: Path, **tensors: Tensor) -> Path:
        """A bare quadruple whose meaning is not in it."""
        state = {
            "W_enc": self.directions.T.contiguous(),
            "b_enc": torch.zeros(F),
            "W_dec": self.directions,
            "b_dec": self.offset,
        }
        torch.save(state | tensors, path)
        return path


@pytest.fixture
def world() -> World:
    return World()


def read(world: World, folder: Path, flavor: str, **tensors: Tensor) -> Loaded:
    # The flavors that name an activation rank; k makes a TopK of the rest.
    return load(world.file(folder / "sae.pt", **tensors), flavor=flavor, k=K)


def found(verification: Verification) -> tuple[str, str, str]:
    bias, norm, inputs = verification.best.hypothesis
    return bias, norm, inputs


def test_a_right_reading_is_confirmed(world: World, tmp_path: Path) -> None:
    loaded = read(world, tmp_path, "saelens-subtracting")
    verification = verify(loaded, world.sums() + world.offset)
    assert verification.confirmed and verification.best.place == GIVEN
    assert verification.as_loaded.fvu < 0.3 and verification.as_loaded.l0 == K
    assert verification.sentence.startswith("The reading fits: FVU 0.")


@pytest.mark.parametrize(
    ("flavor", "expected"),
    [
        ("saelens-plain", "b_dec subtracted before encoding"),
        ("saev-plain", "b_dec subtracted before encoding"),
    ],
)
def test_a_bias_that_was_not_subtracted_is_found(
    flavor: str, expected: str, world: World, tmp_path: Path
) -> None:
    verification = verify(read(world, tmp_path, flavor), world.sums() + world.offset)
    assert not verification.confirmed and found(verification) == (expected, AS_LOADED, AS_LOADED)
    assert verification.best.fvu < 0.3 < verification.as_loaded.fvu
    assert expected in verification.sentence and "\n" not in verification.sentence


def test_a_bias_that_was_subtracted_wrongly_is_found(world: World, tmp_path: Path) -> None:
    b_enc = -(world.offset @ world.directions.T)
    loaded = read(world, tmp_path, "saelens-subtracting", b_enc=b_enc)
    verification = verify(loaded, world.sums() + world.offset)
    assert found(verification)[0] == "b_dec not subtracted before encoding"


def test_an_encoder_bias_that_nobody_uses_is_found(world: World, tmp_path: Path) -> None:
    noise = 4 * torch.randn(F, generator=world.chance)
    loaded = read(world, tmp_path, "saelens-subtracting", b_enc=noise)
    verification = verify(loaded, world.sums() + world.offset)
    assert found(verification) == ("b_enc unused and b_dec subtracted", AS_LOADED, AS_LOADED)


def test_a_layer_norm_is_found_and_one_too_many(world: World, tmp_path: Path) -> None:
    shape = normalize(world.sums() - world.sums().mean(1, keepdim=True)) * D**0.5
    x = shape * (1 + 9 * torch.rand(len(shape), 1, generator=world.chance)) + 40
    dictionary = read(world, tmp_path, "prisma-none", b_dec=torch.zeros(D)).dictionary
    relu = replace(dictionary, architecture="jumprelu", threshold=torch.full((F,), 1.5), k=None)
    assert found(verify(relu, x))[1] == "layer norm"
    assert "layer norm" in verify(relu, x).sentence
    normed = read(world, tmp_path, "prisma", b_dec=world.offset)
    assert found(verify(normed, world.sums() + world.offset))[1] == "no layer norm"


def test_a_mean_and_a_scale_that_the_file_lacks_are_found(world: World, tmp_path: Path) -> None:
    """The first files of saev, trained on activations that were centred and scaled outside of them."""
    loaded = read(world, tmp_path, "saev-plain", b_dec=torch.zeros(D))
    verification = verify(loaded, 20 * world.sums() + 30 * world.offset)
    assert found(verification)[2] == "mean and scale of these activations"
    best = verification.best_dictionary
    assert float(best.scale) != 1 and best.mean.abs().max() > 10


@pytest.mark.parametrize(
    ("claimed", "other"), [("block.5 cls", "block.6 cls"), ("block.6 patch", "block.6 cls")]
)
def test_another_layer_and_other_tokens_are_found(
    claimed: str, other: str, world: World, tmp_path: Path
) -> None:
    loaded = read(world, tmp_path, "saelens-subtracting")
    strangers = World(seed=5)
    places = {claimed: strangers.sums() + strangers.offset, other: world.sums() + world.offset}
    verification = verify(loaded, places)
    assert verification.best.place == other and not verification.confirmed
    assert verification.best.hypothesis.changes == 0
    assert f"{other}: as loaded" in verification.sentence
    assert verify(loaded, dict(reversed(places.items()))).confirmed


def test_no_reading_fits_noise(world: World, tmp_path: Path) -> None:
    loaded = read(world, tmp_path, "saelens-plain", W_dec=10 * torch.randn(F, D, generator=world.chance))
    verification = verify(loaded, torch.randn(100, D, generator=world.chance))
    assert not verification.confirmed
    assert "No reading fits" in verification.sentence or verification.best.fvu < verification.as_loaded.fvu


def test_readings_do_not_depend_on_the_shape_of_the_activations(world: World, tmp_path: Path) -> None:
    loaded = read(world, tmp_path, "saelens-plain")
    x = world.sums(ENOUGH + 88) + world.offset
    assert verify(loaded, x.reshape(-1, 6, D)).fits == verify(loaded, x).fits
    gated = replace(loaded.dictionary, architecture="relu", k=None)
    assert verify(gated, x).fits


REFUSED: Mapping[str, Any] = {
    "No activations": {},
    "5 activations of": torch.randn(5, D),
    "all finite": torch.full((30, D), float("nan")),
    "are equal": torch.ones(30, D),
    "31 wide": torch.randn(30, 31),
}


@pytest.mark.parametrize("said", REFUSED)
def test_useless_activations_are_refused(said: str, world: World, tmp_path: Path) -> None:
    with pytest.raises(BadDictionary, match=said):
        verify(read(world, tmp_path, "saelens-plain"), REFUSED[said])


def test_places_of_another_width_are_left_out(world: World, tmp_path: Path) -> None:
    x = world.sums() + world.offset
    verification = verify(
        read(world, tmp_path, "saelens-subtracting"), {"block.1": x, "pooled": torch.randn(30, 5)}
    )
    assert verification.confirmed and verification.skipped == ("pooled",)


def test_activations_around_a_hook_point_come_in_order(tmp_path: Path) -> None:
    write_open_clip(tmp_path)
    backbone = load_backbone(BackboneSpec(kind="open_clip", source=str(tmp_path)))
    pixels = torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    blocks = len([name for name in backbone.hook_points if name.startswith("block.")])
    around = activations_around(backbone, pixels, "block.1", tokens="patch")
    assert next(iter(around)) == "block.1 patch"
    assert set(around) == {f"block.{i} {part}" for i in range(min(3, blocks)) for part in ("patch", "cls")}
    assert around["block.1 cls"].shape == (5, WIDTH) and around["block.1 patch"].shape[0] % 5 == 0
    assert set(activations_around(backbone, pixels, "pooled", tokens="none")) == {"pooled"}
    assert next(iter(activations_around(backbone, pixels, "block.0", tokens="all"))) == "block.0 all"


def test_a_dictionary_may_be_verified_by_itself(world: World) -> None:
    plain = SparseDictionary(
        "topk",
        W_enc=world.directions.T,
        b_enc=torch.zeros(F),
        W_dec=world.directions,
        b_dec=torch.zeros(D),
        mean=world.offset,
        scale=torch.tensor(1.0),
        k=K,
    )
    verification = verify(plain, world.sums() + world.offset)
    assert verification.confirmed
    assert [fit.fvu for fit in verification.fits] == sorted(fit.fvu for fit in verification.fits)

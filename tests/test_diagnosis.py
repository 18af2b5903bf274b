from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sae.diagnosis import diagnose, in_words
from sae.stream import MemoryStream
from sae.trainer.recipe_file import read_preset
from sae.trainer.run import Training

WIDTH = 16


def rows(n: int = 501) -> Tensor:
    return torch.randn(n, WIDTH, generator=torch.Generator().manual_seed(0))


def test_plain_activations_need_nothing() -> None:
    found = diagnose(rows())
    assert found.gamma is not None and found.gamma < 0.1
    assert found.effective_rank == pytest.approx(WIDTH, rel=0.05)
    assert found.advice == found.settings == () and found.massive_rows == 0
    assert "Nothing stands out" in in_words(found)


def test_gamma_is_the_norm_of_the_mean_over_that_of_the_deviations() -> None:
    x = 2 * rows() + torch.arange(WIDTH)
    expected = float(x.mean(0).norm() / x.std(0, correction=0).norm())
    found = diagnose(x)
    assert found.gamma == pytest.approx(expected, rel=1e-6)
    assert "input.mean=mean" in found.settings and "4.4 times what varies" in in_words(found)


def test_massive_rows_are_told_apart_and_do_not_colour_the_rest() -> None:
    x = torch.cat([rows(), 100 * torch.ones(5, WIDTH)])
    found = diagnose(x)
    assert found.massive_rows == pytest.approx(5 / 506)
    assert found.gamma is not None and found.gamma < 0.1
    assert found.settings == ("input.drop_norm_above=5",)


def test_outlier_dimensions_are_listed_largest_first() -> None:
    x = rows()
    x[:, 3] *= 10
    x[:, 9] *= 40
    found = diagnose(x)
    assert found.outlier_dimensions == (9, 3) and found.outlier_share > 0.9
    assert any("Dimensions 9, 3" in sentence for sentence in found.advice)


def test_the_effective_rank_is_that_of_the_directions_that_vary() -> None:
    few = rows()[:, :2] @ torch.linalg.qr(rows(WIDTH)).Q[:2] * 3
    assert diagnose(few).effective_rank == pytest.approx(2, rel=0.01)
    assert diagnose(few[:9]).effective_rank == pytest.approx(2, rel=0.3)
    assert "n_features=32" in diagnose(few).settings


def test_norms_that_vary_ask_for_standardising() -> None:
    found = diagnose(rows() * torch.linspace(0.1, 3, 501)[:, None])
    assert "input.layer_norm={}" in found.settings


def test_equal_rows_are_said_to_be_equal() -> None:
    found = diagnose(torch.ones(5, WIDTH))
    assert found.gamma is None and "All activations are equal" in found.advice[0]


@pytest.mark.parametrize("x", [torch.ones(5), torch.ones(1, 3), torch.full((3, 2), torch.nan)])
def test_unusable_activations_are_refused(x: Tensor) -> None:
    with pytest.raises(ValueError, match=r"Activations have shape|not finite"):
        diagnose(x)


def test_what_is_advised_can_be_set() -> None:
    x = torch.cat([5 * rows()[:, :4] @ rows(4) + 20, torch.full((3, WIDTH), 1e4)])
    found = diagnose(x)
    assert len(found.settings) >= 3
    recipe = read_preset("namesae-topk", changes=[*found.settings, "k=4", "steps=3", "batch_size=50"])
    Training({"it": recipe}, MemoryStream(x)).run()

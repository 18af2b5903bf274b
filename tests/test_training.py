from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sae.card import Normalisation
from sae.fit import measure_fit
from sae.training import Progress, TrainingConfig, geometric_median, learning_rate, train_dictionary

WIDTH, TRUE_FEATURES = 24, 40


def drawn(n: int, seed: int) -> Tensor:
    """Sparse non-negative mixtures of fixed directions, off-centre and not of unit scale."""
    fixed, generator = torch.Generator().manual_seed(0), torch.Generator().manual_seed(seed)
    directions = F.normalize(torch.randn(TRUE_FEATURES, WIDTH, generator=fixed), dim=1)
    active = torch.rand(n, TRUE_FEATURES, generator=generator) < 3 / TRUE_FEATURES
    return 3 * (active * (1 + torch.rand(n, TRUE_FEATURES, generator=generator))) @ directions + 5


def config(**changes: object) -> TrainingConfig:
    settings = {"n_features": 96, "k": 4, "steps": 300, "batch_size": 250, "log_every": 70, "lr": 3e-3}
    return TrainingConfig.model_validate(settings | changes)


@pytest.mark.parametrize("architecture", ["topk", "batchtopk"])
def test_training_explains_activations_it_never_saw(architecture: str) -> None:
    dictionary = train_dictionary(drawn(3001, 1), config(architecture=architecture))
    fit = measure_fit(dictionary, drawn(1003, 2), batch_size=100)
    assert fit.fvu < 0.15 and fit.l0 == pytest.approx(4, rel=0.15) and fit.silent < 0.1
    assert dictionary.W_dec.norm(dim=1).numpy() == pytest.approx(1, abs=1e-5)


def test_the_same_seed_trains_the_same_dictionary() -> None:
    first, again, other = (train_dictionary(drawn(501, 1), config(steps=20), seed=s) for s in (3, 3, 4))
    assert torch.equal(first.W_dec, again.W_dec) and not torch.equal(first.W_dec, other.W_dec)


def test_dead_features_are_revived() -> None:
    def noise(seed: int) -> Tensor:
        return torch.randn(2001, WIDTH, generator=torch.Generator().manual_seed(seed))

    # A learning rate far too high kills features.
    plan = {"n_features": 256, "steps": 150, "lr": 4e-2, "dead_after": 1000}
    without, revived = (
        measure_fit(train_dictionary(noise(1), config(auxk=auxk, **plan)), noise(2)) for auxk in (0.0, 1 / 32)
    )
    assert without.silent > 0.1 and revived.silent < 0.02 and revived.fvu < without.fvu


def test_progress_is_logged_last_of_all_at_the_last_step() -> None:
    seen: list[Progress] = []
    train_dictionary(drawn(501, 1), config(steps=100), log=seen.append)
    assert [p.step for p in seen] == [70, 100] and all(p.l0 <= 4 for p in seen)
    assert seen[1].fvu < seen[0].fvu


@pytest.mark.parametrize("mean", ["mean", "geometric-median", "none"])
@pytest.mark.parametrize("scale", ["sqrt-width", "none"])
def test_normalisation_is_undone_by_decoding(mean: str, scale: str) -> None:
    how = Normalisation.model_validate({"mean": mean, "scale": scale})
    x = drawn(501, 1)
    dictionary = train_dictionary(x, config(normalise=how, steps=150))
    assert dictionary.normalise == how
    assert measure_fit(dictionary, x).fvu < 0.5
    assert (float(dictionary.mean.abs().sum()) == 0) == (mean == "none")
    if scale == "sqrt-width":
        u = (x - dictionary.mean) * dictionary.scale
        assert float(u.square().sum(1).mean()) == pytest.approx(WIDTH, rel=1e-4)


def test_the_geometric_median_resists_outliers() -> None:
    near = torch.randn(99, 3, generator=torch.Generator().manual_seed(0))
    assert geometric_median(torch.cat([near, torch.full((10, 3), 1e4)])).norm() < 1


def test_the_learning_rate_rises_stays_and_falls() -> None:
    plan = config(steps=100, lr=1.0, warm_up=0.1, decay=0.2)
    rates = [learning_rate(step, plan) for step in range(100)]
    assert rates[0] == 0.1 and rates[9:81] == [1.0] * 72 and rates[99] == pytest.approx(0.05)
    assert learning_rate(50, config(lr=None, n_features=2**14)) == pytest.approx(2e-4)


@pytest.mark.parametrize(
    ("activations", "why"),
    [
        (torch.zeros(5), r"shape \(5,\)"),
        (torch.full((5, 3), torch.nan), "not finite"),
        (torch.ones(5, 3), "All activations are equal"),
    ],
)
def test_unusable_activations_are_refused(activations: Tensor, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        train_dictionary(activations, config())


def test_a_k_beyond_the_features_is_refused() -> None:
    with pytest.raises(ValueError, match="k 4 exceeds the 3 features"):
        train_dictionary(drawn(10, 0), config(n_features=3))

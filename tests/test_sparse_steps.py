from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sae.architectures import keep_top
from sae.sparse_entries import by_feature, decode, of_positions, of_top, rows_of, sum_rows_, sum_rows_and_dot_
from sae.sparse_steps import SparseGradients, supported
from sae.sparse_topk import batch_top, keep_topk, topk_codes
from sae.sparse_update import update
from sae.trainer.coder import Coder
from sae.trainer.gradients import Knobs, autograd
from sae.trainer.measure import Measured, Prepared
from sae.trainer.recipe import Dead, Decoder, Loss, Optimiser, Recipe

D, FEATURES, ROWS = 12, 150, 37


def recipe(**choices: Any) -> Recipe:
    return Recipe(**({"n_features": FEATURES, "k": 5, "steps": 10, "batch_size": ROWS} | choices))


def coder_of(how: Recipe, seed: int = 0) -> Coder:
    """A coder whose weights are nowhere 0, so that every gradient counts."""
    chance = torch.Generator().manual_seed(seed)
    coder = Coder(D, how, generator=chance)
    with torch.no_grad():
        for weight in coder.parameters():
            if weight.requires_grad and weight.ndim == 1:
                weight.copy_(0.1 * torch.randn(weight.shape, generator=chance))
        coder.W_enc.add_(torch.randn(coder.W_enc.shape, generator=chance), alpha=0.05)
    return coder


def batch_of(seed: int = 0, rows: int = ROWS) -> Prepared:
    u = torch.randn(rows, D, generator=torch.Generator().manual_seed(seed))
    return Prepared(u, u, u, None)


def knobs(how: Recipe) -> Knobs:
    measured = Measured(torch.zeros(D), torch.ones(()), torch.tensor(torch.inf))
    return Knobs(how.k, how.loss.weight, (), measured)


RECIPES = {
    "topk": recipe(),
    "topk-mse": recipe(loss=Loss(reconstruction="mse-sum"), decoder=Decoder(subtract_bias=False)),
    "topk-no-bias": recipe(decoder=Decoder(bias=False), loss=Loss(reconstruction="nmse")),
    "topk-free-norm": recipe(decoder=Decoder(norm="free", project_gradient=False, start_norm=0.1)),
    "topk-auxk": recipe(dead=Dead(after=20, k=3)),
    "topk-auxk-scaled": recipe(dead=Dead(after=20, k=60, scaled=True, loss="mse-sum")),
    "topk-l1": recipe(loss=Loss(sparsity="l1-relative", weight=0.1)),
    "batchtopk": recipe(architecture="batchtopk", dead=Dead(after=20)),
    "relu": recipe(architecture="relu", k=None, loss=Loss(sparsity="l1", weight=0.02)),
    "relu-plain": recipe(architecture="relu", k=None, loss=Loss(reconstruction="mse-mean")),
    "relu-auxk": recipe(
        architecture="relu",
        k=None,
        loss=Loss(sparsity="l1-relative", weight=0.02),
        dead=Dead(after=1000),
        optimiser=Optimiser(clip=None),
    ),
}


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("bias", [0.0, -2.0])
def test_sparse_gradients_are_those_of_automatic_differentiation(name: str, bias: float) -> None:
    how = RECIPES[name]
    dense, sparse = coder_of(how), coder_of(how)
    for coder in (dense, sparse):
        # Dense ReLU codes at bias 0, sparse ones at -2; some features dead already.
        coder.b_enc.data += bias
        coder.b_enc.data[:30] -= 9
        coder.idle[:30] = 10_000
    computed = SparseGradients()
    for seed in range(3):
        seen = computed(sparse, batch_of(seed), knobs(how))
        known = autograd(dense, batch_of(seed), knobs(how))
        for found, wanted in zip(seen, known, strict=True):
            assert (found is None) == (wanted is None)
            if wanted is not None and found is not None:
                torch.testing.assert_close(found.float(), wanted.float(), rtol=1e-5, atol=1e-6)
        assert torch.equal(sparse.idle, dense.idle)
        assert_same_gradients(sparse, dense)


def assert_same_gradients(sparse: Coder, dense: Coder) -> None:
    for (name, mine), theirs in zip(sparse.named_parameters(), dense.parameters(), strict=True):
        if theirs.grad is None:
            assert mine.grad is None, name
            continue
        assert mine.grad is not None, name
        scale = float(theirs.grad.abs().max()) + 1e-12
        assert float((mine.grad - theirs.grad).abs().max()) <= 1e-5 * scale, name


@pytest.mark.parametrize("name", [*RECIPES])
def test_many_sparse_steps_end_where_dense_adam_ends(name: str) -> None:
    how = RECIPES[name]
    dense, sparse = coder_of(how), coder_of(how)
    ours, theirs = adam(sparse, how), adam(dense, how)
    computed = SparseGradients()
    for seed in range(6):
        computed(sparse, batch_of(seed), knobs(how))
        update(sparse, ours, clip=how.optimiser.clip)
        autograd(dense, batch_of(seed), knobs(how))
        dense.before_step()
        if how.optimiser.clip is not None:
            nn.utils.clip_grad_norm_(dense.parameters(), how.optimiser.clip)
        theirs.step()
        dense.after_step()
    for (which, mine), wanted in zip(sparse.named_parameters(), dense.parameters(), strict=True):
        assert float((mine - wanted).detach().abs().max()) <= 1e-5, which


def adam(coder: Coder, how: Recipe) -> torch.optim.Adam:
    learnt = [weight for weight in coder.parameters() if weight.requires_grad]
    # A large eps: where a gradient is rounding alone, Adam would make its sign a whole step.
    return torch.optim.Adam(learnt, lr=1e-3, betas=how.optimiser.betas, eps=1e-5)


def test_an_update_goes_on_from_moments_that_lie_otherwise() -> None:
    how = RECIPES["topk"]
    straight, restored = coder_of(how), coder_of(how)
    one, two = adam(straight, how), adam(restored, how)
    for coder, optimiser in ((straight, one), (restored, two)):
        SparseGradients()(coder, batch_of(), knobs(how))
        update(coder, optimiser, clip=1.0)
    for state in two.state.values():
        state["exp_avg"] = state["exp_avg"].contiguous()
    restored.W_enc.data = restored.W_enc.data.contiguous()
    for coder, optimiser in ((straight, one), (restored, two)):
        SparseGradients()(coder, batch_of(1), knobs(how))
        update(coder, optimiser, clip=1.0)
    assert torch.equal(straight.W_enc, restored.W_enc)
    assert torch.equal(straight.W_dec, restored.W_dec)


@pytest.mark.parametrize(
    "choices",
    [
        {"architecture": "jumprelu"},
        {"sign": "abs"},
        {"soft_cap": 3.0},
        {"decoder": Decoder(kind="tied")},
        {"loss": Loss(sparsity="tanh", weight=0.1)},
    ],
)
def test_other_recipes_are_left_to_automatic_differentiation(choices: dict[str, Any]) -> None:
    how = recipe(**choices)
    assert not supported(how)
    dense = coder_of(how)
    sparse = copy.deepcopy(dense)
    SparseGradients()(sparse, batch_of(), knobs(how))
    autograd(dense, batch_of(), knobs(how))
    assert_same_gradients(sparse, dense)


@given(
    rows=st.integers(1, 5),
    n_features=st.integers(1, 400),
    k=st.integers(1, 40),
    seed=st.integers(0, 10**6),
    ties=st.booleans(),
)
@settings(deadline=None, max_examples=150)
def test_topk_codes_are_exact(rows: int, n_features: int, k: int, seed: int, ties: bool) -> None:
    h = torch.randn(rows, n_features, generator=torch.Generator().manual_seed(seed))
    h = h.mul(2).round() if ties else h
    top = topk_codes(h, k)
    k = min(k, n_features)
    assert top.values.shape == top.indices.shape == (rows, k)
    assert torch.equal(top.values.sort(1).values, h.topk(k, dim=1).values.sort(1).values)
    assert torch.equal(h.gather(1, top.indices), top.values)
    assert all(len(row.unique()) == k for row in top.indices)


@given(
    rows=st.integers(1, 9), n_features=st.integers(1, 300), count=st.integers(1, 400), shift=st.floats(-3, 3)
)
@settings(deadline=None, max_examples=100)
def test_batch_top_is_exact(rows: int, n_features: int, count: int, shift: float) -> None:
    h = torch.randn(rows, n_features, generator=torch.Generator().manual_seed(rows * count)) + shift
    positions = batch_top(h, count)
    known = h.flatten().topk(min(count, h.numel())).values
    assert torch.equal(h.flatten()[positions].sort().values, known[known > 0].sort().values)
    assert bool((positions.diff() > 0).all())


def test_a_nan_is_not_lost_among_the_highest() -> None:
    h = torch.randn(2, 4000)
    h[1, 777] = torch.nan
    assert not bool(topk_codes(h, 3).values[1].isfinite().all())


@pytest.mark.parametrize("shape", [(7, 999), (2, 3, 400), (0, 50), (999,)])
def test_what_is_not_kept_is_zeroed_in_place(shape: tuple[int, ...]) -> None:
    h = torch.randn(*shape)
    wanted = torch.zeros_like(h).scatter(-1, h.topk(6).indices, h.topk(6).values.relu())
    kept = keep_topk(h, 6)
    assert torch.equal(kept, wanted)
    assert kept.data_ptr() == h.data_ptr()


def test_gradients_reach_what_is_kept() -> None:
    x, weights = torch.randn(5, 8), torch.randn(8, 600)
    one, two = x.clone().requires_grad_(), x.clone().requires_grad_()
    towards = torch.randn(5, 600)
    by_one = torch.autograd.grad((keep_topk(one @ weights, 4) * towards).sum(), one)[0]
    by_two = torch.autograd.grad((keep_top((two @ weights).relu(), 4) * towards).sum(), two)[0]
    torch.testing.assert_close(by_one, by_two)


def test_entries_are_the_code_in_both_orders() -> None:
    z = torch.randn(9, 30).relu()
    positions = z.flatten().nonzero().flatten()
    entries = of_positions(positions, z.flatten()[positions], shape=(9, 30))
    rows, weights = torch.randn(30, 4), torch.randn(9, 4)
    torch.testing.assert_close(decode(entries, rows), z @ rows)
    summed, where = torch.full((30, 4), torch.nan), by_feature(entries, 30)
    dots = sum_rows_and_dot_(summed, where, entries.values[where.order], rows=weights, by=rows)
    torch.testing.assert_close(summed, z.T @ weights)
    torch.testing.assert_close(dots, (weights @ rows.T).flatten()[positions][where.order])
    assert torch.equal(rows_of(entries), positions // 30)


def test_entries_may_be_none_at_all() -> None:
    nothing = torch.empty(0, dtype=torch.int64)
    entries = of_positions(nothing, torch.empty(0), shape=(3, 5))
    assert torch.equal(decode(entries, torch.randn(5, 2)), torch.zeros(3, 2))
    summed = torch.full((5, 2), torch.nan)
    sum_rows_(summed, by_feature(entries, 5), entries.values, rows=torch.randn(3, 2))
    assert torch.equal(summed, torch.zeros(5, 2))


def test_sums_by_feature_cross_blocks_of_features() -> None:
    n_features, k = 2500, 3
    values, indices = torch.rand(11, k), torch.randint(n_features, (11, k))
    entries = of_top(values, indices)
    z = torch.zeros(11, n_features).index_put(
        (torch.arange(11)[:, None].expand(11, k), indices), values, accumulate=True
    )
    rows = torch.randn(11, 4)
    summed = torch.empty(n_features, 4)
    where = by_feature(entries, n_features)
    sum_rows_(summed, where, entries.values[where.order], rows=rows)
    torch.testing.assert_close(summed, z.T @ rows)


@pytest.mark.gpu
@pytest.mark.parametrize("name", RECIPES)
def test_sparse_gradients_on_a_gpu_are_those_of_automatic_differentiation(name: str) -> None:
    how = RECIPES[name]
    dense, sparse = coder_of(how).cuda(), coder_of(how).cuda()
    u = batch_of().u.cuda()
    batch = Prepared(u, u, u, None)
    measured = Measured(*(each.cuda() for each in knobs(how).measured))
    SparseGradients()(sparse, batch, knobs(how)._replace(measured=measured))
    autograd(dense, batch, knobs(how)._replace(measured=measured))
    assert_same_gradients(sparse, dense)

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sae.straight_through import KERNELS, Kernel, jump_relu, rectangle, step
from sae.trainer.coder import Coder
from sae.trainer.dead import Left, auxk, ghost, resample
from sae.trainer.gradients import Knobs, autograd, nesting_ks, nesting_weights
from sae.trainer.losses import LOSSES
from sae.trainer.measure import Measured, measure, prepare, restore
from sae.trainer.member import Member, Start, cuts
from sae.trainer.recipe import Recipe
from sae.trainer.schedule import Plan, annealed_k, learning_rate, ramp

WIDTH = 7


def recipe(**changes: Any) -> Recipe:
    return Recipe.model_validate({"n_features": 20, "k": 3, "steps": 10, "batch_size": 9} | changes)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def coder(seed: int = 0, **changes: Any) -> Coder:
    return Coder(WIDTH, recipe(**changes), generator=torch.Generator().manual_seed(seed))


def plain(of: Coder, x: Tensor) -> tuple[Any, Measured]:
    measured = measure(x, of.recipe.input)
    return prepare(x, of.recipe.input, by=measured), measured


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_kernel_has_integral_one(kernel: Kernel) -> None:
    t = torch.linspace(-40, 40, 400_001, dtype=torch.float64)
    assert float(KERNELS[kernel](t).sum() * (t[1] - t[0])) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("kernel", KERNELS)
def test_straight_through_gradients_are_those_of_the_smoothed_expectation(kernel: Kernel) -> None:
    """The estimator's mean over many h is the derivative of the mean of what the step is of."""
    h = 2 * torch.rand(2_000_000, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    theta = torch.tensor([0.8], dtype=torch.float64, requires_grad=True)
    # Of uniform h on [0, 2]: d/dθ P(h > θ) = -1/2 and d/dθ E[h; h > θ] = -θ/2.
    step(h, theta, bandwidth=0.05, kernel=kernel).mean().backward()  # type: ignore[no-untyped-call]
    assert theta.grad is not None and float(theta.grad) == pytest.approx(-0.5, rel=0.02)
    theta.grad = None
    jump_relu(h, theta, bandwidth=0.05, kernel=kernel).mean().backward()  # type: ignore[no-untyped-call]
    assert theta.grad is not None and float(theta.grad) == pytest.approx(-0.4, rel=0.02)


def test_the_steps_have_the_gradients_of_their_formulas() -> None:
    h = drawn(50, 4).double().requires_grad_()
    theta = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64, requires_grad=True)
    weights = drawn(50, 4, seed=1).double()
    (jump_relu(h, theta, bandwidth=0.5) * weights).sum().backward()  # type: ignore[no-untyped-call]
    inside = rectangle((h.detach() - theta.detach()) / 0.5) / 0.5
    torch.testing.assert_close(h.grad, weights * (h > theta))
    torch.testing.assert_close(theta.grad, -(weights * theta.detach() * inside).sum(0))
    h.grad = theta.grad = None
    (step(h, theta, bandwidth=0.5) * weights).sum().backward()  # type: ignore[no-untyped-call]
    assert h.grad is None
    torch.testing.assert_close(theta.grad, -(weights * inside).sum(0))
    (step(h, theta, bandwidth=0.5, to_input=True) * weights).sum().backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(h.grad, weights * inside)


def test_jump_relu_by_h_agrees_with_finite_differences() -> None:
    h = (drawn(6, 3).double().abs() + 0.5).requires_grad_()
    theta = torch.full((3,), 0.4, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda h: jump_relu(h, theta, bandwidth=0.01), (h,))


def test_losses_are_their_formulas() -> None:
    x, made = drawn(11, WIDTH) + 2, drawn(11, WIDTH, seed=1)
    squared = (x - made).square().sum(1)
    centred = x - x.mean(0)
    expected = {
        "mse-mean": squared.mean() / WIDTH,
        "mse-sum": squared.mean(),
        "fvu": squared.sum() / centred.square().sum(),
        "nmse": (squared / x.square().sum(1)).mean(),
        "nmse-centred": (squared / centred.square().sum(1)).mean(),
        "norm-divided": (squared / x.norm(dim=1)).mean() / WIDTH,
        "centred-norm-divided": (squared / centred.norm(dim=1)).mean() / WIDTH,
        "cosine": 1 - F.cosine_similarity(made, x).mean(),
    }
    assert expected.keys() == LOSSES.keys()
    for name, value in expected.items():
        torch.testing.assert_close(LOSSES[name](x - made, x), value)  # type: ignore[index]


def sparsity_of(changes: dict[str, Any], x: Tensor) -> float:
    """What the sparsity term adds to the loss."""
    with_term, without = coder(**changes), coder(**changes)
    batch, measured = plain(with_term, x)
    losses = [
        float(autograd(each, batch, Knobs(3, weight, (), measured)).loss)
        for each, weight in ((with_term, 1.0), (without, 0.0))
    ]
    return losses[0] - losses[1]


def test_sparsity_terms_are_their_formulas() -> None:
    x = drawn(9, WIDTH)
    z = (x @ coder().W_enc).relu().detach()
    relu: dict[str, Any] = {"architecture": "relu", "dead": {"policy": "none"}}
    for name, value in {
        "l1": z.sum(1).mean(),
        "l1-relative": (z.sum(1) / x.norm(dim=1)).mean(),
        "tanh": torch.tanh(4 * z).sum(1).mean(),
    }.items():
        assert sparsity_of(relu | {"loss": {"sparsity": name}}, x) == pytest.approx(float(value), rel=1e-4)
    jump: dict[str, Any] = relu | {"architecture": "jumprelu", "jump": {"start": 0.5}}
    count = (z > 0.5).sum(1).float().mean()
    for name, value in {"l0": count, "l0-target": (count / 3 - 1) ** 2}.items():
        assert sparsity_of(jump | {"loss": {"sparsity": name}}, x) == pytest.approx(float(value), rel=1e-4)


def test_a_gated_dictionary_learns_gate_and_magnitude() -> None:
    gated = coder(architecture="gated", k=None, loss={"sparsity": "l1"})
    batch, measured = plain(gated, drawn(9, WIDTH))
    autograd(gated, batch, Knobs(None, 0.1, (), measured))
    for name in ("W_enc", "W_dec", "b_enc", "b_dec", "r_mag", "b_mag"):
        gradient = getattr(gated, name).grad
        assert gradient is not None and float(gradient.abs().sum()) > 0, name


def test_a_tied_decoder_is_the_encoders_transpose_and_a_frozen_one_stays() -> None:
    for kind in ("tied", "frozen"):
        how = recipe(decoder={"kind": kind})
        member = Member(Start(how, Plan.of(how, 50), 0), drawn(50, WIDTH))
        before = member.coder.directions.detach().clone()
        for at in range(3):
            member.step(drawn(9, WIDTH, seed=at), at=at)
        after = member.dictionary(drawn(50, WIDTH))
        assert torch.equal(after.W_dec, before) == (kind == "frozen")
        assert torch.equal(after.W_dec, after.W_enc.T) == (kind == "tied")
        assert after.W_dec.norm(dim=1).numpy() == pytest.approx(1, abs=1e-5)


def test_the_gradient_along_directions_is_removed() -> None:
    free = coder()
    batch, measured = plain(free, drawn(9, WIDTH))
    autograd(free, batch, Knobs(3, 0.0, (), measured))
    free.before_step()
    assert free.W_dec.grad is not None
    along = (free.W_dec.grad * free.W_dec.detach()).sum(1)
    assert float(along.abs().max()) < 1e-6


def test_a_compensated_norm_changes_no_reconstruction_of_relu() -> None:
    how = coder(
        architecture="relu",
        k=None,
        decoder={"norm": "compensated", "start_norm": 0.1, "start": "kaiming"},
        encoder={"bias": False},
    )
    u = drawn(5, WIDTH)
    before = how.decode(how.activate(how.pre_activations(u), None))
    how.before_step()
    torch.testing.assert_close(how.decode(how.activate(how.pre_activations(u), None)), before)
    assert how.W_dec.norm(dim=1).detach().numpy() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    "layer_norm", [None, {}, {"after_scale": True}, {"ddof": 0, "eps_inside_root": True}]
)
@pytest.mark.parametrize("scale", ["none", "sqrt-width", "mean-norm", "unit-rms", "squared-norm"])
def test_preparing_is_undone_by_restoring(layer_norm: dict[str, Any] | None, scale: str) -> None:
    how = recipe(input={"mean": "mean", "scale": scale, "layer_norm": layer_norm}).input
    x = 3 * drawn(40, WIDTH) + 5
    measured = measure(x, how)
    batch = prepare(x, how, by=measured)
    torch.testing.assert_close(restore(batch.target, batch, how=how, by=measured), x, rtol=1e-3, atol=1e-3)


def test_scales_make_what_they_say() -> None:
    x = 3 * drawn(40, WIDTH) + 5
    made = {
        scale: (x - found.mean) * found.scale
        for scale in ("sqrt-width", "mean-norm", "unit-rms")
        for found in [measure(x, recipe(input={"mean": "mean", "scale": scale}).input)]
    }
    assert float(made["sqrt-width"].square().sum(1).mean()) == pytest.approx(WIDTH, rel=1e-4)
    assert float(made["mean-norm"].norm(dim=1).mean()) == pytest.approx(math.sqrt(WIDTH), rel=1e-4)
    assert float(made["unit-rms"].square().sum(1).mean()) == pytest.approx(1, rel=1e-4)


def test_rows_of_massive_norm_are_left_out() -> None:
    how = recipe(input={"mean": "mean", "drop_norm_above": 5.0}).input
    x = torch.cat([drawn(40, WIDTH), torch.full((2, WIDTH), 1e4)])
    measured = measure(x, how)
    assert float(measured.mean.abs().max()) < 1
    assert len(prepare(x, how, by=measured).u) == 40


def test_nesting_by_k_doubles_up_to_all_features() -> None:
    how = recipe(nesting={"by": "k", "weights": "reverse"})
    assert nesting_ks(how, 20) == (3, 6, 12, 20)
    assert nesting_weights(how, 4) == (4, 3, 2, 1)


def test_nested_losses_are_the_weighted_mean_of_those_of_smaller_dictionaries() -> None:
    x = drawn(9, WIDTH)
    whole = coder(architecture="relu", k=None, dead={"policy": "none"})
    batch, measured = plain(whole, x)
    z = (x @ whole.W_enc).relu().detach()
    parts = [LOSSES["fvu"](x - z[:, :end] @ whole.W_dec[:end].detach(), x) for end in (5, 20)]
    how: dict[str, Any] = {"by": "prefix", "shares": [0.25, 0.75], "weights": [3.0, 1.0]}
    nested = coder(architecture="relu", k=None, dead={"policy": "none"}, nesting=how)
    outcome = autograd(nested, batch, Knobs(None, 0.0, (5, 20), measured))
    assert float(outcome.loss) == pytest.approx(float((3 * parts[0] + parts[1]) / 4), rel=1e-5)
    assert float(outcome.fvu) == pytest.approx(float(parts[1]), rel=1e-5)


def test_prefixes_rise_to_all_features() -> None:
    chance = torch.Generator().manual_seed(0)
    fixed = recipe(nesting={"by": "prefix", "shares": [0.1, 0.4, 0.5]})
    assert cuts(fixed, 20, generator=chance) == (2, 10, 20)
    random = recipe(nesting={"by": "random-prefix", "count": 6})
    drawn_cuts = [cuts(random, 20, generator=chance) for _ in range(50)]
    assert all(len(each) == 6 and list(each) == sorted(each) and each[-1] == 20 for each in drawn_cuts)
    assert len(set(drawn_cuts)) > 10
    assert cuts(recipe(), 20, generator=chance) == ()


def test_auxk_and_ghost_gradients_reach_dead_features_only() -> None:
    for policy in (auxk, ghost):
        of = coder(dead={"policy": "auxk", "k": 2})
        dead = torch.zeros(20, dtype=torch.bool)
        dead[4:9] = True
        left = Left(of.pre_activations(drawn(9, WIDTH)), drawn(9, WIDTH, seed=1), dead, torch.tensor(0.7))
        policy(of, left).backward()  # type: ignore[no-untyped-call]
        assert of.W_enc.grad is not None and of.W_dec.grad is not None
        moved = (of.W_enc.grad.abs().sum(0) + of.W_dec.grad.abs().sum(1)) > 0
        assert bool(moved[dead].any()) and not bool(moved[~dead].any())


def test_ghost_gradients_count_as_much_as_the_reconstruction() -> None:
    of = coder(dead={"policy": "ghost", "weight": 1.0})
    dead = torch.arange(20) < 6
    left = Left(of.pre_activations(drawn(9, WIDTH)), drawn(9, WIDTH, seed=1), dead, torch.tensor(0.7))
    assert float(ghost(of, left).detach()) == pytest.approx(0.7, rel=1e-5)


def test_resampled_features_begin_anew_at_badly_reconstructed_rows() -> None:
    how = recipe(dead={"policy": "resample", "after": 10, "every": 10_000}, decoder={"subtract_bias": False})
    member = Member(Start(how, Plan.of(how, 50), 0), drawn(50, WIDTH))
    member.step(drawn(9, WIDTH), at=0)
    of = member.coder
    of.idle.zero_()
    of.idle[[2, 5]] = 11
    x = drawn(6, WIDTH, seed=3)
    before = of.W_enc.detach().clone()
    norm = before[:, of.idle == 0].norm(dim=0).mean()
    count = resample(of, member.optimiser, batch=(x, x), generator=member.generator)
    assert count == 2 and int(of.idle.max()) == 0
    similar = F.normalize(x - of.b_dec.detach(), dim=1) @ of.W_dec.detach()[[2, 5]].T
    assert similar.max(0).values.numpy() == pytest.approx(1, abs=1e-5)
    assert of.W_enc[:, [2, 5]].norm(dim=0).detach().numpy() == pytest.approx(float(0.2 * norm), rel=1e-4)
    assert float(member.optimiser.state[of.W_enc]["exp_avg"][:, [2, 5]].abs().max()) == 0
    assert float(member.optimiser.state[of.W_dec]["exp_avg_sq"][[2, 5]].abs().max()) == 0
    others = [at for at in range(20) if at not in (2, 5)]
    assert torch.equal(of.W_enc.detach()[:, others], before[:, others])


def test_schedules() -> None:
    plan = Plan(100, 20)

    def rates(**how: Any) -> list[float]:
        made = recipe(optimiser={"lr": 1.0} | how).optimiser
        return [learning_rate(at, made, plan=plan, n_features=20) for at in range(100)]

    assert set(rates(schedule="constant")) == {1.0}
    assert rates(schedule="constant", warm_up=10)[:3] == pytest.approx([0.1, 0.2, 0.3])
    cosine = rates(schedule="cosine", warm_up=0.1, floor=0.1)
    assert cosine[10] == pytest.approx(1) and cosine[55] == pytest.approx(0.55) and cosine[99] < 0.102
    assert rates(schedule="exponential", gamma=0.5)[::20] == [1, 0.5, 0.25, 0.125, 0.0625]
    assert rates(schedule="steps", gamma=0.5, every=2)[:5] == [1, 1, 0.5, 0.5, 0.25]
    assert rates(schedule="linear", decay=0.5)[50:53] == pytest.approx([1, 0.98, 0.96])


def test_k_anneals_and_sparsity_warms_up() -> None:
    plan = Plan(100, 20)
    how = recipe(k=4, k_start=20, k_anneal=0.4)
    assert [annealed_k(at, how, plan=plan) for at in (0, 10, 40, 99)] == [20, 16, 4, 4]
    assert [ramp(at, 50, plan=plan) for at in (0, 25, 50, 99)] == [0, 0.5, 1, 1]
    assert ramp(0, 0, plan=plan) == 1


def test_a_soft_cap_bounds_activations() -> None:
    capped = coder(soft_cap=0.5)
    assert float(capped.activate(10 * drawn(9, 20), 3).max()) <= 0.5


def test_bfloat16_products_train_too() -> None:
    how = recipe(optimiser={"bf16": True, "lr": 1e-2})
    member = Member(Start(how, Plan.of(how, 50), 0), drawn(50, WIDTH))
    seen = [float(member.step(drawn(64, WIDTH), at=at).fvu) for at in range(10)]
    assert seen[-1] < seen[0] and member.coder.W_enc.dtype == torch.float32

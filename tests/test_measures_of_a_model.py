"""Reading tokens, probes, controls and everything at once, on tiny real models and planted data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.metrics import f1_score

from sae.activations import POOL, open_reader
from sae.backbone import load_backbone
from sae.card import BackboneSpec
from sae.fit import measure_fit
from sae.image_source import choose_images
from sae.measures.controls import noise_backbone, trained_on, untrained
from sae.measures.evaluating import Judge, match_dictionaries, measure_dictionary, set_up
from sae.measures.probes import Inputs, fit_probes, macro_f1
from sae.measures.reading import Subject, count_active, read_tokens
from sae.measures.score import mean_score, ratio_score, share_score
from sae.measures.tokens import Tokens, gather_tokens, moments
from sae.metrics import fvu
from sae.pooling import Pooling
from tests.measured_models import (
    CLASSES,
    FEATURES,
    labelled,
    lossless,
    random_topk,
    write_clip_dictionary,
)
from tests.tiny_models import WIDTH, write_open_clip


def tokens(n: int = 11, positions: int = 3, *, seed: int = 0) -> Tokens:
    chance = torch.Generator().manual_seed(seed)
    return Tokens(torch.randn(n, positions, WIDTH, generator=chance) + torch.linspace(0, 3, WIDTH))


@pytest.mark.parametrize("pooling", ["max", "mean", "top-p"])
def test_a_reading_is_the_same_in_batches_and_at_once(
    pooling: Pooling, monkeypatch: pytest.MonkeyPatch
) -> None:
    dictionary, held = random_topk(), tokens()
    monkeypatch.setattr("sae.measures.reading.MOST_CODES", 4 * 3 * FEATURES)
    reading = read_tokens(Subject(dictionary, pooling), held)
    codes = dictionary.encode(held.held)
    rebuilt = dictionary.decode(codes)
    fit = measure_fit(dictionary, held.held.flatten(0, 1))
    found = ratio_score(reading.images.error, moments(held).spread, seed=0)
    assert (
        found.value
        == pytest.approx(fit.fvu)
        == pytest.approx(fvu(held.held.flatten(0, 1), rebuilt.flatten(0, 1)))
    )
    assert reading.explained[-1].value == pytest.approx(1 - fit.fvu)
    assert reading.images.l0.mean() == pytest.approx(fit.l0) and reading.rows == 33
    np.testing.assert_allclose(reading.codes.toarray(), POOL[pooling](codes, 0.1).numpy(), atol=1e-6)
    np.testing.assert_allclose(reading.rebuilt, rebuilt.mean(1).numpy(), atol=1e-5)
    np.testing.assert_array_equal(reading.features.active, (codes != 0).sum((0, 1)).numpy())
    np.testing.assert_array_equal(reading.features.images, (codes != 0).any(1).sum(0).numpy())
    np.testing.assert_allclose(reading.features.highest, codes.amax((0, 1)).numpy(), rtol=1e-6)
    np.testing.assert_array_equal(count_active(dictionary, held), reading.features.active)
    x, y = held.held.flatten(0, 1).double(), rebuilt.flatten(0, 1).double()
    assert reading.bias == pytest.approx(float((y * y).sum() / (x * y).sum()))
    assert reading.images.cosine.mean() == pytest.approx(
        float(torch.cosine_similarity(x, y).mean()), abs=1e-6
    )


def test_gamma_is_the_length_of_the_mean_over_the_spread() -> None:
    held = tokens(40, 2)
    x = held.held.flatten(0, 1).double()
    found = moments(held)
    assert found.gamma == pytest.approx(float(x.mean(0).norm() / x.var(0, correction=0).sum().sqrt()))
    assert np.isnan(moments(Tokens(torch.ones(4, 1, 3))).gamma)


def test_scores_of_nothing_but_hits_keep_a_wide_interval() -> None:
    certain, half = share_score([1] * 20, seed=0), share_score([0, 1] * 20, seed=0)
    assert certain.value == certain.high == 1 and certain.low is not None and certain.low < 0.9
    assert half.low is not None and half.high is not None and half.low < 0.5 < half.high
    assert mean_score([], seed=0).value is None and ratio_score([0.0], [0.0], seed=0).value is None


def test_probes_read_what_is_planted_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    truth = np.arange(150) % 3
    planted = np.eye(3)[truth] * 4 + rng.normal(size=(150, 3))
    noise = rng.normal(size=(150, 3))
    found = fit_probes(Inputs(planted, noise, sparse.csr_matrix(np.maximum(planted, 0))), truth, seed=1)
    assert found is not None and (found.classes, found.fitted_on, found.read_on) == (3, 105, 45)
    x, rebuilt, codes = found.scores
    assert (x.accuracy.value or 0) > 0.85 and (codes.macro_f1.value or 0) > 0.85
    assert (rebuilt.accuracy.value or 0) < 0.6 and (found.agreement.value or 0) < 0.6
    assert (found.divergence.value or 0) > 0.5 and found.commonest == pytest.approx(1 / 3)
    assert x.accuracy.low is not None and x.accuracy.low < (x.accuracy.value or 0)


def test_a_probe_shown_the_same_says_the_same() -> None:
    truth = np.arange(40) % 2
    x = np.random.default_rng(0).normal(size=(40, 4)) + truth[:, None]
    found = fit_probes(Inputs(x, x.copy(), sparse.csr_matrix(x)), truth, seed=0)
    assert found is not None and found.agreement.value == 1 and found.divergence.value == 0


@pytest.mark.parametrize("truth", [[0] * 30, [0] * 28 + [1] * 2, list(range(30))])
def test_probes_need_two_classes_of_several_images(truth: list[int]) -> None:
    x = np.random.default_rng(0).normal(size=(30, 4))
    assert fit_probes(Inputs(x, x, sparse.csr_matrix(x)), truth, seed=0) is None


def test_macro_f1_is_sklearns() -> None:
    rng = np.random.default_rng(0)
    truth, called = rng.integers(0, 4, 50), rng.integers(0, 5, 50)
    assert macro_f1(truth, called, classes=6) == pytest.approx(f1_score(truth, called, average="macro"))


@pytest.mark.parametrize("architecture", ["topk", "relu", "batchtopk", "jumprelu"])
def test_an_untrained_control_is_as_sparse(architecture: str) -> None:
    known, x = random_topk(), tokens(50, 2).held.flatten(0, 1)
    thresholds = {"batchtopk": torch.tensor(1.0), "jumprelu": torch.full((FEATURES,), 1.0)}
    known = replace(
        known,
        architecture=architecture,
        threshold=thresholds.get(architecture),
        b_enc=torch.full((FEATURES,), -2.0),
    )
    twin = untrained(known, x, seed=0)
    assert twin is not None and twin.architecture == architecture
    l0 = [float((each.encode(x) > 0).sum(1).float().mean()) for each in (known, twin)]
    assert l0[0] == pytest.approx(l0[1], abs=0.1)
    assert not torch.allclose(twin.W_dec, known.W_dec)


def test_a_noise_backbone_has_the_shape_and_none_of_the_weights(tmp_path: Path) -> None:
    write_open_clip(tmp_path / "clip")
    spec = BackboneSpec(kind="open_clip", source=str(tmp_path / "clip"))
    own, noise, again = load_backbone(spec), noise_backbone(spec, seed=0), noise_backbone(spec, seed=0)
    assert noise is not None and again is not None
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    held = [each.activations(pixels, ["block.1"])["block.1"] for each in (own, noise, again)]
    assert held[0].shape == held[1].shape and not torch.allclose(held[0], held[1], atol=0.1)
    assert torch.equal(held[1], held[2])


def test_the_control_trained_on_noise_has_size_and_sparsity() -> None:
    control = trained_on(tokens(60, 2).held.flatten(0, 1), random_topk(), l0=5.0, steps=3, seed=0)
    assert (control.n_features, control.width, control.k) == (FEATURES, WIDTH, 5)
    relu = replace(random_topk(), architecture="relu", k=None)
    assert trained_on(tokens(60, 2).held.flatten(0, 1), relu, l0=7.4, steps=2, seed=0).k == 7


@pytest.mark.parametrize(("pooling", "positions"), [("max", 16), ("cls", 1)])
def test_tokens_are_gathered_whatever_the_batch(tmp_path: Path, pooling: Pooling, positions: int) -> None:
    reader = open_reader(write_clip_dictionary(tmp_path, pooling=pooling))
    images = labelled(35)
    found = gather_tokens(reader, images)
    assert found.tokens.held.shape == (35, positions, WIDTH) and found.labels[:4] == (*CLASSES, CLASSES[0])
    alone = reader.inputs(reader.backbone.preprocess([images.read(34).image]))
    torch.testing.assert_close(found.tokens.held[34], alone, atol=1e-5, rtol=1e-4)
    few = gather_tokens(reader, choose_images(images, 5, seed=0))
    assert few.tokens.n_images == 5


def test_large_activations_lie_in_a_file_and_read_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = open_reader(write_clip_dictionary(tmp_path))
    inside = gather_tokens(reader, labelled(5)).tokens.held
    monkeypatch.setattr("sae.measures.tokens.MOST_HELD", 100)
    assert torch.equal(gather_tokens(reader, labelled(5)).tokens.held, inside)


def test_every_measure_of_a_dictionary_at_once() -> None:
    held = tokens(60, 2)
    judge = Judge("random", True, np.random.default_rng(0).normal(size=(60, 5)))
    bench = set_up(held, judge, labels=[at % 2 if at else -1 for at in range(60)], seed=0)
    found = measure_dictionary(Subject(random_topk(), "max"), bench, name="tiny")
    findings, details = found
    assert findings.activity.l0.value == 5 and findings.fidelity.fvu.n == 60 and findings.probes is not None
    assert findings.activity.dead.value == pytest.approx((details.density == 0).mean())
    assert findings.meaning.measured == np.isfinite(details.monosemanticity).sum()
    assert {len(each) for each in details[2:]} == {FEATURES} and {len(each) for each in details[:2]} == {60}
    assert findings == findings.model_validate_json(findings.model_dump_json())
    perfect = measure_dictionary(Subject(lossless(), "max"), bench, name="perfect").findings
    assert perfect.fidelity.fvu.value == pytest.approx(
        0, abs=1e-9
    ) and perfect.fidelity.bias.value == pytest.approx(1)
    assert perfect.fidelity.explained[-1].value == pytest.approx(1)
    assert perfect.probes is not None and perfect.probes.agreement.value == 1


def test_a_dictionary_with_no_live_feature_is_measured() -> None:
    dead = replace(random_topk(), architecture="relu", k=None, b_enc=torch.full((FEATURES,), -100.0))
    bench = set_up(tokens(20, 1), Judge("random", True, np.random.default_rng(0).normal(size=(20, 5))))
    findings = measure_dictionary(Subject(dead), bench, name="dead").findings
    assert findings.activity.dead.value == 1 and findings.meaning.monosemanticity.value is None
    assert findings.fidelity.bias.value is None and findings.probes is None
    assert findings == findings.model_validate_json(findings.model_dump_json())


def test_dictionaries_are_matched() -> None:
    same = match_dictionaries(random_topk(), random_topk(), other="again")
    assert same.mean.value == pytest.approx(1, abs=1e-6) and same.found_again.value == 1
    assert (match_dictionaries(random_topk(), random_topk(1), other="seed 1").mean.value or 1) < 0.9

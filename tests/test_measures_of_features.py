"""CKNNA, monosemanticity, overlap and directions, against formulas written out."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from sae.measures.cknna import cknna
from sae.measures.directions import directions, stability
from sae.measures.monosemanticity import MonosemanticitySum, mean_cosine, monosemanticity
from sae.measures.overlap import mean_overlap, strongest_images
from sae.metrics import Doubles


def mean(values: Iterable[Any]) -> float:
    return float(np.mean(list(values)))


def dense_cknna(a: Doubles, b: Doubles, k: int) -> float:
    """The (n, n) kernels and their mask, written out."""
    n = len(a)

    def kernel(rows_of: Doubles) -> Doubles:
        unit = rows_of / np.linalg.norm(rows_of, axis=1, keepdims=True)
        found: Doubles = unit @ unit.T
        return found

    def near(gram: Doubles) -> Doubles:
        away = gram.copy()
        np.fill_diagonal(away, -np.inf)
        mask = np.zeros((n, n))
        for row in range(n):
            mask[row, np.argsort(-away[row])[:k]] = 1
        return mask

    def hsic(p: Doubles, q: Doubles) -> float:
        p, q = p.copy(), q.copy()
        np.fill_diagonal(p, 0)
        np.fill_diagonal(q, 0)
        ones = np.ones(n)
        trace, both = np.trace(p @ q), ones @ p @ q @ ones
        return float(
            (trace + ones @ p @ ones * (ones @ q @ ones) / ((n - 1) * (n - 2)) - 2 * both / (n - 2))
            / (n * (n - 3))
        )

    ka, kb = kernel(a), kernel(b)
    ma, mb = near(ka), near(kb)
    shared = hsic(ma * mb * ka, ma * mb * kb)
    return shared / float(np.sqrt(hsic(ma * ka, ma * ka) * hsic(mb * kb, mb * kb)))


def test_cknna_is_the_dense_formula_dense_or_sparse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sae.measures.cknna._CHUNK", 13)
    rng = np.random.default_rng(1)
    a = rng.normal(size=(97, 6))
    codes = np.maximum(a @ rng.normal(size=(6, 40)) - 0.5, 0) + 1e-3
    expected = dense_cknna(a, codes, 10)
    assert cknna(a, codes) == pytest.approx(expected, abs=1e-10)
    assert cknna(a, sparse.csr_matrix(codes)) == pytest.approx(expected, abs=1e-10)
    assert cknna(a, 3 * a @ np.linalg.qr(rng.normal(size=(6, 6)))[0]) == pytest.approx(1)
    assert abs(cknna(a, rng.normal(size=(97, 6)))) < 0.2 < expected
    with pytest.raises(ValueError, match="cannot be aligned"):
        cknna(a, a[:-1])


def double_loop(activations: Doubles, embeddings: Doubles) -> Doubles:
    """MS as it is defined, pair by pair."""
    low, high = activations.min(0), activations.max(0)
    found = np.full(activations.shape[1], np.nan)
    for j in range(activations.shape[1]):
        if high[j] == low[j]:
            continue
        a = (activations[:, j] - low[j]) / (high[j] - low[j])
        part = whole = 0.0
        for i, k in itertools.combinations(range(len(a)), 2):
            lengths = np.linalg.norm(embeddings[i]) * np.linalg.norm(embeddings[k])
            part += a[i] * a[k] * (embeddings[i] @ embeddings[k] / lengths if lengths else 0.0)
            whole += a[i] * a[k]
        found[j] = part / whole if whole else np.nan
    return found


@pytest.mark.parametrize("offset", [0.0, 2.5])
def test_monosemanticity_is_the_double_loop(offset: float) -> None:
    rng = np.random.default_rng(2)
    codes = np.maximum(rng.normal(size=(43, 9)) - 0.7, 0) + offset
    codes[:, 3] = offset  # Never active.
    codes[:, 4] = offset
    codes[7, 4] += 1  # Active once.
    e = rng.normal(size=(43, 6)) + 1
    e[5] = 0
    expected = double_loop(codes, e)
    np.testing.assert_allclose(monosemanticity(codes, e, chunk=10), expected, atol=1e-9)
    np.testing.assert_allclose(monosemanticity(sparse.csr_matrix(codes), e, chunk=7), expected, atol=1e-9)
    assert np.isnan(expected[[3, 4]]).all()


def test_a_feature_of_like_images_is_more_monosemantic() -> None:
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(4), 20)
    e = np.eye(4)[groups] + 0.1 * rng.normal(size=(80, 4))
    codes = np.stack([(groups == 1) * 1.0, rng.random(80)], axis=1)
    pure, mixed = monosemanticity(codes, e)
    assert pure > 0.9 and mixed < 0.6
    assert mean_cosine(e) == pytest.approx(
        double_loop(np.append(np.ones(80), 0)[:, None], np.append(e, e[:1], 0))[0]
    )


def test_monosemanticity_of_nothing_is_empty() -> None:
    total = MonosemanticitySum()
    assert total.values().shape == (0,)
    total.add(np.zeros((0, 3)), np.zeros((0, 2)))
    with pytest.raises(ValueError, match="do not fit"):
        total.add(np.zeros((2, 3)), np.zeros((3, 2)))


def test_overlap_is_the_mean_jaccard_of_the_strongest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sae.measures.overlap._CHUNK", 5)
    codes = np.maximum(np.random.default_rng(4).normal(size=(30, 13)) - 0.8, 0)
    codes[:, 6] = 0
    sets = [
        set(np.argsort(-codes[:, j], kind="stable")[:4]) - set(np.flatnonzero(codes[:, j] <= 0))
        for j in range(13)
    ]
    pairs = [len(a & b) / len(a | b) for a, b in itertools.combinations([each for each in sets if each], 2)]
    assert mean_overlap(codes, count=4) == pytest.approx(mean(pairs))
    assert mean_overlap(sparse.csr_matrix(codes), count=4) == pytest.approx(mean(pairs))
    assert [set(row.indices) for row in strongest_images(codes, count=4)] == sets
    assert np.isnan(mean_overlap(np.zeros((5, 3))))


def test_directions_are_measured_as_written_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sae.measures.directions._CHUNK", 4)
    decoder = np.random.default_rng(5).normal(size=(11, 6)) * np.linspace(1, 5, 11)[:, None]
    unit = decoder / np.linalg.norm(decoder, axis=1, keepdims=True)
    cosines = np.abs(unit @ unit.T)[~np.eye(11, dtype=bool)].reshape(11, 10)
    found = directions(decoder)
    assert found.orthogonality == pytest.approx((cosines**2).mean())
    assert found.coherence == pytest.approx(cosines.max(), abs=1e-6)
    np.testing.assert_allclose(found.nearest, cosines.max(1), atol=1e-6)
    assert directions(np.eye(6)).orthogonality == 0 and np.isnan(directions(np.eye(1)).coherence)


def test_a_permuted_dictionary_with_turned_signs_is_found_again() -> None:
    rng = np.random.default_rng(6)
    decoder = rng.normal(size=(20, 30))
    again = (decoder * rng.choice([-2.0, 0.5], 20)[:, None])[rng.permutation(20)]
    found = stability(decoder, np.vstack([again, rng.normal(size=(5, 30))]))
    assert found.mean == pytest.approx(1, abs=1e-6) and found.found_again == 1 and found.matched == 20
    assert stability(decoder, rng.normal(size=(20, 30))).mean < 0.7
    assert stability(decoder, again, most=7).matched == 7
    with pytest.raises(ValueError, match="one hook point"):
        stability(decoder, decoder[:, :3])


def test_stability_pairs_one_to_one() -> None:
    first = np.array([[1.0, 0.0], [0.9, 0.1]])
    found = stability(first, np.array([[1.0, 0.0], [0.0, 1.0]]))
    assert found.cosines.max() == pytest.approx(1) and found.cosines.min() == pytest.approx(
        0.1 / np.hypot(0.9, 0.1)
    )

"""Which concept lives where: correlations against numpy's, classes, what is found nowhere else, refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from sae.activations import FeatureReader
from sae.code_index_build import build_index
from sae.errors import BadIndex
from sae.taxonomy import Layer, layer_of, overlap, taxonomy
from tests.measured_models import labelled, random_topk
from tests.tiny_backbones import tiny_backbone


def codes(n: int, features: int, *, seed: int, density: float = 0.4) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.where(rng.random((n, features)) < density, rng.random((n, features)) + 0.1, 0.0)


def layer(name: str, dense: np.ndarray) -> Layer:
    return Layer(name, sparse.csc_matrix(dense))


@given(
    n=st.integers(5, 40),
    features=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    seed=st.integers(0, 99),
    density=st.sampled_from([0.1, 0.5, 1.0]),
)
@settings(max_examples=40, deadline=None)
def test_best_matches_are_numpys_correlations(
    n: int, features: tuple[int, int], seed: int, density: float
) -> None:
    first, second = (codes(n, each, seed=seed + at, density=density) for at, each in enumerate(features))
    kept = [np.flatnonzero(((each > 0).sum(0) >= 3) & (each.std(0) > 1e-9)) for each in (first, second)]
    found = overlap(layer("a", first), layer("b", second))
    if not len(kept[0]) or not len(kept[1]):
        assert found.matches == () and found.share is None and found.median is None
        return
    whole = np.corrcoef(first[:, kept[0]].T, second[:, kept[1]].T)[: len(kept[0]), len(kept[0]) :]
    assert {match.feature for match in found.matches} == set(kept[0].tolist())
    for match in found.matches:
        row, column = (
            int(np.flatnonzero(k == at)[0]) for k, at in zip(kept, (match.feature, match.other), strict=True)
        )
        assert match.correlation == pytest.approx(whole[row].max(), abs=1e-9)
        assert match.correlation == pytest.approx(whole[row, column], abs=1e-9)
        assert match.mutual == (whole[:, column].argmax() == row)
    assert found.share == pytest.approx((whole.max(1) >= 0.5).mean())
    assert found.median == pytest.approx(np.median(whole.max(1)))


def test_a_shuffled_copy_is_found_again_whole_and_noise_is_not() -> None:
    dense = codes(200, 30, seed=0)
    order = np.random.default_rng(1).permutation(30)
    layers = [
        layer("this", dense),
        layer("copy", 3 * dense[:, order]),
        layer("noise", codes(200, 30, seed=2)),
    ]
    found = taxonomy(layers)
    assert [(each.dictionary, each.other) for each in found.overlaps] == [
        *(("this", "copy"), ("this", "noise")),
        *(("copy", "this"), ("copy", "noise")),
        *(("noise", "this"), ("noise", "copy")),
    ]
    copied, noise = found.overlaps[:2]
    assert copied.share == 1 and copied.cknna == pytest.approx(1)
    assert all(match.mutual and order[match.other] == match.feature for match in copied.matches)
    assert noise.share == 0 and noise.cknna is not None and noise.cknna < 0.3
    assert found.own == ((), (), tuple(range(30))) and found.homes == ()


def test_more_features_than_a_chunk_are_compared_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = layer("a", codes(60, 23, seed=0)), layer("b", codes(60, 17, seed=1))
    whole = overlap(first, second)
    monkeypatch.setattr("sae.taxonomy._CHUNK", 5)
    assert overlap(first, second) == whole


def test_classes_live_where_a_feature_goes_with_them() -> None:
    labels = ["cat", "dog", None, "owl"] * 12
    cat, dog = (np.array([label == each for label in labels], float) for each in ("cat", "dog"))
    early, late = codes(48, 4, seed=0), codes(48, 6, seed=1)
    early[:, 2], late[:, 5] = 2 * dog, cat
    found = taxonomy([layer("early", early), layer("late", late)], labels=labels)
    homes = {home.label: home for home in found.homes}
    assert set(homes) == {"cat", "dog", "owl"} and homes["cat"].images == 12
    assert homes["cat"].dictionary == "late" and homes["cat"].best[1].other == 5
    assert homes["dog"].dictionary == "early" and homes["dog"].best[0].other == 2
    assert homes["dog"].best[0].correlation == pytest.approx(1) and homes["dog"].best[0].mutual


def test_dead_dictionaries_are_compared_without_a_figure() -> None:
    empty = layer("dead", np.zeros((20, 3)))
    found = taxonomy([layer("alive", codes(20, 5, seed=0)), empty])
    for each in found.overlaps:
        assert each.compared == 0 and each.share is None and each.cknna is None
    assert found.own == ((), ())


def test_what_cannot_be_compared_is_said() -> None:
    one = layer("a", codes(20, 5, seed=0))
    for layers in (
        [one],
        [one, one],
        [one, layer("b", codes(20, 5, seed=1)), layer("a", codes(20, 5, seed=2))],
    ):
        with pytest.raises(BadIndex, match="two or more different"):
            taxonomy(layers)
    with pytest.raises(BadIndex, match="of 19, 20 images"):
        taxonomy([one, layer("b", codes(19, 5, seed=1))])
    with pytest.raises(BadIndex, match="of 3, 20 images"):
        taxonomy([one, layer("b", codes(20, 5, seed=1))], labels=["x"] * 3)


def test_layers_are_read_from_indices(tmp_path: Path) -> None:
    images = labelled(13)
    reader = FeatureReader(tiny_backbone("clip"), random_topk(), "block.1", "max", batch_size=5)
    index = build_index(reader, images, folder=tmp_path, identity="tiny")
    read = layer_of("block.1", index)
    dense = np.stack([index.activations(feature) for feature in range(index.card.n_features)], axis=1)
    assert np.array_equal(read.codes.toarray(), dense) and read.codes.nnz > 0

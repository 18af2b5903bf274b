from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sae.errors import BadDictionary
from sae.statistics import (
    STATISTICS_FILE,
    decoder_neighbours,
    load_statistics,
    nearest_words,
    probe_statistics,
    save_statistics,
    statistics_of,
)


def test_threshold_is_half_the_99th_percentile_of_the_active() -> None:
    activations = np.zeros((400, 3), np.float32)
    activations[:102, 0] = np.arange(102)
    activations[7, 1] = np.float32(1e-45)
    found = probe_statistics(activations)
    assert found.p99[0] == 100 and found.threshold[0] == 50
    assert found.density.tolist() == pytest.approx([101 / 400, 1 / 400, 0])
    assert found.threshold[1] > 0, "a live feature's threshold is never 0"
    assert found.threshold[2] == found.p99[2] == 0


def test_features_one_by_one_are_measured_as_all_together() -> None:
    activations = np.random.default_rng(0).random((9, 5), np.float32) - np.float32(0.5)
    for single, whole in zip(statistics_of(iter(activations.T)), probe_statistics(activations), strict=True):
        np.testing.assert_array_equal(single, whole)
    assert [array.shape for array in statistics_of([])] == [(0,)] * 3


def test_statistics_survive_the_disk(tmp_path: Path) -> None:
    found = probe_statistics(np.random.default_rng(0).random((9, 5), np.float32))
    save_statistics(found, tmp_path)
    for kept, was in zip(load_statistics(tmp_path), found, strict=True):
        np.testing.assert_array_equal(kept, was)


@pytest.mark.parametrize("content", [None, b"", b"\x08\0\0\0\0\0\0\0{}      "])
def test_broken_statistics_are_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / STATISTICS_FILE).write_bytes(content)
    with pytest.raises(BadDictionary, match="measure its probe set again"):
        load_statistics(tmp_path)


def test_neighbours_are_the_nearest_by_cosine_and_never_oneself() -> None:
    decoder = np.array([[1, 0], [0, 3], [2, 1], [0, 0]])
    assert decoder_neighbours(decoder, count=2).tolist() == [[2, 1], [2, 0], [0, 1], [0, 1]]
    assert decoder_neighbours(decoder).shape == (4, 3)


def test_neighbours_do_not_depend_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = np.random.default_rng(1).normal(size=(23, 6))
    whole = decoder_neighbours(decoder, count=4)
    monkeypatch.setattr("sae.statistics._BLOCK", 5)
    np.testing.assert_array_equal(decoder_neighbours(decoder, count=4), whole)


def test_nearest_words_ignore_what_all_words_share() -> None:
    texts = [[9, 1, 0], [9, -1, 0], [9, 0, 1]]
    words = nearest_words([[0, 1, 0]], texts, ["up", "down", "out"], count=2)
    assert [word for word, _ in words[0]] == ["up", "out"]
    assert words[0][0][1] > 0.8


def test_words_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        nearest_words([[1.0, 0]], [[1.0, 0]], ["a", "b"])

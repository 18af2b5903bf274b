"""The harness's judge: recall on labelled images, cuts, what has no figure."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, jaccard_score, roc_auc_score

from evals.judging import called_by, recall
from evals.subject import Bools
from tools.protocols import Floats


class Labelled:
    """One concept and one feature over n images."""

    words = ("red",)

    def __init__(self, shows: Bools, activation: Floats) -> None:
        self._shows, self._activation = shows, activation

    def holds(self, name: str) -> Bools | None:
        return self._shows if name == "red" else None

    def activations(self, index: int) -> Floats:
        return self._activation


def sparse(n: int, *, seed: int) -> Labelled:
    """A feature that fires on most of what shows the concept and on a little else; n need not be even."""
    rng = np.random.default_rng(seed)
    shows = rng.random(n) < 0.2
    fires = np.where(shows, rng.random(n) < 0.8, rng.random(n) < 0.1)
    return Labelled(shows, (fires * rng.gamma(3.0, size=n)).astype(np.float32))


@pytest.mark.parametrize("n", [101, 1000, 4001])
def test_recall_agrees_with_scikit_learn(n: int) -> None:
    images = sparse(n, seed=n)
    told = recall(images, 0, "red")
    assert told is not None
    shows, activation = images.holds("red"), images.activations(0)
    assert shows is not None
    called = called_by(activation, shows)
    assert told.auprc == pytest.approx(average_precision_score(shows, activation), abs=1e-9)
    assert told.auroc == pytest.approx(roc_auc_score(shows, activation), abs=1e-9)
    assert told.f1 == pytest.approx(f1_score(shows[1::2], called), abs=1e-9)
    assert told.iou == pytest.approx(jaccard_score(shows[1::2], called), abs=1e-9)
    assert told.correlation == pytest.approx(np.corrcoef(activation, shows)[0, 1], abs=1e-6)
    assert (told.positives, told.images) == (int(shows.sum()), n)


def test_there_is_no_recall_where_nothing_can_be_counted() -> None:
    images = sparse(200, seed=1)
    assert recall(None, 0, "red") is None
    assert recall(images, 0, "unheard of") is None
    assert recall(Labelled(np.zeros(200, np.bool_), images.activations(0)), 0, "red") is None
    assert recall(Labelled(np.ones(200, np.bool_), images.activations(0)), 0, "red") is None


def test_a_feature_that_is_off_calls_nothing() -> None:
    shows = np.arange(40) % 4 < 2
    assert not called_by(np.zeros(40, np.float32), shows).any()
    weak = np.where(np.arange(40) == 0, 0.5, 0.0).astype(np.float32)
    assert not called_by(weak, shows).any()

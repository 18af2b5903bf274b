"""Maps on the sandbox point at the object, and the measurement of that can tell when they do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import relevance_sandbox
from benchmarks.relevance_sandbox import Drawn, draw, measure, near_by_chance, pointed, table
from sae.activations import FeatureReader, open_reader
from sandbox.truth import TruthRow, load_truth

MODELS = Path(relevance_sandbox.__file__).parent.parent / "sandbox" / "models"


def objects(name: str) -> list[TruthRow]:
    return [row for row in load_truth(MODELS / name) if row.kind == "object"]


def drawn_of(reader: FeatureReader, rows: list[TruthRow], *, count: int) -> list[Drawn]:
    return [each for row in rows if (each := draw(reader, row, count=count, seed=1)) is not None]


def test_a_map_is_judged_by_its_highest_pixels() -> None:
    mask = np.zeros((4, 4), np.bool_)
    mask[1:3, 1:3] = True
    near = np.zeros((4, 4), np.bool_)
    near[:3, :3] = True
    found = pointed(mask.astype(np.float32), mask, near)
    assert found == (True, True, 1.0)
    corner = np.zeros((4, 4), np.float32)
    corner[0, 0], corner[1, 1], corner[3, 0], corner[3, 1] = 4, 3, 2, 1
    beside = pointed(corner, mask, near)
    assert beside[:2] == (True, False) and beside.iou == pytest.approx(1 / 7)
    assert not pointed(np.flip(corner).copy(), mask, near).hit
    coarse = np.array([[0, 1], [2, 3]], np.float32)
    assert pointed(coarse, mask, near)[:2] == (False, False)
    assert pointed(np.flip(coarse).copy(), mask, near)[:2] == (True, True)


def test_methods_that_do_not_fit_have_no_line() -> None:
    reader = open_reader(MODELS / "sandbox")
    drawn = drawn_of(reader, objects("sandbox")[:1], count=3)
    assert drawn[0].masks.shape == (3, 64, 64) and drawn[0].near.sum() > drawn[0].masks.sum()
    lines = measure(drawn, covered=1, seed=0)
    assert [line.method for line in lines][:2] == ["chefer", "chefer-rows"]
    assert len(list(table(lines))) == len(lines) + 2


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ["sandbox", "sandbox-vit", "sandbox-patch"])
def test_the_best_method_points_at_the_object(name: str) -> None:
    reader = open_reader(MODELS / name)
    drawn = drawn_of(reader, objects(name)[:8], count=12)
    lines = {line.method: line for line in measure(drawn, covered=3, seed=0)}
    best = lines["chefer-rows"]
    assert best.hit >= 0.9
    assert best.times_chance.value >= 3
    assert best.faithful.deletion_gain.interval.low > 0
    assert best.faithful.insertion_gain.interval.low > 0
    assert abs(lines["random"].hit - near_by_chance(drawn)) < 0.2
    assert lines["random"].times_chance.value < 1.2

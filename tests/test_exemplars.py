from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sae.statistics import firing_facts, probe_statistics, top_words
from tools.bands import quantile_band
from tools.errors import IntegrityError, ToolError, UsageError
from tools.exemplars import ProbeSet, build_probe_set, codes_of
from tools.feature_facts import (
    assemble_facts,
    read_facts,
    tag_features,
    tag_lift,
    write_facts,
)
from tools.protocols import FeatureFacts, Floats, SparseCode

IMAGES = [f"{number:064x}" for number in range(7)]
MATRIX = np.array(
    [[0, 1, 0], [2, 0, 0], [3, 0, 0], [0, 1, 0], [5, 2, 0], [4, 0, 0], [1, 0, 0]], dtype=np.float32
)


def build(folder: Path, matrix: Floats = MATRIX) -> ProbeSet:
    images = [f"{number:064x}" for number in range(len(matrix))]
    return build_probe_set(folder, images, codes_of(matrix), n_features=matrix.shape[1], scorer="scorer")


def test_exemplars_come_highest_first(tmp_path: Path) -> None:
    found = build(tmp_path)(0, count=3)
    assert [each.activation for each in found] == [5, 4, 3]
    assert [each.image for each in found] == [IMAGES[4], IMAGES[5], IMAGES[2]]


def test_a_band_takes_its_quantiles_of_the_non_zero_ones(tmp_path: Path) -> None:
    probe = build(tmp_path)
    assert [each.activation for each in probe(0, count=9, low=0.3, high=0.7)] == [4, 3, 2]
    assert [each.activation for each in probe(0, count=9, low=0.0, high=0.2)] == [1]
    assert [each.activation for each in probe(1, count=9)] == [2, 1, 1]
    assert probe(2, count=9) == []


def test_ties_keep_the_order_of_the_images(tmp_path: Path) -> None:
    assert [each.image for each in build(tmp_path)(1, count=3)][1:] == [IMAGES[0], IMAGES[3]]


def test_facts_of_a_live_and_a_dead_feature(tmp_path: Path) -> None:
    probe = build(tmp_path)
    live, dead = probe.facts(0), probe.facts(2)
    assert live.density == pytest.approx(5 / 7)
    assert live.p99 == pytest.approx(float(np.percentile([1, 2, 3, 4, 5], 99)))
    assert live.threshold == pytest.approx(live.p99 / 2)
    assert (dead.density, dead.threshold, dead.p99) == (0, 0, 0)


def test_columns_survive_the_folder(tmp_path: Path) -> None:
    probe = build(tmp_path)
    assert probe.n_features == 3 and probe.images == tuple(IMAGES)
    for index in range(3):
        np.testing.assert_array_equal(probe.activations(index), MATRIX[:, index])


def test_the_arrays_are_mapped_not_read(tmp_path: Path) -> None:
    assert isinstance(build(tmp_path)._index.values, np.memmap)


def test_facts_that_are_known_replace_the_computed_ones(tmp_path: Path) -> None:
    plain = build(tmp_path)
    known = [FeatureFacts(density=0.5, threshold=1, p99=2, tags=((f"tag {at}", 1.0),)) for at in range(3)]
    probe = ProbeSet.open(tmp_path, facts=known)
    assert probe.facts(1) == known[1]
    assert probe.fingerprint != plain.fingerprint
    with pytest.raises(IntegrityError, match="2 facts do not fit the 3 features"):
        ProbeSet.open(tmp_path, facts=known[:2])


@pytest.mark.parametrize("index", [-1, 3])
def test_an_index_out_of_range_says_the_range(tmp_path: Path, index: int) -> None:
    probe = build(tmp_path)
    for ask in (probe.facts, lambda at: probe(at, count=1)):
        with pytest.raises(UsageError, match=f"Feature {index} is out of range: give 0 to 2"):
            ask(index)


@pytest.mark.parametrize(("low", "high", "count"), [(0.5, 0.5, 1), (-0.1, 1, 1), (0, 1.1, 1), (0, 1, 0)])
def test_a_band_that_is_none_is_the_agents_mistake(
    tmp_path: Path, low: float, high: float, count: int
) -> None:
    with pytest.raises(ToolError, match="is not one"):
        build(tmp_path)(0, count=count, low=low, high=high)


def test_what_cannot_be_a_probe_set_is_not_written(tmp_path: Path) -> None:
    code = SparseCode(np.array([3], np.int32), np.array([1.0], np.float32))
    with pytest.raises(ValueError, match="2 codes for 1 images"):
        build_probe_set(tmp_path, ["a"], [code, code], n_features=9, scorer="s")
    with pytest.raises(ValueError, match="outside 0 to 2"):
        build_probe_set(tmp_path, ["a"], [code], n_features=3, scorer="s")
    with pytest.raises(ValueError, match="not finite"):
        bad = code._replace(values=np.array([np.inf], np.float32))
        build_probe_set(tmp_path, ["a"], [bad], n_features=4, scorer="s")
    with pytest.raises(ValueError, match="NaN"):
        codes_of(np.array([[np.nan]], np.float32))
    assert not list(tmp_path.iterdir())


def test_a_folder_without_its_manifest_is_no_probe_set(tmp_path: Path) -> None:
    build(tmp_path)
    (tmp_path / "probe.json").unlink()
    with pytest.raises(UsageError, match="is no probe set"):
        ProbeSet.open(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": 9}', '{"schema": 1}'])
def test_a_damaged_manifest_is_one_sentence(tmp_path: Path, text: str) -> None:
    build(tmp_path)
    (tmp_path / "probe.json").write_text(text)
    with pytest.raises(IntegrityError, match="build"):
        ProbeSet.open(tmp_path)


def test_damaged_arrays_are_one_sentence(tmp_path: Path) -> None:
    build(tmp_path)
    manifest = json.loads((tmp_path / "probe.json").read_text())
    (tmp_path / "probe.json").write_text(json.dumps(manifest | {"n_values": 99}))
    with pytest.raises(IntegrityError, match="differs from its"):
        ProbeSet.open(tmp_path)
    (tmp_path / "rows.npy").write_bytes(b"short")
    with pytest.raises(IntegrityError, match="is damaged"):
        ProbeSet.open(tmp_path)


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.0]), min_size=1, max_size=60),
    st.integers(1, 9),
    st.integers(1, 80),
)
def test_bands_partition_the_live_images(values: list[float], parts: int, count: int) -> None:
    column = np.array(values, np.float32)
    # Edges a live quantile (odd / 2n) cannot meet, so that no image lies in two bands.
    edges = [0.0, *((at + 1e-4) / parts for at in range(1, parts)), 1.0]
    bands = [quantile_band(column, count=len(values), low=low, high=high) for low, high in pairwise(edges)]
    together = sorted(row for band in bands for row in band.tolist())
    assert together == np.flatnonzero(column > 0).tolist()
    top = quantile_band(column, count=count, low=0, high=1)
    assert len(top) == min(count, int((column > 0).sum()))
    assert np.all(np.diff(column[top]) <= 0)


def test_firing_facts_of_the_non_zero_ones_alone() -> None:
    column = np.array([0, 0, 1, 3], np.float32)
    assert firing_facts(column) == firing_facts(column[2:], n_images=4)


def test_tag_lift_by_hand() -> None:
    similarity = np.array([[0.9, 0.5], [0.7, 0.5], [0.1, 0.5], [0.3, 0.5]], np.float32)
    lift = tag_lift(similarity, np.array([2, 3, 0, 1], np.float32), threshold=1.0)
    spread = np.std([0.9, 0.7, 0.1, 0.3])
    assert lift[0] == pytest.approx((0.8 - 0.5) / spread, rel=1e-5)
    assert lift[1] == 0.0
    assert top_words(lift, ["seen", "constant"], count=1) == (("seen", float(lift[0])),)


def test_tag_lift_refuses_what_has_no_tags() -> None:
    with pytest.raises(ValueError, match="never fires has no tags"):
        tag_lift(np.ones((2, 3), np.float32), np.zeros(2, np.float32))
    with pytest.raises(ValueError, match="2 similarities for 3"):
        tag_lift(np.ones((2, 3), np.float32), np.ones(3, np.float32))


def test_facts_survive_their_file(tmp_path: Path) -> None:
    facts = [
        FeatureFacts(density=0.1, threshold=1, p99=2, neighbours=(3, 4), vocabulary=(("fish", 0.3),)),
        FeatureFacts(density=0, threshold=0, p99=0),
    ]
    write_facts(tmp_path / "facts.json", facts)
    assert read_facts(tmp_path / "facts.json") == facts
    assert [path.name for path in tmp_path.iterdir()] == ["facts.json"]
    (tmp_path / "facts.json").write_text('[{"density": "much"}]')
    with pytest.raises(IntegrityError, match="does not hold feature facts"):
        read_facts(tmp_path / "facts.json")


def test_every_feature_is_tagged_and_a_dead_one_has_none(tmp_path: Path) -> None:
    similarity = np.array([[row == 4, row > 0] for row in range(7)], np.float32)
    tags = tag_features(build(tmp_path), similarity, ["fourth", "later"], count=1)
    assert [[word for word, _ in row] for row in tags] == [["fourth"], ["fourth"], []]


def test_facts_are_put_together_from_the_statistics() -> None:
    neighbours = np.array([[1, 2], [0, 2], [0, 1]], np.int32)
    facts = assemble_facts(probe_statistics(MATRIX), neighbours=neighbours, tags=[(("a", 1.0),), (), ()])
    assert facts[0].neighbours == (1, 2) and facts[0].tags == (("a", 1.0),)
    assert facts[0].density == pytest.approx(5 / 7)
    assert facts[2].threshold == 0
    with pytest.raises(ValueError, match="2 rows for 3 features"):
        assemble_facts(probe_statistics(MATRIX), neighbours=neighbours[:2])


def test_the_probe_set_and_the_statistics_agree(tmp_path: Path) -> None:
    probe, facts = build(tmp_path), assemble_facts(probe_statistics(MATRIX))
    for index, known in enumerate(facts):
        assert probe.facts(index).threshold == pytest.approx(known.threshold)
        assert probe.facts(index).density == pytest.approx(known.density)

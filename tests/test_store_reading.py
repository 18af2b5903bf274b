"""Shuffled reads: every row once an epoch, well mixed, the same for a seed, exact from any batch on."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sae.backbone import VisionBackbone, load_backbone
from sae.card import BackboneSpec
from sae.errors import BadImages, BadStore
from sae.image_source import FolderImages
from sae.store.ahead import ahead
from sae.store.live import BackboneStream
from sae.store.rows import Ints, Span, read_range
from sae.store.shuffle import RowStream
from tests.image_folders import write_images
from tests.tiny_models import WIDTH, write_open_clip


class Numbered(NamedTuple):
    """Rows that hold their own number; implements RowSource."""

    pieces: Ints
    width: int = 1
    dtype: torch.dtype = torch.float64

    def read(self, spans: Sequence[Span], out: Tensor) -> None:
        first = np.concatenate([[0], np.cumsum(self.pieces)])
        rows = [torch.arange(first[span.piece] + span.start, first[span.piece] + span.stop) for span in spans]
        out[:, 0] = torch.cat(rows)


def numbers(stream: RowStream, batch_size: int, *, seed: int, rows: int, start: int = 0) -> Tensor:
    """The numbers of the rows of the first batches, in order."""
    count = -(-rows // batch_size)
    return torch.cat(list(islice(stream.batches(batch_size, seed=seed, start=start), count)))[:rows, 0].long()


def mixed(pieces: list[int], *, block: int = 4, window: int = 20, prefetch: int = 0) -> RowStream:
    source = Numbered(np.array(pieces, np.int64))
    return RowStream(source, block_rows=block, window_rows=window, dtype=None, prefetch=prefetch)


PIECES = st.lists(st.integers(0, 40), min_size=1, max_size=6).filter(any)


@settings(max_examples=60)
@given(PIECES, st.integers(1, 9), st.integers(1, 60), st.integers(1, 17), st.integers(0, 3))
def test_every_epoch_holds_every_row_once(
    pieces: list[int], block: int, window: int, batch: int, seed: int
) -> None:
    stream = mixed(pieces, block=block, window=window)
    read = numbers(stream, batch, seed=seed, rows=3 * stream.rows)
    for epoch in torch.split(read, stream.rows):
        assert sorted(epoch.tolist()) == list(range(stream.rows))


@settings(max_examples=60)
@given(PIECES, st.integers(1, 17), st.integers(0, 40), st.integers(0, 3))
def test_a_read_can_begin_at_any_batch(pieces: list[int], batch: int, start: int, seed: int) -> None:
    stream = mixed(pieces)
    whole = numbers(stream, batch, seed=seed, rows=(start + 3) * batch)
    assert torch.equal(numbers(stream, batch, seed=seed, rows=3 * batch, start=start), whole[start * batch :])


def test_the_seed_fixes_the_order() -> None:
    stream = mixed([100, 30])
    first, again, other = (numbers(stream, 7, seed=seed, rows=260) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert not torch.equal(first[:130], first[130:])


def test_batches_are_full_and_go_on_for_ever() -> None:
    stream = mixed([5])
    assert [len(batch) for batch in islice(stream.batches(8, seed=0), 4)] == [8, 8, 8, 8]


def test_a_small_source_is_shuffled_uniformly() -> None:
    # Where row r of 12 comes in an epoch: 144 cells of 600 expected, chi-square with 121 degrees of freedom.
    stream = mixed([7, 5], block=2, window=100)
    epochs = numbers(stream, 12, seed=5, rows=12 * 7200).view(-1, 12)
    counts = torch.stack([torch.bincount(epochs[:, place], minlength=12) for place in range(12)]).double()
    assert float(((counts - 600) ** 2 / 600).sum()) < 121 + 4 * math.sqrt(2 * 121)


def test_a_batch_of_a_large_source_comes_from_everywhere() -> None:
    # 400 blocks of 25 rows, windows of 100 blocks: a batch of 200 has rows of most of them.
    stream = mixed([5000, 5000], block=25, window=2500)
    read = numbers(stream, 200, seed=3, rows=10_000).view(-1, 200)
    entropy = [_entropy(torch.bincount(batch // 25, minlength=400)) for batch in read]
    alone = math.log(200)
    assert min(entropy) > 0.8 * alone and _entropy(torch.ones(200)) == pytest.approx(alone)
    halves = ((read < 5000).double().mean(1) - 0.5).abs()
    assert float(halves.max()) < 0.25
    # Neighbours in an epoch are no neighbours in the store.
    assert float((read.flatten().diff().abs() == 1).double().mean()) < 0.01


def _entropy(counts: Tensor) -> float:
    share = counts[counts > 0] / counts.sum()
    return float(-(share * share.log()).sum())


def test_what_is_read_in_advance_is_the_same() -> None:
    plain, early = (numbers(mixed([60, 9], prefetch=depth), 7, seed=4, rows=140) for depth in (0, 3))
    assert torch.equal(plain, early)


def test_a_thread_ends_with_its_reader() -> None:
    batches = mixed([60], prefetch=2).batches(7, seed=0)
    next(batches)
    assert any(thread.name == "ahead" for thread in threading.enumerate())
    batches.close()  # type: ignore[attr-defined]
    assert not any(thread.name == "ahead" for thread in threading.enumerate())


def test_an_error_comes_where_it_happened() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise BadStore("No more.")

    items = ahead(failing(), 4)
    assert next(items) == 1
    with pytest.raises(BadStore, match="No more"):
        next(items)


def test_once_is_every_row_in_order() -> None:
    batches = list(mixed([5, 0, 9]).once(4))
    assert [len(batch) for batch in batches] == [4, 4, 4, 2]
    assert torch.cat(batches)[:, 0].tolist() == list(range(14))


def test_batches_are_float32_whatever_is_stored() -> None:
    stream = RowStream(Numbered(np.array([9], np.int64)))
    assert next(stream.batches(3, seed=0)).dtype == torch.float32
    assert next(stream.once(3)).dtype == torch.float32


def test_nothing_is_no_stream() -> None:
    with pytest.raises(BadStore, match="no activations to read"):
        mixed([0])


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> FolderImages:
    return FolderImages(write_images(tmp_path_factory.mktemp("images"), count=7))


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> VisionBackbone:
    folder = tmp_path_factory.mktemp("models") / "clip"
    write_open_clip(folder)
    return load_backbone(BackboneSpec(kind="open_clip", source=str(folder)))


@pytest.fixture
def live(images: FolderImages, backbone: VisionBackbone) -> BackboneStream:
    return BackboneStream(backbone, images, "block.1", batch_size=3, window_images=4)


def test_a_live_stream_gives_what_the_backbone_gives(live: BackboneStream) -> None:
    pictures = [live.images.read(row).image for row in range(7)]
    held = live.backbone.activations(live.backbone.preprocess(pictures), ["block.1"])["block.1"][:, 1:]
    assert (live.width, live.rows) == (WIDTH, 7 * 16)
    assert torch.allclose(torch.cat(list(live.once(30))), held.flatten(0, 1), atol=1e-5)


def test_a_live_stream_gives_every_token_once_an_epoch(live: BackboneStream) -> None:
    # Six batches of 32 are 192 rows: an epoch of 112 and the beginning of the next.
    read = torch.cat(list(islice(live.batches(32, seed=1), 6)))
    stored = torch.cat(list(live.once(200)))
    assert torch.allclose(_sorted(read[: live.rows]), _sorted(stored), atol=1e-5)
    assert not torch.allclose(read[: live.rows], stored, atol=1e-5)


def _sorted(rows: Tensor) -> Tensor:
    return rows[rows[:, 0].argsort()]


def test_a_live_stream_can_begin_at_any_batch(live: BackboneStream) -> None:
    whole = list(islice(live.batches(32, seed=1), 6))
    for start in (1, 4):
        begun = list(islice(live.batches(32, seed=1, start=start), 6 - start))
        assert all(torch.equal(*pair) for pair in zip(begun, whole[start:], strict=True))


def test_a_live_stream_stops_at_a_broken_image(backbone: VisionBackbone, tmp_path: Path) -> None:
    broken = FolderImages(write_images(tmp_path, count=5, broken=(4,)))
    with pytest.raises(BadImages, match=r"004\.png cannot be read"):
        list(BackboneStream(backbone, broken, "pooled").once(2))


def test_a_range_of_rows_runs_over_pieces() -> None:
    source = Numbered(np.array([3, 0, 4], np.int64))
    assert read_range(source, 1, 6)[:, 0].tolist() == [1, 2, 3, 4, 5]

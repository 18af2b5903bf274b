"""Streams that training reads: every one gives the same for a seed, from any batch on."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sae.store.opening import open_activations
from sae.store.shuffle import RowStream
from sae.stream import ActivationStream, MemoryStream

ROWS = torch.arange(23.0)[:, None].repeat(1, 3)


@pytest.fixture(params=["memory", "stored"])
def stream(request: pytest.FixtureRequest, tmp_path: Path) -> ActivationStream:
    if request.param == "memory":
        return MemoryStream(ROWS)
    np.save(tmp_path / "rows.npy", ROWS.numpy())
    return RowStream(open_activations(tmp_path / "rows.npy"), block_rows=2, window_rows=9)


def test_a_stream_knows_its_size(stream: ActivationStream) -> None:
    assert (stream.width, stream.rows) == (3, 23)


def test_every_epoch_holds_every_row_once(stream: ActivationStream) -> None:
    read = torch.cat(list(islice(stream.batches(5, seed=2), 14)))
    for epoch in torch.split(read[:69], 23):
        assert torch.equal(epoch.sort(dim=0).values, ROWS)
    assert not torch.equal(read[:23], read[23:46])


def test_a_read_from_the_middle_is_what_follows_there(stream: ActivationStream) -> None:
    whole = list(islice(stream.batches(5, seed=2), 14))
    for start in (0, 3, 4, 5, 9, 13):
        assert torch.equal(next(stream.batches(5, seed=2, start=start)), whole[start])
    assert not torch.equal(next(stream.batches(5, seed=3)), whole[0])


@settings(max_examples=50)
@given(st.integers(1, 60), st.integers(0, 30), st.integers(0, 5))
def test_batches_are_full_wherever_they_begin(batch: int, start: int, seed: int) -> None:
    assert len(next(MemoryStream(ROWS).batches(batch, seed=seed, start=start))) == batch

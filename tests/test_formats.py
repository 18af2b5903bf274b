from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sae.loading import load
from tests.format_files import CASES, Case, Draw

BY_SIZE = {"sdxl-unbox-feature-means"}
"""Forms that differ from others in their sizes alone, so that none of them is square."""
SHAPES = [
    pytest.param(each, width, id=f"{each.name}-{width}")
    for width in (Draw.d, Draw.n)
    for each in CASES
    if width < Draw.n or each.name not in BY_SIZE
]
"""Where there are as many features as the activation is wide, sizes do not tell how a matrix lies."""


@pytest.mark.parametrize(("each", "width"), SHAPES)
def test_a_file_of_each_form_reconstructs_as_its_own_library_does(
    each: Case, width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Draw, "d", width)
    written = each.write(tmp_path, width)
    loaded = load(written.path, **each.options)
    assert loaded.format == each.format
    x = 0.5 + 2 * torch.randn(7, loaded.dictionary.width, generator=torch.Generator().manual_seed(5))
    expected = written.reconstruct(x)
    assert float((expected - x).abs().max()) > 1e-3
    torch.testing.assert_close(loaded.dictionary.reconstruct(x).double(), expected, rtol=1e-5, atol=1e-5)

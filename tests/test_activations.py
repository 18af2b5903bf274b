from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from sae.activations import FeatureReader, open_reader, sparse_rows
from sae.backbone import load_backbone
from sae.card import Origin
from sae.dictionary import SparseDictionary
from sae.errors import BadDictionary
from sae.pooling import Pooling
from tests.measured_models import plain
from tests.tiny_models import SIDE, WIDTH, write_open_clip, write_timm

FEATURES = 40


class Counting:
    """Token t of an image at 'block.0' is the image's value plus t; implements VisionBackbone."""

    hook_points = ("pooled", "block.0")
    n_prefix_tokens = 2
    has_cls = True
    has_text = False

    def __init__(self) -> None:
        self.batches: list[int] = []

    def preprocess(self, images: Sequence[Image.Image]) -> Tensor:
        return torch.stack([torch.full((3, 1, 1), float(np.asarray(image)[0, 0, 0])) for image in images])

    def activations(self, images: Tensor, hook_points: Sequence[str]) -> dict[str, Tensor]:
        self.batches.append(len(images))
        value = images[:, 0, 0, 0]
        tokens = value[:, None, None] + torch.arange(12.0)[None, :, None]
        return {name: {"pooled": value[:, None], "block.0": tokens}[name] for name in hook_points}

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        raise NotImplementedError


def identity(width: int = 1) -> SparseDictionary:
    return plain("relu", torch.eye(width), torch.eye(width))


def pictures(values: Sequence[int]) -> list[Image.Image]:
    return [Image.new("RGB", (2, 2), (value, 0, 0)) for value in values]


def reader(hook_point: str, pooling: Pooling, batch_size: int = 4) -> FeatureReader:
    return FeatureReader(
        Counting(), identity(), hook_point=hook_point, pooling=pooling, batch_size=batch_size
    )


@pytest.mark.parametrize(
    ("hook_point", "pooling", "added"),
    [
        ("pooled", "none", 0),
        ("block.0", "cls", 0),
        ("block.0", "max", 11),  # tokens 0 and 1 are no patches
        ("block.0", "mean", 6.5),
        ("block.0", "top-p", 10.5),  # a fifth of ten patches: the highest two
    ],
)
def test_pooling(hook_point: str, pooling: Pooling, added: float) -> None:
    found = replace(reader(hook_point, pooling), top_p=0.2)(pictures([3, 200, 40]))
    assert found.dtype == np.float32 and found[:, 0].tolist() == [3 + added, 200 + added, 40 + added]


@pytest.mark.parametrize("n", [0, 1, 3, 4, 5, 11])
def test_any_number_of_images_keeps_its_order(n: int) -> None:
    read = reader("pooled", "none")
    assert read(pictures(range(n))).tolist() == [[float(i)] for i in range(n)]
    assert isinstance(read.backbone, Counting) and set(read.backbone.batches) <= {4}
    assert len(read.backbone.batches) == -(-n // 4)


@pytest.mark.parametrize(
    ("hook_point", "pooling"), [("pooled", "max"), ("pooled", "cls"), ("block.0", "none")]
)
def test_pooling_that_does_not_fit_is_refused(hook_point: str, pooling: Pooling) -> None:
    with pytest.raises(BadDictionary, match=r"Pooling '\w+' does not fit hook point"):
        reader(hook_point, pooling)(pictures([1]))


def test_a_class_token_is_not_made_up() -> None:
    read = reader("block.0", "cls")
    read.backbone.has_cls = False  # type: ignore[misc]
    with pytest.raises(BadDictionary, match="tokens without a class token"):
        read(pictures([1]))


def test_a_dictionary_of_another_width_is_refused() -> None:
    with pytest.raises(BadDictionary, match="is 1 wide, the dictionary 2"):
        replace(reader("pooled", "none"), dictionary=identity(2))(pictures([1]))


def test_sparse_rows_hold_what_is_not_zero() -> None:
    rows = sparse_rows(np.array([[0, 2, 0, 0.5], [0, 0, 0, 0]], np.float32))
    assert [row.indices.tolist() for row in rows] == [[1, 3], []]
    assert rows[0].values.tolist() == [2, 0.5] and rows[0].indices.dtype == np.int32


def random_dictionary() -> SparseDictionary:
    weights = torch.randn(WIDTH, FEATURES, generator=torch.Generator().manual_seed(1))
    return plain("topk", weights, weights.T, k=5)


EXPECTED: dict[Pooling, Callable[[Tensor], Tensor]] = {
    "none": lambda z: z,
    "cls": lambda z: z[:, 0],
    "max": lambda z: z[:, 1:].amax(1),
    "top-p": lambda z: z[:, 1:].sort(1, descending=True).values[:, :2].mean(1),
}
CASES: list[tuple[str, str, Pooling]] = [
    ("open_clip", "pooled", "none"),
    ("open_clip", "visual.transformer.resblocks.1", "max"),
    ("timm", "block.0", "cls"),
    ("timm", "block.2", "top-p"),
]


@pytest.mark.parametrize(("kind", "hook_point", "pooling"), CASES)
def test_a_dictionary_folder_reads_images(
    kind: str, hook_point: str, pooling: Pooling, tmp_path: Path
) -> None:
    {"open_clip": write_open_clip, "timm": write_timm}[kind](tmp_path / "model")
    origin = {"name": "tiny", "backbone": {"kind": kind, "source": "../model"}}
    card = Origin.model_validate(origin | {"hook_point": hook_point, "pooling": pooling})
    random_dictionary().save(tmp_path / "dictionary", card)
    read = open_reader(tmp_path / "dictionary", batch_size=4)
    rng = np.random.default_rng(0)
    images = [Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)) for _ in range(7)]

    found = read(images)
    assert found.shape == (7, FEATURES) and (found > 0).any(1).all()
    np.testing.assert_array_equal(read(images), found)
    np.testing.assert_array_equal(
        read(images[:6] + images[:1])[4:6], found[4:6], "bit-equal with other mates"
    )
    np.testing.assert_array_equal(read.read_pixels(read.backbone.preprocess(images)), found)
    np.testing.assert_allclose(read(images[6:])[0], found[6], rtol=1e-4, atol=1e-5)

    backbone = load_backbone(card.backbone.located(tmp_path / "dictionary"))
    held = backbone.activations(backbone.preprocess(images), [hook_point])[hook_point]
    dense = random_dictionary().encode(held)
    np.testing.assert_allclose(found, EXPECTED[pooling](dense).numpy(), rtol=1e-4, atol=1e-5)

"""Steered image embeddings drawn by a tiny random Kandinsky 2.2 decoder."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, KandinskyV22Pipeline, UNet2DConditionModel, VQModel

from sae.activations import FeatureReader
from sae.edit import Edit
from sae.errors import BadDictionary
from tests.measured_models import pictures, plain
from tests.tiny_backbones import tiny_backbone
from tools.embedding_steering import EmbeddingPainter, steer_embedding
from tools.errors import UsageError

WIDTH = 12


@pytest.fixture(scope="module")
def painter() -> EmbeddingPainter:
    encoder = torch.randn(WIDTH, 20, generator=torch.Generator().manual_seed(0))
    reader = FeatureReader(tiny_backbone("clip-vision"), plain("relu", encoder, encoder.T), "pooled", "none")
    return EmbeddingPainter(tiny_kandinsky(), reader, steps=2, side=32)


def tiny_kandinsky() -> Any:
    """The decoder alone, as image embeddings go into it."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        in_channels=4,
        out_channels=8,
        addition_embed_type="image",
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        encoder_hid_dim=WIDTH,
        encoder_hid_dim_type="image_proj",
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        resnet_time_scale_shift="scale_shift",
    )
    movq = VQModel(
        block_out_channels=(32, 64),
        down_block_types=("DownEncoderBlock2D", "AttnDownEncoderBlock2D"),
        up_block_types=("AttnUpDecoderBlock2D", "UpDecoderBlock2D"),
        latent_channels=4,
        vq_embed_dim=4,
        num_vq_embeddings=12,
        norm_num_groups=8,
        norm_type="spatial",
    )
    scheduler = DDIMScheduler(
        beta_schedule="linear", clip_sample=False, set_alpha_to_one=False, steps_offset=1
    )
    pipeline: Any = KandinskyV22Pipeline(unet=unet.eval(), scheduler=scheduler, movq=movq.eval())
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def test_an_embedding_moves_along_the_direction(painter: EmbeddingPainter) -> None:
    dictionary = painter.reader.dictionary
    embedding = painter.embed(pictures(3))
    assert embedding.shape == (3, WIDTH)
    moved = steer_embedding(embedding, dictionary, feature=4, alpha=2.0) - embedding
    assert torch.allclose(moved, (2 * dictionary.W_dec[4]).expand_as(moved), atol=1e-4)
    held = dictionary.encode(embedding)[:, 4:5]
    gone = embedding - steer_embedding(embedding, dictionary, feature=4, alpha=0, mode="ablate")
    assert torch.allclose(gone, held * dictionary.W_dec[4], atol=1e-4)
    with pytest.raises(BadDictionary):
        steer_embedding(embedding, dictionary, feature=20, alpha=1.0)


def test_steering_changes_the_picture_and_nothing_else_does(painter: EmbeddingPainter) -> None:
    embedding = painter.embed(pictures(2))
    plainly, again = painter.draw(embedding), painter.draw(embedding, [Edit(4, "add", 0.0)])
    steered = painter.draw(embedding, [Edit(4, "add", 20.0)])
    assert [image.size for image in steered] == [(32, 32)] * 2
    for first, second, third in zip(plainly, again, steered, strict=True):
        assert first.tobytes() == second.tobytes()
        assert np.abs(np.asarray(first, int) - np.asarray(third, int)).max() > 0
    other = painter.draw(embedding[:1], seed=1)[0]
    assert other.tobytes() != plainly[0].tobytes()
    assert other.tobytes() == painter.draw(embedding[:1], seed=1)[0].tobytes()


def test_what_does_not_fit_is_refused(painter: EmbeddingPainter) -> None:
    with pytest.raises(UsageError, match="object does not draw image embeddings"):
        EmbeddingPainter(object(), painter.reader)
    with pytest.raises(UsageError, match=r"'block\.1' are none of the image embedding"):
        replace(painter, reader=replace(painter.reader, hook_point="block.1"))

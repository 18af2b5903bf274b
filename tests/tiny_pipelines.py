"""Random diffusion pipelines of a few thousand weights, shaped as the real ones, in hub-cache layout."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DiffusionPipeline,
    EulerDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
)

from tests.tiny_models import REVISION, write_tokenizer

TINY_SIDE = 32


def _tokenizer(folder: Path) -> CLIPTokenizer:
    write_tokenizer(folder)
    return CLIPTokenizer.from_pretrained(str(folder), model_max_length=77)


def _text_config(**changes: Any) -> CLIPTextConfig:
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    ends = {"vocab_size": 514, "bos_token_id": 512, "eos_token_id": 513, "pad_token_id": 513}
    return CLIPTextConfig(**{**sizes, **ends, "projection_dim": 16, **changes})


def _unet(cross: int, **changes: Any) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        **{
            "sample_size": TINY_SIDE // 2,
            "block_out_channels": (8, 16),
            "layers_per_block": 1,
            "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
            "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
            "cross_attention_dim": cross,
            "attention_head_dim": 4,
            "norm_num_groups": 4,
            **changes,
        }
    )


def _vae() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=TINY_SIDE,
    )


def _safety_checker() -> StableDiffusionSafetyChecker:
    tower = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = {**tower, "image_size": TINY_SIDE, "patch_size": 16}
    checker = StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision, projection_dim=16))
    for weights in (checker.concept_embeds_weights, checker.special_care_embeds_weights):
        torch.nn.init.constant_(weights, 2.0)  # above any cosine: a random picture is never flagged
    return checker


def tiny_sd15(scratch: Path) -> DiffusionPipeline:
    """Stable Diffusion 1.5: PNDM, guidance, a safety checker."""
    return StableDiffusionPipeline(
        vae=_vae(),
        text_encoder=CLIPTextModel(_text_config()),
        tokenizer=_tokenizer(scratch / "tokenizer"),
        unet=_unet(16),
        scheduler=PNDMScheduler(beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1),
        safety_checker=_safety_checker(),
        feature_extractor=CLIPImageProcessor(size=TINY_SIDE, crop_size=TINY_SIDE),
    )


def tiny_turbo(scratch: Path) -> DiffusionPipeline:
    """SD-Turbo: one trailing Euler step, no guidance, no safety checker."""
    return StableDiffusionPipeline(
        vae=_vae(),
        text_encoder=CLIPTextModel(_text_config(hidden_act="gelu")),
        tokenizer=_tokenizer(scratch / "tokenizer"),
        unet=_unet(16, use_linear_projection=True),
        scheduler=EulerDiscreteScheduler(
            beta_schedule="scaled_linear", timestep_spacing="trailing", steps_offset=1
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def tiny_sdxl(scratch: Path) -> DiffusionPipeline:
    """SDXL: two text encoders, added time ids."""
    added = {"addition_embed_type": "text_time", "addition_time_embed_dim": 4}
    return StableDiffusionXLPipeline(
        vae=_vae(),
        text_encoder=CLIPTextModel(_text_config()),
        text_encoder_2=CLIPTextModelWithProjection(_text_config(hidden_act="gelu")),
        tokenizer=_tokenizer(scratch / "tokenizer"),
        tokenizer_2=_tokenizer(scratch / "tokenizer_2"),
        unet=_unet(32, projection_class_embeddings_input_dim=16 + 6 * 4, **added),
        scheduler=EulerDiscreteScheduler(beta_schedule="scaled_linear", steps_offset=1),
    )


TINY_PIPELINES: dict[str, Callable[[Path], DiffusionPipeline]] = {
    "tiny/sd15": tiny_sd15,
    "tiny/sd-turbo": tiny_turbo,
    "tiny/sdxl": tiny_sdxl,
}


def write_hub_pipeline(cache: Path, repo: str, *, card: dict[str, Any] | None = None) -> Path:
    """Save a tiny pipeline where the hub client would have put it; returns its snapshot folder."""
    home = cache / f"models--{repo.replace('/', '--')}"
    snapshot = home / "snapshots" / REVISION
    torch.manual_seed(0)
    TINY_PIPELINES[repo](home / "scratch").save_pretrained(snapshot, safe_serialization=True)
    if card is not None:
        (snapshot / "card.json").write_text(json.dumps(card))
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(REVISION)
    return snapshot

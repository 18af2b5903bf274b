"""Train the sandbox's latent U-Net and write the whole StableDiffusionPipeline folder.

Text encoder: the sandbox CLIP's own text tower, frozen. Objective: v-prediction on a cosine schedule with
min-SNR weights (arXiv 2303.09556), captions dropped one time in ten for classifier-free guidance.
"""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, UNet2DConditionModel
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import CLIPTextConfig, CLIPTextModel

from sandbox.training.codes import CHANNELS, Code, load_code
from sandbox.training.loop import Plan, train
from sandbox.training.pictures import batch
from sandbox.training.tokens import CONTEXT, load_tokenizer
from sandbox.world.captions import JUDGE_TEMPLATE, TEMPLATES, all_words, caption
from sandbox.world.lexicon import lexicon

WIDTH = 152
BATCH = 64
DROPPED = 0.1
SNR_CAP = 5.0
STEPS, GUIDANCE = 12, 3.0


def build() -> UNet2DConditionModel:
    """A randomly initialised U-Net on 4x4x48 latents, 5.6 M parameters."""
    return UNet2DConditionModel(
        sample_size=4,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        down_block_types=("CrossAttnDownBlock2D",),
        up_block_types=("CrossAttnUpBlock2D",),
        block_out_channels=(WIDTH,),
        layers_per_block=1,
        cross_attention_dim=128,
        attention_head_dim=4,
        norm_num_groups=8,
    )


def text_encoder(weights: dict[str, torch.Tensor], config: dict[str, Any]) -> CLIPTextModel:
    """An open_clip text tower as a transformers CLIPTextModel."""
    text = config["text_cfg"]
    model = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=text["vocab_size"],
            hidden_size=text["width"],
            intermediate_size=int(text["width"] * text["mlp_ratio"]),
            num_hidden_layers=text["layers"],
            num_attention_heads=text["heads"],
            max_position_embeddings=text["context_length"],
            hidden_act="gelu",
            projection_dim=config["embed_dim"],
            bos_token_id=text["eos_id"] - 1,
            eos_token_id=text["eos_id"],
            pad_token_id=text["eos_id"],
        )
    )
    missing = model.load_state_dict(_renamed(weights, text["layers"], prefix=_prefix(model)), strict=False)
    lost = [name for name in missing.missing_keys if not name.endswith("position_ids")]
    if lost or missing.unexpected_keys:
        raise ValueError(f"Text tower does not fit: missing {lost}, unexpected {missing.unexpected_keys}.")
    return model.eval().requires_grad_(False)


def _prefix(model: CLIPTextModel) -> str:
    """transformers 4 keeps the tower under 'text_model.', transformers 5 does not."""
    return "text_model." if any(k.startswith("text_model.") for k in model.state_dict()) else ""


def _renamed(weights: dict[str, torch.Tensor], layers: int, *, prefix: str) -> dict[str, torch.Tensor]:
    out = {
        "embeddings.token_embedding.weight": weights["token_embedding.weight"],
        "embeddings.position_embedding.weight": weights["positional_embedding"],
        "final_layer_norm.weight": weights["ln_final.weight"],
        "final_layer_norm.bias": weights["ln_final.bias"],
    }
    names = {
        "ln_1": "layer_norm1",
        "ln_2": "layer_norm2",
        "mlp.c_fc": "mlp.fc1",
        "mlp.c_proj": "mlp.fc2",
        "attn.out_proj": "self_attn.out_proj",
    }
    for i in range(layers):
        theirs, ours = f"transformer.resblocks.{i}.", f"encoder.layers.{i}."
        for kind in ("weight", "bias"):
            for a, b in names.items():
                out[f"{ours}{b}.{kind}"] = weights[f"{theirs}{a}.{kind}"]
            for letter, part in zip("qkv", weights[f"{theirs}attn.in_proj_{kind}"].chunk(3), strict=True):
                out[f"{ours}self_attn.{letter}_proj.{kind}"] = part
    return {prefix + name: value.float() for name, value in out.items()}


class Trainer:
    """Draws a batch for a step number and measures the loss on it."""

    def __init__(self, unet: UNet2DConditionModel, models: Path, code: Code, *, seed: int) -> None:
        self.unet, self.code, self.seed = unet, code, seed
        self.tokenizer = load_tokenizer(models / "sd" / "tokenizer")
        self.text = (
            CLIPTextModel.from_pretrained(models / "sd" / "text_encoder").float().eval().requires_grad_(False)
        )
        self.noise_levels = schedule().alphas_cumprod

    def said(self, captions: list[str]) -> torch.Tensor:
        ids = self.tokenizer(captions, padding="max_length", truncation=True, max_length=CONTEXT)["input_ids"]
        found: torch.Tensor = self.text(torch.tensor(ids)).last_hidden_state
        return found

    def __call__(self, step: int) -> tuple[torch.Tensor, dict[str, float]]:
        rng = random.Random(f"captions/{self.seed}/{step}")
        drawn = batch(f"unet/{self.seed}/{step}", BATCH, balanced=0.6)
        captions = ["" if rng.random() < DROPPED else caption(scene, rng) for scene in drawn.scenes]
        chance = torch.Generator().manual_seed(step)
        clean = self.code.encode(drawn.pixels)
        noise = torch.randn(clean.shape, generator=chance)
        at = torch.randint(0, 1000, (BATCH,), generator=chance)
        level = self.noise_levels[at][:, None, None, None]
        noisy = level.sqrt() * clean + (1 - level).sqrt() * noise
        target = level.sqrt() * noise - (1 - level).sqrt() * clean
        with torch.autocast("cpu", torch.bfloat16):
            predicted = self.unet(noisy, at, self.said(captions)).sample.float()
        error = (predicted - target).square().mean((1, 2, 3))
        snr = (level / (1 - level)).flatten()
        loss = (error * snr.clamp(max=SNR_CAP) / (snr + 1) * 2).mean()
        return loss, {"mse": float(error.detach().mean())}


def schedule() -> DDIMScheduler:
    """The noise schedule of training."""
    return DDIMScheduler(
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        clip_sample=False,
        timestep_spacing="trailing",
        steps_offset=1,  # unused by trailing steps; the pipeline warns of anything else
    )


def prepare(models: Path) -> None:
    """Write tokenizer, text encoder and scheduler of the pipeline folder from the trained CLIP."""
    from safetensors.torch import load_file

    out = models / "sd"
    config = json.loads((models / "clip" / "open_clip_config.json").read_text())["model_cfg"]
    weights = load_file(models / "clip" / "open_clip_model.safetensors")
    text_encoder(weights, config).half().save_pretrained(out / "text_encoder", safe_serialization=True)
    load_tokenizer(models / "clip").save_pretrained(out / "tokenizer")
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(models / "clip" / name, out / "tokenizer" / name)
    DPMSolverMultistepScheduler.from_config(schedule().config).save_pretrained(out / "scheduler")
    write_cards(out)


def write_cards(out: Path) -> None:
    """Write model_index.json and the generator card (what it draws, its closed vocabulary)."""
    parts = {
        "vae": ["diffusers", "AutoencoderKL"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "scheduler": ["diffusers", "DPMSolverMultistepScheduler"],
        "safety_checker": [None, None],
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
    }
    index = {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": "0.42.1",
        "requires_safety_checker": False,
    }
    (out / "model_index.json").write_text(json.dumps(index | parts, indent=1))
    card = {
        "generator": "sandbox-sd",
        "draws": "Flat drawings, 64x64: one to three alike objects, of a colour and a texture, on a ground.",
        "vocabulary": list(all_words()),
        "size": 64,
        "search_template": TEMPLATES[0],
        "judge_template": JUDGE_TEMPLATE,
        "steps": STEPS,
        "guidance": GUIDANCE,
    }
    (out / "card.json").write_text(json.dumps(card, indent=1))
    (out / "lexicon.json").write_text(json.dumps(lexicon(), indent=1))


def main(models: Path, work: Path, *, steps: int, seed: int = 0) -> None:
    """Train and write ``models/sd/unet``, fp16; state in ``work``. Needs ``models/clip``."""
    torch.manual_seed(seed)
    if not (models / "sd" / "text_encoder" / "model.safetensors").exists():
        prepare(models)
    unet = build()
    plan = Plan(steps=steps, lr=1e-3, ema=0.9993, weight_decay=0.01, log_every=200, save_every=1000)
    with sdpa_kernel([SDPBackend.MATH]):
        train(unet, Trainer(unet, models, load_code(work.parent / "codes", seed=seed), seed=seed), plan, work)
    unet.half().save_pretrained(models / "sd" / "unet", safe_serialization=True)

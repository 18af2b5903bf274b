"""Files as openai, sdxl-unbox, clipscope, lasgroup and research one-offs write them, with their formulas."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.format_writing import Case, Draw, Written, lengths, linear, only_top, relu, topk_relu, unit_norm

K = 3


def _openai(activation: str, *, tied: bool = False) -> Callable[[Path, int], Written]:
    def write(folder: Path, seed: int) -> Written:
        draw = Draw(seed)
        encoder, bias, latent = draw(draw.n, draw.d), draw(draw.d), draw(draw.n)
        decoder = encoder.T if tied else draw(draw.d, draw.n)
        held: dict[str, Any] = {"pre_bias": bias, "latent_bias": latent, "encoder.weight": encoder}
        held |= {"decoder.linear.weight": encoder} if tied else {"decoder.weight": decoder}
        held |= {"stats_last_nonzero": torch.zeros(draw.n, dtype=torch.int64)}
        held |= {
            "latents_activation_frequency": torch.ones(draw.n),
            "latents_mean_square": torch.ones(draw.n),
        }
        state = {"k": K, "postact_fn": "ReLU"} if activation == "TopK" else {}
        held |= {"activation": activation, "activation_state_dict": state}
        held |= {f"activation.{name}": value for name, value in state.items()}
        torch.save(held, folder / "autoencoder.pt")

        def reconstruct(x: Tensor) -> Tensor:
            if activation == "ReLU":
                return linear(relu(linear(x - bias, encoder, latent)), decoder, bias)
            normed = unit_norm(x)
            return normed.back(linear(topk_relu(linear(normed.u - bias, encoder, latent), K), decoder, bias))

        return Written(folder / "autoencoder.pt", reconstruct)

    return write


def _unbox(statistics: str) -> Callable[[Path, int], Written]:
    """mean.pt and std.pt of the inputs or of the features."""

    def write(folder: Path, seed: int) -> Written:
        draw = Draw(seed)
        encoder, bias, latent, decoder = (
            draw(draw.n, draw.d),
            draw(draw.d),
            draw(draw.n),
            draw(draw.d, draw.n),
        )
        size = draw.d if statistics == "inputs" else draw.n
        mean, std = draw(size), draw.positive(size)
        config = {"n_dirs_local": draw.n, "d_model": draw.d, "k": K, "auxk": 256, "dead_steps_threshold": 99}
        (folder / "config.json").write_text(json.dumps(config))
        state = {
            "encoder.weight": encoder,
            "decoder.weight": decoder,
            "pre_bias": bias,
            "latent_bias": latent,
        }
        state |= {"stats_last_nonzero": torch.zeros(draw.n, dtype=torch.int64)}
        torch.save({"state_dict": state}, folder / "state_dict.pth")
        torch.save(mean, folder / "mean.pt")
        torch.save(std, folder / "std.pt")

        def reconstruct(x: Tensor) -> Tensor:
            u = (x.double() - mean.double()) / std.double() if statistics == "inputs" else x.double()
            out = linear(topk_relu(linear(u - bias, encoder, latent), K), decoder, bias)
            return out * std.double() + mean.double() if statistics == "inputs" else out

        return Written(folder, reconstruct)

    return write


def _clipscope(folder: Path, seed: int) -> Written:
    draw = Draw(seed)
    bias, enc, dec = draw(draw.d), draw(draw.d, draw.n), draw(draw.n, draw.d)
    path = folder / "22_resid" / "1200013184.pt"
    path.parent.mkdir()
    state = {"pre_b": bias, "enc": enc, "dec": dec}
    torch.save({"k": 9, "n_features": draw.n, "d_in": draw.d, "model_state_dict": state}, path)

    def reconstruct(x: Tensor) -> Tensor:
        h = (x - bias).double() @ enc.double()
        return only_top(h, h, 9) @ dec.double() + bias.double()

    return Written(path, reconstruct)


def _lasgroup(folder: Path, seed: int) -> Written:
    draw = Draw(seed)
    encoder, b_e, decoder, b_d = draw(draw.n, draw.d), draw(draw.n), draw(draw.d, draw.n), draw(draw.d)
    config = {
        "feature_dim": draw.d,
        "expansion_factor": 2,
        "k": K,
        "use_ghost_grads": True,
        "decoder_bias": True,
    }
    state = {"encoder.weight": encoder, "encoder.bias": b_e, "decoder.weight": decoder, "decoder.bias": b_d}
    torch.save({"config": config, "model_state_dict": state}, folder / "clip_sae_checkpoint.pt")

    def reconstruct(x: Tensor) -> Tensor:
        """On x / |x|, which the library is given, and back to the length of x."""
        length = lengths(x)
        h = linear(x.double() / length, encoder, b_e)
        return linear(only_top(h, h, K), decoder, b_d) * length

    return Written(folder / "clip_sae_checkpoint.pt", reconstruct)


def _one_off(folder: Path, seed: int) -> Written:
    draw = Draw(seed)
    encoder, b_e, decoder, pre = draw(draw.n, draw.d), draw(draw.n), draw(draw.d, draw.n), draw(draw.d)
    state = {"enc.weight": encoder, "enc.bias": b_e, "dec.weight": decoder, "centre": pre}
    torch.save(state, folder / "Layer11_epoch100_lr1e-05.pth")

    def reconstruct(x: Tensor) -> Tensor:
        return linear(topk_relu(linear(x - pre, encoder, b_e), K), decoder, pre)

    return Written(folder / "Layer11_epoch100_lr1e-05.pth", reconstruct)


_MAPPING = {
    "W_enc": "enc.weight",
    "b_enc": "enc.bias",
    "W_dec": "dec.weight",
    "b_in": "centre",
    "b_dec": "centre",
}

CASES: tuple[Case, ...] = (
    Case("openai-topk", _openai("TopK"), "openai"),
    Case("openai-relu", _openai("ReLU"), "openai"),
    Case("openai-tied", _openai("TopK", tied=True), "openai"),
    Case("sdxl-unbox", _unbox("inputs"), "sdxl-unbox"),
    Case("sdxl-unbox-feature-means", _unbox("features"), "sdxl-unbox"),
    Case("clipscope", _clipscope, "clipscope"),
    Case("lasgroup", _lasgroup, "lasgroup"),
    Case("one-off", _one_off, "mapping", {"mapping": _MAPPING, "k": K}),
)

"""A trained coder as the canonical dictionary: what was learnt around the products is folded into them."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from sae.architectures import SIGNS
from sae.card import Normalisation
from sae.dictionary import Gate, SparseDictionary
from sae.trainer.coder import Coder
from sae.trainer.measure import Measured

CALIBRATED_ON = 20_000
"""Rows a threshold is calibrated on, at most about twice as many."""


@torch.no_grad()
def canonical(coder: Coder, measured: Measured) -> SparseDictionary:
    """The dictionary of the weights as they are; a batchtopk one lacks its threshold if it is calibrated."""
    recipe = coder.recipe
    W_enc, b_enc, offset = _folded(coder)
    gated = recipe.architecture == "gated"
    normalise = Normalisation(mean=recipe.input.mean, scale=recipe.input.scale)
    return SparseDictionary(
        recipe.architecture,
        W_enc=W_enc,
        b_enc=b_enc,
        W_dec=coder.directions.detach().contiguous().clone(),
        b_dec=coder.b_dec.detach().clone(),
        mean=measured.mean,
        scale=measured.scale,
        k=recipe.k if recipe.architecture in ("topk", "batchtopk") else None,
        threshold=_threshold(coder),
        normalise=normalise,
        input_norm=recipe.input.layer_norm,
        sign=recipe.sign if recipe.architecture in ("topk", "batchtopk") else "relu",
        soft_cap=recipe.soft_cap,
        gate=_gate(coder, offset) if gated else None,
    )


def _folded(coder: Coder) -> tuple[Tensor, Tensor, Tensor]:
    """(d, F) weights with gain and norms in them, the (F,) bias, and what of it was folded in."""
    recipe = coder.recipe
    W_enc, before = coder.W_enc.detach().clone(), torch.zeros_like(coder.b_dec)
    if recipe.input.affine:
        before = coder.shift
    if recipe.decoder.subtract_bias:
        before = before - coder.b_dec
    offset = (before @ W_enc).detach()
    b_enc = (coder.b_enc + offset).detach()
    if recipe.input.affine:
        W_enc = coder.gain.detach()[:, None] * W_enc
    if recipe.decoder.norm == "rescaled":
        norms = coder.W_dec.detach().norm(dim=1)
        W_enc, b_enc = W_enc * norms, b_enc * norms
    return W_enc, b_enc, offset


def _gate(coder: Coder, offset: Tensor) -> Gate:
    """Magnitudes leave the gate's whole b_enc out, so what is folded into it is theirs too."""
    r_mag = coder.r_mag.detach().clone()
    return Gate(r_mag=r_mag, b_mag=(coder.b_mag + offset * r_mag.exp()).detach())


def _threshold(coder: Coder) -> Tensor | None:
    recipe = coder.recipe
    if recipe.architecture == "jumprelu":
        return coder.thresholds.detach().clone().clamp(min=0)
    followed = (
        recipe.architecture == "batchtopk" and recipe.threshold.kind == "ema" and float(coder.floor) >= 0
    )
    return coder.floor.detach().clone() if followed else None


@torch.no_grad()
def calibrated(dictionary: SparseDictionary, activations: Tensor) -> SparseDictionary:
    """The same with the threshold that as many activations exceed as k a row, on evenly spaced rows."""
    spread = activations[:: max(1, len(activations) // CALIBRATED_ON)].float()
    ranked = _ranks(dictionary, spread)
    above = min((dictionary.k or 1) * len(spread), ranked.numel() - 1)
    threshold = ranked.kthvalue(ranked.numel() - above).values
    return replace(dictionary, threshold=threshold)


def _ranks(dictionary: SparseDictionary, rows: Tensor) -> Tensor:
    """What batchtopk ranks, of all rows and features in a row."""
    if dictionary.sign == "relu":
        return replace(dictionary, architecture="relu", soft_cap=None).encode(rows).flatten()
    bare = replace(dictionary, threshold=None, k=None, sign="keep", soft_cap=None)
    return SIGNS[dictionary.sign].rank(bare.encode(rows)).flatten()

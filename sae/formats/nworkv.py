"""SAE for ViT-Tiny: a TopK dictionary behind an affine LayerNorm that its reconstruction does not undo."""

from __future__ import annotations

from sae.formats.parts import Activation, Parts, turned, vector
from sae.formats.reading import Format, Reading, Source
from sae.layer_norm import LayerNorm

K = 64
_AFFINE = ("weight", "bias")
NORM = LayerNorm(eps=1e-12, ddof=0, eps_inside_root=True, inverted=False)


def _read(source: Source) -> Reading:
    W_enc = turned(source.tensor("encoder.weight"))
    d, f = W_enc.shape
    gain, shift = (
        vector(source.tensor(f"layernorm_before.{end}"), d, f"LayerNorm's {end}") for end in _AFFINE
    )
    own, latent = (vector(source.tensor(name), f, name) for name in ("encoder.bias", "latent_bias"))
    parts = Parts(
        W_enc=gain[:, None] * W_enc,
        b_enc=own + latent + (shift.double() @ W_enc.double()).float(),
        W_dec=turned(source.tensor("decoder.weight")),
        b_out=source.tensor("decoder.bias"),
        norm=NORM,
    )
    k = source.k or min(K, W_enc.shape[1])
    notes = () if source.k else (f"The file does not hold k; {k} as in its project, or give k.",)
    return Reading(parts.dictionary(Activation("topk", k=k)), notes)


NWORKV = Format("nworkv", lambda source: source.has("layernorm_before.weight", "latent_bias"), _read)

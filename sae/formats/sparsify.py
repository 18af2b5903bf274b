"""EleutherAI's sparsify, and those whose weights have its names: CLIP_TopKSAE, VL-SAE, multimodal-sae.

z = topk(relu((x - b_dec) @ W_enc + b_enc)), x^ = z @ W_dec + b_dec. A VL dictionary is split into features
of images, of both and of texts; images have only the first two.
"""

from __future__ import annotations

from typing import Any

from sae.errors import BadDictionary
from sae.formats.named import UNCALIBRATED
from sae.formats.parts import Activation, Parts, turned
from sae.formats.reading import Format, Hints, Reading, Source

VL_FLAVORS = ("vl-sae-images", "vl-sae-texts", "vl-sae-unmasked")
"""Which of a VL dictionary's features there are; 'vl-sae' is of images."""


def _read(source: Source) -> Reading:
    _refuse(source)
    kind = source.config.text("model_type") or ""
    batch = "batch" in kind or "matryoshka" in kind
    notes = [UNCALIBRATED] if batch else []
    W_dec = source.tensor("W_dec")
    lengths = W_dec.float().norm(dim=-1)
    if source.config.flag("normalize_decoder") and not bool(((lengths - 1).abs() < 0.01).all()):
        notes.append("Its configuration says decoder directions have length 1; some have not.")
    # Those of sparsify's first versions that are 'signed' rank by size and keep either sign.
    sign = "abs" if source.config.flag("signed") else "relu"
    activation = Activation("batchtopk" if batch else "topk", k=source.top("k"), sign=sign)
    return Reading(_parts(source).dictionary(activation), tuple(notes), Hints(place=_place(source)))


def _read_vl(source: Source) -> Reading:
    reading = _read(source)
    dictionary = reading.dictionary
    if source.flavor == "vl-sae-unmasked":
        return reading
    images, both, _ = _split(source.config.held.get("vl_split_ratio"), dictionary.n_features)
    texts = source.flavor == "vl-sae-texts"
    absent = slice(0, images) if texts else slice(images + both, None)
    W_enc, b_enc = dictionary.W_enc.clone(), dictionary.b_enc.clone()
    W_enc[:, absent], b_enc[absent] = 0, 0
    note = f"Features of {'images' if texts else 'texts'} alone are never active, as in its own forward pass."
    parts = Parts(W_enc=W_enc, b_enc=b_enc, W_dec=dictionary.W_dec, b_out=dictionary.b_dec)
    masked = parts.dictionary(Activation(dictionary.architecture, k=dictionary.k))
    return Reading(masked, (*reading.notes, note), reading.hints)


def _parts(source: Source) -> Parts:
    bias = source.tensor("b_dec")
    return Parts(
        W_enc=turned(source.tensor("encoder.weight")),
        b_enc=source.tensor("encoder.bias"),
        W_dec=source.tensor("W_dec"),
        b_in=bias,
        b_out=bias,
    )


def _refuse(source: Source) -> None:
    config = source.config
    if config.flag("transcode") or source.has("W_skip"):
        raise BadDictionary("it is a transcoder or has a skip connection: it maps one layer to another")
    if (config.text("activation") or "topk") != "topk":
        raise BadDictionary(f"its activation is {config.text('activation')!r}, which no dictionary here has")
    groups, active = config.held.get("group_sizes"), config.whole("active_groups")
    if isinstance(groups, list) and active is not None and active != len(groups):
        raise BadDictionary(f"only {active} of its {len(groups)} groups are active; save it with all of them")


def _split(ratio: Any, n_features: int) -> tuple[int, int, int]:
    shares = ratio if ratio is not None else [1, 2, 1]
    if not (
        isinstance(shares, list)
        and len(shares) == 3
        and all(type(share) is int and 0 <= share < 2**20 for share in shares)
        and sum(shares)
    ):
        raise BadDictionary(f"its vl_split_ratio is {str(ratio)[:40]}, not three shares")
    images, both = (n_features * share // sum(shares) for share in shares[:2])
    return images, both, n_features - images - both


def _place(source: Source) -> str | None:
    """sparsify names the folder after the hook point."""
    return source.path.parent.name if source.path.name == "sae.safetensors" else None


def _is_sparsify(source: Source) -> bool:
    return source.has("encoder.weight", "W_dec", "b_dec")


def _is_vl(source: Source) -> bool:
    kind = source.config.held.get("model_type")
    return _is_sparsify(source) and (isinstance(kind, str) and kind.startswith("vl_"))


VL_SAE = Format("vl-sae", _is_vl, _read_vl, VL_FLAVORS)
SPARSIFY = Format("sparsify", _is_sparsify, _read)

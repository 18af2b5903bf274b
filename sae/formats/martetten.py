"""SAE-for-CLIP: a TopK dictionary over an untrained decoder, of the class token of a CLIP block.

z = topk(relu(x @ W_enc + b)), x^ = z @ W_dec; no bias is subtracted and none added.
"""

from __future__ import annotations

from sae.formats.parts import Activation, Parts, turned
from sae.formats.reading import Format, Hints, Reading, Settings, Source

K = 500


def _read(source: Source) -> Reading:
    inner = source.config.part("sae")
    stored = source.k or inner.whole("k")
    parts = Parts(
        W_enc=turned(source.tensor("encoder.weight")),
        b_enc=source.tensor("encoder_bias"),
        W_dec=turned(source.tensor("decoder.weight")),
    )
    k = stored or min(K, parts.W_enc.shape[1])
    notes = () if stored else (f"The file does not hold k; {k} as in its project, or give k.",)
    return Reading(parts.dictionary(Activation("topk", k=k)), notes, _hints(source.config.part("clip")))


def _hints(clip: Settings) -> Hints:
    model, pretrained = clip.hint("model_name"), clip.hint("pretrained")
    words = " ".join(each for each in (model, pretrained) if each)
    return Hints(model=words or None, block=clip.hinted_number("layer"), tokens="cls")


MARTETTEN = Format(
    "martetten",
    lambda source: source.has("encoder.weight", "encoder_bias", "decoder.weight"),
    _read,
)

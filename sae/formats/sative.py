"""sative: four .npy files of a ReLU dictionary of CLIP's class tokens, h = (x - b_d) @ W_enc + b_enc."""

from __future__ import annotations

import re

from sae.formats.parts import Activation, Parts, turned
from sae.formats.reading import Format, Hints, Reading, Source

_FOLDER = re.compile(r"(\d{2})_\d{5}_\d{3}")


def _read(source: Source) -> Reading:
    parts = Parts(
        W_enc=turned(source.tensor("encoder_weight")),
        b_enc=source.tensor("encoder_bias"),
        W_dec=turned(source.tensor("decoder_weight")),
        b_in=source.tensor("decoder_bias"),
        b_out=source.tensor("decoder_bias"),
    )
    found = _FOLDER.fullmatch(source.path.resolve().parent.name)
    # Its layers count the hidden states, of which the first is the embedding.
    block = int(found[1]) - 1 if found and int(found[1]) else None
    return Reading(parts.dictionary(Activation("relu")), (), Hints(block=block, tokens="cls"))


SATIVE = Format("sative", lambda source: source.has("encoder_weight", "decoder_weight"), _read)

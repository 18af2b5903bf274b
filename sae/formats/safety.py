"""ai-safety-foundation's library and Discover-then-Name, which keeps a copy of an older one.

h = (x - b_t) @ W_enc + b_enc, z = relu(h), x^ = z @ W_dec + b_t, with an axis of components before all.
"""

from __future__ import annotations

from torch import Tensor

from sae.errors import BadDictionary
from sae.formats.parts import Activation, Parts, turned
from sae.formats.reading import Format, Reading, Source


def _reader(dot: str) -> Format:
    """Of the spelling with '_' before what a layer holds, or without."""

    def read(source: Source) -> Reading:
        encoder, tied = source.tensor(f"encoder.{dot}weight"), source.tensor("tied_bias")
        components = encoder.shape[0] if encoder.ndim == 3 else 1
        if components != 1:
            raise BadDictionary(f"it holds {components} dictionaries, one per component; save one of them")
        bias = _of_one(tied, 1)
        parts = Parts(
            W_enc=turned(_of_one(encoder, 2)),
            b_enc=_of_one(source.tensor(f"encoder.{dot}bias"), 1),
            W_dec=turned(_of_one(source.tensor(f"decoder.{dot}weight"), 2)),
            b_in=bias,
            b_out=bias,
        )
        return Reading(parts.dictionary(Activation("relu")))

    name = "dn-cbm" if dot else "asf"
    return Format(name, lambda source: source.has("tied_bias", f"encoder.{dot}weight"), read)


def _of_one(tensor: Tensor, axes: int) -> Tensor:
    """Without the axis of components, where it has one."""
    return tensor[0] if tensor.ndim == axes + 1 and len(tensor) == 1 else tensor


DN_CBM = _reader("_")
ASF = _reader("")

"""What a library can express, and the sentence for what it cannot."""

from __future__ import annotations

from typing import NamedTuple

from sae.dictionary import SparseDictionary
from sae.errors import UnfitRequest
from sae.formats.parts import PEERS_NORM
from sae.formats.saelens import CONSTANT_NORM
from sae.layer_norm import LayerNorm

AFTER_SCALE = PEERS_NORM.model_copy(update={"after_scale": True})
NORMS: dict[str, LayerNorm | None] = {
    "none": None,
    "layer_norm": PEERS_NORM,
    "constant_norm_rescale": CONSTANT_NORM,
}
"""As SAELens and Prisma call them."""


class Abilities(NamedTuple):
    """Of a library."""

    library: str
    architectures: tuple[str, ...]
    signs: tuple[str, ...] = ("relu",)
    """Of what is ranked."""
    norms: tuple[LayerNorm | None, ...] = (None,)
    soft_caps: tuple[float, ...] | None = ()
    """None: any."""

    def refuse_beyond(self, dictionary: SparseDictionary) -> None:
        """BadDictionary says what of it the library has no form for."""
        lacking = self._lacking(dictionary)
        if lacking is not None:
            raise UnfitRequest(f"{self.library} cannot express {lacking}; choose another format.")

    def _lacking(self, dictionary: SparseDictionary) -> str | None:
        architecture = dictionary.architecture
        capped = dictionary.soft_cap is not None
        if architecture not in self.architectures:
            return f"the architecture {architecture!r}, only {', '.join(self.architectures)}"
        if architecture == "batchtopk" and dictionary.threshold is None:
            return "a batchtopk dictionary without a threshold, whose codes depend on the batch"
        if architecture == "batchtopk" and dictionary.sign != "relu":
            return f"a threshold on what is ranked by {dictionary.sign!r}"
        if architecture == "topk" and dictionary.sign not in self.signs:
            return f"a topk that ranks by {dictionary.sign!r}, only by {', '.join(self.signs)}"
        if dictionary.input_norm not in self.norms:
            return f"the input norm {dictionary.input_norm}"
        if capped and self.soft_caps is not None and dictionary.soft_cap not in self.soft_caps:
            return f"a soft cap of {dictionary.soft_cap:g}"
        return None


def norm_name(dictionary: SparseDictionary) -> str:
    """What SAELens and Prisma call its input norm."""
    return next(name for name, norm in NORMS.items() if norm == dictionary.input_norm)

"""HugoFry's dictionaries of CLIP, and PatchSAE's and ConceptScope's, which have their files.

{cfg, state_dict} with a pickled configuration: h = relu((x - b_dec) @ W_enc + b_enc), x^ = z @ W_dec + b_dec.
"""

from __future__ import annotations

import re

from sae.card import BackboneSpec
from sae.errors import BadDictionary
from sae.formats.parts import Activation, Parts
from sae.formats.reading import Format, Hints, Reading, Settings, Source

FLAVORS = ("patchsae", "conceptscope")
"""Other names of the same."""
_MARKS = ("block_layer", "class_token", "module_name")
_ORGANISATION = re.compile(r"[\w.-]+/[\w.-]+")


def _read(source: Source) -> Reading:
    if source.config.flag("gated_sae") or source.has("r_mag"):
        raise BadDictionary("it says gated_sae, which its own library never ran")
    bias = source.tensor("b_dec")
    parts = Parts(
        W_enc=source.tensor("W_enc"),
        b_enc=source.tensor("b_enc"),
        W_dec=source.tensor("W_dec"),
        b_in=bias,
        b_out=bias,
    )
    return Reading(parts.dictionary(Activation()), (), _hints(source.config))


def _hints(config: Settings) -> Hints:
    model, alone = config.hint("model_name"), config.flag("class_token")
    hub = model is not None and _ORGANISATION.fullmatch(model) is not None
    residual = (config.hint("module_name") or "resid") == "resid"
    return Hints(
        model=model,
        backbone=BackboneSpec(kind="transformers", source=str(model)) if hub else None,
        block=config.hinted_number("block_layer") if residual else None,
        place=config.hint("module_name"),
        tokens=None if alone is None else "cls" if alone else "all",
    )


def _claims(source: Source) -> bool:
    marked = any(name in source.config for name in _MARKS)
    pickled = any("ViTSAERunnerConfig" in name for name in source.classes)
    return source.has("W_enc", "b_enc", "W_dec", "b_dec") and (marked or pickled)


HUGOFRY = Format("hugofry", _claims, _read, FLAVORS)

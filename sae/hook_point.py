"""The names of hook points, and how others number the layers of a vision model. Imports no torch."""

from __future__ import annotations

from typing import Literal

from sae.errors import UnknownHookPoint

POOLED = "pooled"
LOGITS = "logits"

Numbering = Literal["blocks", "hidden-states"]
"""What a layer's number counts: block outputs from 0, or transformers' hidden_states, where 0 is the
embedding and i the output of block i - 1."""


def block_name(layer: int, n_blocks: int, *, counts: Numbering = "blocks") -> str:
    """The hook point of somebody else's layer number; negative ones count from the end, as in a list.

    HugoFry, PatchSAE and ConceptScope index the blocks (-2 is the last but one); SAELens-like and sative
    files index hidden_states. UnknownHookPoint where no block is meant.
    """
    states = n_blocks + (counts == "hidden-states")
    at = layer + states if layer < 0 else layer
    block = at - (counts == "hidden-states")
    if not 0 <= block < n_blocks or at >= states:
        raise UnknownHookPoint(
            f"Layer {layer} of {counts} is the output of no block; this backbone has {n_blocks} blocks."
        )
    return f"block.{block}"

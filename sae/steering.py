"""Steering: a model whose features are added to, held, scaled or taken out, and what it then says.

Only what an edit changes of the codes is decoded and added to the activation; what the dictionary leaves
unexplained, and every other feature's share, stays as it is (the error term of arXiv 2403.19647).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sae.activations import FeatureReader
from sae.dictionary import SparseDictionary
from sae.edit import Edit, Mode
from sae.errors import SilentFeature, UnfitMethod, UnfitRequest, WrongTokens
from sae.feature import Frozen
from sae.hook_point import LOGITS
from sae.measures.heads import Head, can_tell_classes, classifier_head, zero_shot_head
from sae.patched import Patch
from sae.pooling import Pooling
from sae.relevance.subject import hooked
from sae.token_layout import Tokens

TOKENS: dict[Pooling, Tokens] = {
    "none": "all",
    "cls": "cls",
    "max": "patch",
    "mean": "patch",
    "top-p": "patch",
}
"""The tokens that a dictionary reads, by how it pools them."""


class Steering(NamedTuple):
    """Edits, made one after another, and where."""

    edits: tuple[Edit, ...]
    patches: Tensor | None = None
    """(p,) bool: on these patch tokens only; on all that the dictionary reads if None."""


class Shift(Frozen):
    """A word's, or class's, probability in the model as it is and as it is steered."""

    word: str
    before: float
    after: float


class Outcome(Frozen):
    """What steering did to one image."""

    before: tuple[float, ...]
    """The edited features' activations, in order of the edits, pooled over tokens."""
    after: tuple[float, ...]
    """The same, encoded anew from the steered activations."""
    moved: float
    """Length of the change of all tokens over the length of what they held."""
    disturbed: float
    """Sum of what all other features' pooled activations change by, once encoded anew, over their sum."""
    shifts: tuple[Shift, ...] = ()
    """Of every word, in order of the head's classes."""


class _Ends(NamedTuple):
    """Both passes over a batch."""

    inputs: Tensor
    steered: Tensor
    before: Tensor
    after: Tensor
    """(b, c) probabilities."""


def strength(activations: npt.ArrayLike, percentile: float) -> float:
    """A percentile, 0 to 100, of a feature's activations other than 0. SilentFeature where all are 0."""
    held = np.asarray(activations, np.float64)
    live = held[held != 0]
    if not 0 <= percentile <= 100:
        raise ValueError(f"Percentile {percentile} does not exist; give 0 to 100.")
    if not len(live):
        raise SilentFeature("The feature is never active on these images; give images that it is active on.")
    return float(np.percentile(live, percentile))


def edit_codes(codes: Tensor, edits: Sequence[Edit]) -> Tensor:
    """(..., F) codes, edited; the given ones stay. BadDictionary where there is no such feature."""
    edited = codes.clone()
    for edit in edits:
        if not 0 <= edit.feature < codes.shape[-1]:
            raise UnfitRequest(
                f"Feature {edit.feature} is not in this dictionary; it has 0 to {codes.shape[-1] - 1}."
            )
        held = edited[..., edit.feature]
        edited[..., edit.feature] = _EDITED[edit.mode](held, edit.amount)
    return edited


def steer_activations(dictionary: SparseDictionary, activations: Tensor, edits: Sequence[Edit]) -> Tensor:
    """(..., d) activations plus what the edits change of the reconstruction; bit for bit where nothing."""
    x = activations.to(dictionary.W_enc.device, dictionary.W_enc.dtype)
    codes, statistics = dictionary.encode(x), dictionary.statistics(x)
    edited = edit_codes(codes, edits)
    change = dictionary.decode(edited, statistics=statistics) - dictionary.decode(
        codes, statistics=statistics
    )
    return activations + change.to(activations)


def steer(reader: FeatureReader, pixels: Tensor, steering: Steering) -> dict[str, Tensor]:
    """'pooled', and 'logits' where there are, of preprocessed (b, 3, h, w) images under edits.

    The edits are made on the tokens that the dictionary reads. BadDictionary, WrongTokens.
    """
    return hooked(reader).patched(pixels, [patch_of(reader, steering)])


def patch_of(reader: FeatureReader, steering: Steering) -> Patch:
    """Edits as a patch, to be used beside other ones."""

    def replace(x: Tensor) -> Tensor:
        steered = steer_activations(reader.dictionary, x, steering.edits)
        return steered if steering.patches is None else torch.where(_mask(steering.patches, x), steered, x)

    return Patch(reader.hook_point, replace, tokens=TOKENS[reader.pooling])


def word_head(reader: FeatureReader, words: Sequence[str], *, template: str, pixels: Tensor) -> Head:
    """What tells words in images: the text tower, or a classifier's own classes where there is none.

    ``words`` name a classifier's classes or are empty. UnfitMethod where the model tells neither or, patched
    here, not any more.
    """
    if reader.backbone.has_text:
        return zero_shot_head(reader.backbone, words, templates=(template,))
    if not can_tell_classes(reader.backbone, reader.hook_point, pixels):
        raise UnfitMethod(
            "This backbone tells neither words nor classes after this hook point; "
            "use a multimodal one such as CLIP."
        )
    return classifier_head(words)


@torch.no_grad()
def outcomes(
    reader: FeatureReader, pixels: Tensor, steering: Steering, *, head: Head | None = None
) -> tuple[Outcome, ...]:
    """What steering does to each of (b, 3, h, w) images: to its features, and to the words of a head.

    Probabilities are the softmax over the head's words, with the model's logit scale.
    """
    ends = _ends(reader, pixels, steering, head)
    was, now = (reader.pool(reader.dictionary.encode(x)) for x in (ends.inputs, ends.steered))
    features = [edit.feature for edit in steering.edits]
    others = torch.ones(was.shape[1], dtype=torch.bool, device=was.device)
    others[features] = False
    disturbed = (now - was)[:, others].abs().sum(1) / was[:, others].abs().sum(1).clamp(min=1e-12)
    change = (ends.steered - ends.inputs).flatten(1).norm(dim=1) / ends.inputs.flatten(1).norm(dim=1)
    return tuple(
        Outcome(
            before=tuple(was[at, features].tolist()),
            after=tuple(now[at, features].tolist()),
            moved=float(change[at]),
            disturbed=float(disturbed[at]),
            shifts=_shifts(head, ends.before[at], ends.after[at]),
        )
        for at in range(len(pixels))
    )


def _ends(reader: FeatureReader, pixels: Tensor, steering: Steering, head: Head | None) -> _Ends:
    backbone, point = hooked(reader), reader.hook_point
    names = [point] if head is None else list(dict.fromkeys([point, head.end]))
    plain = backbone.patched(pixels, [], read=names)
    changed = backbone.patched(pixels, [patch_of(reader, steering)], read=names)
    held, steered = (
        reader.select(each[point].to(reader.dictionary.W_enc.device, torch.float32))
        for each in (plain, changed)
    )
    nothing = torch.empty(len(pixels), 0)
    before, after = (nothing if head is None else head.logits(each).softmax(-1) for each in (plain, changed))
    return _Ends(held, steered, before, after)


def _shifts(head: Head | None, before: Tensor, after: Tensor) -> tuple[Shift, ...]:
    if head is None:
        return ()
    named = head.classes if head.end != LOGITS else ()
    words = named or tuple(f"class {at}" for at in range(len(before)))
    told = zip(words, before.tolist(), after.tolist(), strict=True)
    return tuple(Shift(word=word, before=was, after=now) for word, was, now in told)


def _mask(patches: Tensor, x: Tensor) -> Tensor:
    """(p, 1) of the chosen patches, for (b, p, d) tokens."""
    if x.ndim != 3 or patches.shape != x.shape[1:2]:
        raise WrongTokens(
            f"A choice among {len(patches)} patches does not fit tokens {tuple(x.shape[1:-1])}; choose among "
            "the patch tokens that the dictionary reads."
        )
    return patches.to(x.device, torch.bool)[:, None]


_EDITED: dict[Mode, Callable[[Tensor, float], Tensor]] = {
    "add": lambda held, amount: held + amount,
    "clamp": lambda held, amount: torch.full_like(held, amount),
    "scale": lambda held, amount: held * amount,
    "ablate": lambda held, _: torch.zeros_like(held),
}

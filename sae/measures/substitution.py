"""What a model still tells when a dictionary's reconstruction takes the place of its activations.

Accuracy and cross-entropy of the untouched model, of the model patched with its own activations (the
ceiling, which must lose nothing), with reconstructions, and with the mean or with zeros (the floors).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from sae.backbone import VisionBackbone
from sae.dictionary import SparseDictionary
from sae.feature import Frozen
from sae.image_source import ImageSource
from sae.measures.heads import Head, patchable
from sae.measures.score import Score, mean_score, resampled, share_score
from sae.measures.tokens import pixel_batches
from sae.metrics import Doubles
from sae.token_layout import Tokens as Scope

What = Literal["original", "identity", "dictionary", "untrained", "mean", "zero"]
Ints = npt.NDArray[np.int64]
Replace = Callable[[Tensor], Tensor]
TOP = 5


class PatchRow(Frozen):
    """The model under one patch."""

    what: What
    top1: Score
    top5: Score | None
    """None with five classes or fewer."""
    drop: Score
    """Accuracy lost against the untouched model, paired by image."""
    cross_entropy: Score
    """Nats."""
    recovered: Score
    """(mean's - this) / (mean's - original's) cross-entropy; 1: nothing lost, 0: no better than the mean."""


class ClassRow(Frozen):
    """One class under the untouched model and with reconstructions."""

    name: str
    images: int
    original: float
    dictionary: float


class Substitution(Frozen):
    """Every patch at one hook point, over one set of tokens."""

    tokens: Scope
    """Which tokens are replaced."""
    target: Literal["labels", "own predictions"]
    """What counts as right: the images' classes, or what the untouched model says."""
    templates: tuple[str, ...]
    """Of the texts that tell the classes; empty for a classifier."""
    logit_scale: float
    n_classes: int
    rows: tuple[PatchRow, ...]
    classes: tuple[ClassRow, ...]
    """Empty where the classes have no names."""


class Patches(NamedTuple):
    """Where reconstructions are put, and what turns the end of the model into logits."""

    backbone: VisionBackbone
    hook_point: str
    tokens: Scope
    head: Head


class _Outcome(NamedTuple):
    """(n,) figures of one patch."""

    hit1: Doubles
    hit5: Doubles
    cross_entropy: Doubles


def measure_substitution(
    patches: Patches,
    images: ImageSource,
    dictionaries: dict[What, SparseDictionary],
    *,
    labels: Sequence[int] | Ints | None,
    seed: int,
) -> Substitution:
    """Patch every image in every way. ``dictionaries``: 'dictionary' and, to compare, 'untrained'.

    ``labels``: (n,) numbers of the head's classes; None: the untouched model's own predictions are right.
    """
    mean = _Mean()
    first: dict[What, Replace | None] = {"original": None, "identity": mean.note}
    logits = _logits(patches, images, first)
    ablated: dict[What, Replace | None] = {"mean": mean.fill, "zero": torch.zeros_like}
    rebuilt: dict[What, Replace | None] = {name: _rebuild(each) for name, each in dictionaries.items()}
    logits |= _logits(patches, images, rebuilt | ablated)
    truth = logits["original"].argmax(1) if labels is None else torch.as_tensor(np.asarray(labels, np.int64))
    outcomes = {what: _outcome(each, truth) for what, each in logits.items()}
    n_classes = logits["original"].shape[1]
    return Substitution(
        tokens=patches.tokens,
        target="own predictions" if labels is None else "labels",
        templates=patches.head.templates,
        logit_scale=patches.head.scale,
        n_classes=n_classes,
        rows=tuple(_row(what, outcomes, n_classes=n_classes, seed=seed) for what in outcomes),
        classes=_by_class(patches.head.classes, truth.numpy(), outcomes),
    )


class _Mean:
    """The mean activation at every place, learnt while activations pass unchanged."""

    def __init__(self) -> None:
        self._total: Tensor | None = None
        self._n = 0

    def note(self, x: Tensor) -> Tensor:
        total = x.double().sum(0)
        self._total = total if self._total is None else self._total + total
        self._n += len(x)
        return x

    def fill(self, x: Tensor) -> Tensor:
        assert self._total is not None
        return (self._total / self._n).to(x.dtype).expand_as(x)


def _rebuild(dictionary: SparseDictionary) -> Replace:
    def replace(x: Tensor) -> Tensor:
        on = x.to(dictionary.W_enc.device, torch.float32)
        return dictionary.reconstruct(on).to(x.device, x.dtype)

    return replace


@torch.no_grad()
def _logits(patches: Patches, images: ImageSource, ways: dict[What, Replace | None]) -> dict[What, Tensor]:
    found: dict[What, list[Tensor]] = {what: [] for what in ways}
    for batch in pixel_batches(patches.backbone, images):
        for what, replace in ways.items():
            found[what].append(patches.head.logits(_ends(patches, batch.pixels, replace)))
    return {what: torch.cat(parts) for what, parts in found.items()}


def _ends(patches: Patches, pixels: Tensor, replace: Replace | None) -> Mapping[str, Tensor]:
    if replace is None:
        return patches.backbone.activations(pixels, [patches.head.end])
    return patchable(patches.backbone).forward_with(
        pixels, patches.hook_point, replace, tokens=patches.tokens
    )


def _outcome(logits: Tensor, truth: Tensor) -> _Outcome:
    best = logits.topk(min(TOP, logits.shape[1]), dim=1).indices
    hit = best == truth[:, None]
    entropy = F.cross_entropy(logits.double(), truth, reduction="none")
    return _Outcome(hit[:, 0].double().numpy(), hit.any(1).double().numpy(), entropy.numpy())


def _row(what: What, outcomes: dict[What, _Outcome], *, n_classes: int, seed: int) -> PatchRow:
    own, original = outcomes[what], outcomes["original"]
    entropies = [outcomes["mean"].cross_entropy, own.cross_entropy, original.cross_entropy]
    return PatchRow(
        what=what,
        top1=share_score(own.hit1, seed=seed),
        top5=share_score(own.hit5, seed=seed) if n_classes > TOP else None,
        drop=mean_score(original.hit1 - own.hit1, seed=seed),
        cross_entropy=mean_score(own.cross_entropy, seed=seed),
        recovered=resampled(_recovered, np.stack(entropies, axis=1), seed=seed),
    )


def _recovered(rows: Doubles) -> float:
    mean, own, original = rows.mean(0)
    return float((mean - own) / (mean - original)) if mean > original else float("nan")


def _by_class(names: Sequence[str], truth: Ints, outcomes: dict[What, _Outcome]) -> tuple[ClassRow, ...]:
    chosen = [(name, truth == at) for at, name in enumerate(names)]
    return tuple(
        ClassRow(
            name=name,
            images=int(rows.sum()),
            original=float(outcomes["original"].hit1[rows].mean()),
            dictionary=float(outcomes["dictionary"].hit1[rows].mean()),
        )
        for name, rows in chosen
        if rows.any()
    )

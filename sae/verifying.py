"""Whether a dictionary was read as it was meant: its fit to real activations, beside that of other readings.

Files leave open, or say wrongly, whether a bias is subtracted before encoding, whether activations are
standardised, of which layer and of which tokens they are. The wrong answer raises no error; it reconstructs
badly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from sae.backbone import VisionBackbone
from sae.dictionary import SparseDictionary
from sae.errors import BadDictionary
from sae.hypotheses import Hypothesis, Variant, variants
from sae.loading import Loaded
from sae.metrics import fvu

GIVEN = "as given"
"""The name of activations that came without one."""
LEAST, ENOUGH = 16, 512
_SCREENED, _KEPT = 96, 6
MARGIN = 0.05
"""Another reading is better only where its FVU is lower by this share: rivals that differ little are many."""


class Fit(NamedTuple):
    """How well one reading fits the activations of one place."""

    place: str
    """A hook point, as the mapping calls it."""
    hypothesis: Hypothesis
    fvu: float
    """Fraction of variance unexplained, of float64 sums over all activations."""
    l0: float
    """Mean number of active features."""

    @property
    def reading(self) -> str:
        return f"{self.place}: {self.hypothesis}"


@dataclass(frozen=True)
class Verification:
    """What was found."""

    as_loaded: Fit
    """At the first place, nothing changed."""
    best: Fit
    fits: tuple[Fit, ...]
    """The best readings of every place, lowest FVU first; the one as loaded is always among them."""
    best_dictionary: SparseDictionary
    """The best reading's."""
    skipped: tuple[str, ...] = ()
    """Places whose activations have another width."""

    @property
    def confirmed(self) -> bool:
        """Whether no other reading is clearly better than the one as loaded, nor than the mean activation."""
        return self.best is self.as_loaded and self.as_loaded.fvu < 1

    @property
    def sentence(self) -> str:
        """The outcome, for a person."""
        loaded = f"FVU {self.as_loaded.fvu:.3f} and L0 {self.as_loaded.l0:.1f} as loaded"
        if self.confirmed:
            return f"The reading fits: {loaded}, and none of {len(self.fits) - 1} others shown is better."
        if self.best is self.as_loaded:
            return (
                f"No reading fits: {loaded}, worse than the mean activation; check the backbone, the hook "
                "point and the preprocessing of the images."
            )
        return (
            f"Another reading fits better: {self.best.reading} has FVU {self.best.fvu:.3f} and "
            f"L0 {self.best.l0:.1f}, against {loaded}."
        )


def verify(dictionary: SparseDictionary | Loaded, x: Tensor | Mapping[str, Tensor]) -> Verification:
    """Compare readings on real activations (n, d), or on those of several places, the one claimed first.

    Readings: b_dec subtracted or not, b_enc used or not, layer norm or not, mean and scale or not, and every
    place given (``activations_around`` takes them from a backbone). (n, p, d) are taken as n * p activations,
    at most ENOUGH of them spread over all. BadDictionary where there are fewer than LEAST, where they are
    constant, or where the first place has another width.
    """
    held = dictionary.dictionary if isinstance(dictionary, Loaded) else dictionary
    held = held.to("cpu")
    places = {GIVEN: x} if isinstance(x, Tensor) else dict(x)
    if not places:
        raise BadDictionary("No activations were given to verify with; give those of one hook point or more.")
    rows = {place: _rows(place, given) for place, given in places.items()}
    first = next(iter(rows))
    if rows[first].shape[1] != held.width:
        raise BadDictionary(
            f"Activations of {first!r} are {rows[first].shape[1]} wide, the dictionary {held.width}; give "
            "those of the backbone it was trained on."
        )
    fitting = {place: each for place, each in rows.items() if each.shape[1] == held.width}
    judged = [each for place, given in fitting.items() for each in _judge(held, place, given)]
    skipped = tuple(place for place in rows if place not in fitting)
    return _concluded(judged, first, skipped)


def activations_around(
    backbone: VisionBackbone, pixels: Tensor, hook_point: str, *, tokens: str
) -> dict[str, Tensor]:
    """(b, 3, h, w) preprocessed images to (n, d) activations at a hook point, then at the blocks beside it.

    Of ``tokens`` 'cls' or 'patch' first, with the others after them, or of 'all' together: a part of all has
    another variance, so that it is no rival. 'none' where there is one vector per image.
    """
    names = [hook_point, *_beside(hook_point, backbone.hook_points)]
    held = backbone.activations(pixels, names)
    found: dict[str, Tensor] = {}
    for name in names:
        parts = _by_tokens(held[name], backbone, whole=tokens == "all")
        order = sorted(parts, key=lambda part: part != tokens)
        found |= {f"{name} {part}".removesuffix(" none"): parts[part] for part in order}
    return {name: each.float().cpu() for name, each in found.items()}


def _beside(hook_point: str, known: Sequence[str]) -> list[str]:
    kind, _, index = hook_point.partition(".")
    if kind != "block" or not index.isdecimal():
        return []
    return [name for name in (f"block.{int(index) - 1}", f"block.{int(index) + 1}") if name in known]


def _by_tokens(held: Tensor, backbone: VisionBackbone, *, whole: bool) -> dict[str, Tensor]:
    if held.ndim == 2:
        return {"none": held}
    if whole:
        return {"all": held.flatten(0, 1)}
    parts = {"cls": held[:, 0]} if backbone.has_cls else {}
    return parts | {"patch": held[:, backbone.n_prefix_tokens :].flatten(0, 1)}


def _rows(place: str, given: Tensor) -> Tensor:
    rows = given.detach().to("cpu", torch.float32).flatten(0, -2)
    if len(rows) < LEAST or not bool(rows.isfinite().all()):
        raise BadDictionary(
            f"{len(rows)} activations of {place!r} were given; verifying takes {LEAST} or more, all finite."
        )
    if len(rows) > ENOUGH:
        rows = rows[torch.linspace(0, len(rows) - 1, ENOUGH).long()]
    if bool((rows == rows[0]).all()):
        raise BadDictionary(f"All activations of {place!r} are equal; give those of different images.")
    return rows


class _Judged(NamedTuple):
    fit: Fit
    dictionary: SparseDictionary


def _judge(dictionary: SparseDictionary, place: str, x: Tensor) -> list[_Judged]:
    """The best readings on all activations, out of those best on a part of them, and the one as loaded."""
    part = x[torch.linspace(0, len(x) - 1, min(len(x), _SCREENED)).long()]
    found = list(variants(dictionary, x))
    screened = sorted(found[1:], key=lambda each: _fit(each, place, part).fvu)
    return [_Judged(_fit(each, place, x), each.dictionary) for each in [found[0], *screened[:_KEPT]]]


@torch.no_grad()
def _fit(variant: Variant, place: str, x: Tensor) -> Fit:
    made = variant.dictionary
    codes = made.encode(x)
    reconstructed = made.decode(codes, statistics=made.statistics(x))
    unexplained = fvu(x.numpy(), reconstructed.numpy())
    return Fit(place, variant.hypothesis, unexplained, float((codes != 0).sum(1).double().mean()))


def _concluded(judged: list[_Judged], first: str, skipped: tuple[str, ...]) -> Verification:
    ranked = sorted(judged, key=lambda each: each.fit.fvu)
    loaded = next(each for each in judged if each.fit.place == first and not each.fit.hypothesis.changes)
    limit = loaded.fit.fvu * (1 - MARGIN)
    better = [each for each in ranked if each.fit.fvu < limit]
    # Of readings that fit about as well, the one nearest to the file's.
    close = [each for each in better if each.fit.fvu <= better[0].fit.fvu * (1 + MARGIN)]
    best = min(close, key=lambda each: (each.fit.place != first, each.fit.hypothesis.changes), default=loaded)
    return Verification(
        as_loaded=loaded.fit,
        best=best.fit,
        fits=tuple(each.fit for each in ranked),
        best_dictionary=best.dictionary,
        skipped=skipped,
    )

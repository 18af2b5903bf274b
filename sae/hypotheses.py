"""Other ways in which the weights of a file may have been meant, each as a dictionary."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from sae.dictionary import SparseDictionary
from sae.exports.folding import Folded
from sae.formats.parts import PEERS_NORM
from sae.formats.saelens import CONSTANT_NORM

AS_LOADED = "as loaded"


class Hypothesis(NamedTuple):
    """A reading of the weights: each part is 'as loaded' or says what is different."""

    bias: str = AS_LOADED
    norm: str = AS_LOADED
    inputs: str = AS_LOADED

    @property
    def changes(self) -> int:
        """How many parts are different."""
        return sum(part != AS_LOADED for part in self)

    def __str__(self) -> str:
        said = [part for part in self if part != AS_LOADED]
        return ", ".join(said) or AS_LOADED


_Change = Callable[[SparseDictionary, Tensor], SparseDictionary]
"""A dictionary and (n, d) real activations to another reading of it."""


def _shifted(dictionary: SparseDictionary, times: float, *, keep: bool = True) -> SparseDictionary:
    """b_enc plus so many times b_dec @ W_enc, or that alone."""
    held = Folded(
        dictionary.W_enc,
        dictionary.b_enc if keep else torch.zeros_like(dictionary.b_enc),
        dictionary.W_dec,
        dictionary.b_dec,
        dictionary.gate,
    )
    moved = held.shifted(times * (dictionary.b_dec.double() @ dictionary.W_enc.double()))
    return replace(dictionary, b_enc=moved.b_enc, gate=moved.gate)


def _raw(dictionary: SparseDictionary, _: Tensor) -> SparseDictionary:
    return replace(
        dictionary,
        mean=torch.zeros_like(dictionary.mean),
        scale=torch.ones_like(dictionary.scale),
    )


def _standardised(dictionary: SparseDictionary, x: Tensor) -> SparseDictionary:
    mean = x.mean(0)
    size = (x - mean).square().sum(1).mean().sqrt()
    return replace(dictionary, mean=mean, scale=_ratio(x, size))


def _of_mean_norm(dictionary: SparseDictionary, x: Tensor) -> SparseDictionary:
    return replace(_raw(dictionary, x), scale=_ratio(x, x.norm(dim=1).mean()))


def _ratio(x: Tensor, size: Tensor) -> Tensor:
    width = torch.tensor(float(x.shape[1]))
    return width.sqrt() / size.clamp(min=torch.finfo(x.dtype).tiny)


def _same(dictionary: SparseDictionary, _: Tensor) -> SparseDictionary:
    return dictionary


BIASES: dict[str, _Change] = {
    AS_LOADED: _same,
    "b_dec subtracted before encoding": lambda held, _: _shifted(held, -1),
    "b_dec not subtracted before encoding": lambda held, _: _shifted(held, 1),
    "b_enc unused": lambda held, _: _shifted(held, 0, keep=False),
    "b_enc unused and b_dec subtracted": lambda held, _: _shifted(held, -1, keep=False),
}
NORMS: dict[str, _Change] = {
    AS_LOADED: _same,
    "no layer norm": lambda held, _: replace(held, input_norm=None),
    "layer norm": lambda held, _: replace(held, input_norm=PEERS_NORM),
    "each activation scaled to norm sqrt(width)": lambda held, _: replace(held, input_norm=CONSTANT_NORM),
}
INPUTS: dict[str, _Change] = {
    AS_LOADED: _same,
    "no mean and no scale": _raw,
    "mean and scale of these activations": _standardised,
    "scaled to the mean norm of these activations": _of_mean_norm,
}


class Variant(NamedTuple):
    """A hypothesis and the dictionary it makes."""

    hypothesis: Hypothesis
    dictionary: SparseDictionary


def variants(dictionary: SparseDictionary, x: Tensor) -> Iterator[Variant]:
    """Every reading, those with fewest changes first; of readings that are equal only the first."""
    seen: list[SparseDictionary] = []
    parts = product(BIASES, NORMS, INPUTS)
    for hypothesis in sorted((Hypothesis(*each) for each in parts), key=lambda each: each.changes):
        made = INPUTS[hypothesis.inputs](NORMS[hypothesis.norm](dictionary, x), x)
        made = BIASES[hypothesis.bias](made, x)
        if not any(_equal(made, other) for other in seen):
            seen.append(made)
            yield Variant(hypothesis, made)


def _equal(first: SparseDictionary, second: SparseDictionary) -> bool:
    """Of two readings of the same weights."""
    return first.input_norm == second.input_norm and all(
        torch.allclose(a, b, rtol=1e-5, atol=1e-7)
        for a, b in (
            (first.b_enc, second.b_enc),
            (first.mean, second.mean),
            (first.scale, second.scale),
        )
    )

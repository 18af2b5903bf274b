"""The activations of one feature, from its own column of the encoder."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from sae.dictionary import Gate, SparseDictionary


def one_feature(dictionary: SparseDictionary, activations: Tensor, index: int) -> Tensor:
    """(..., d) activations of the backbone to (...) activations of one feature, as ``encode`` gives them.

    Features that fire on their own (relu, jumprelu, gated, batchtopk with its threshold) cost one column. One
    of a topk dictionary has to be among its row's k highest: where it would fire alone, and only there, the
    row is encoded whole. batchtopk without a threshold ranks all rows, which then are. IndexError.
    """
    alone = _alone(dictionary, index)
    if dictionary.architecture == "batchtopk" and dictionary.threshold is None:
        return dictionary.encode(activations)[..., index]
    found = alone.encode(activations)[..., 0]
    if dictionary.architecture != "topk":
        return found
    fires = found != 0
    if bool(fires.any()):
        found[fires] = dictionary.encode(activations[fires])[..., index]
    return found


def _alone(dictionary: SparseDictionary, index: int) -> SparseDictionary:
    """The dictionary of that feature and no other."""
    if not 0 <= index < dictionary.n_features:
        raise IndexError(
            f"Feature {index} is not among the {dictionary.n_features}; give 0 or more, below that."
        )
    at = slice(index, index + 1)
    gate, threshold = dictionary.gate, dictionary.threshold
    return replace(
        dictionary,
        W_enc=dictionary.W_enc[:, at],
        b_enc=dictionary.b_enc[at],
        W_dec=dictionary.W_dec[at],
        k=dictionary.k and 1,
        threshold=threshold[at] if threshold is not None and threshold.ndim else threshold,
        gate=gate and Gate(*(each[at] for each in gate)),
    )

"""The untrained twin of a dictionary: the same shape on the same backbone, with the weights training begins
with.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from sae.card import DictionaryCard, Origin, read_card
from sae.dictionary import Gate, SparseDictionary, load_dictionary
from sae.errors import BadDictionary
from sae.training import initial_directions

ENTRIES = 2**26
"""Pre-activations looked at to choose a threshold; rows beyond them are left out, evenly."""


def untrained_twin(
    trained: Path, folder: Path, *, seed: int, activations: Tensor | None = None
) -> DictionaryCard:
    """Write ``<name>-untrained`` to ``folder``: random unit decoder rows, the encoder their transpose, no
    biases; architecture, sizes, k, mean and scale as trained.

    Where a threshold decides, it is the one at which mean L0 on (n, d) ``activations`` of the hook point is
    the trained dictionary's; relu and gated, which have none, get its negative as every b_enc, or 0 where no
    activations are given. topk needs none. BadDictionary when batchtopk or jumprelu lacks activations.
    """
    card = read_card(trained)
    known = load_dictionary(trained)
    directions = initial_directions(
        known.n_features, known.width, generator=torch.Generator().manual_seed(seed)
    )
    twin = replace(
        known,
        W_enc=directions.T.contiguous(),
        b_enc=torch.zeros(known.n_features),
        W_dec=directions,
        b_dec=torch.zeros(known.width),
        gate=None if known.gate is None else Gate(*torch.zeros(2, known.n_features)),
    )
    if known.variant.needs != "k":
        twin = _as_sparse(twin, known, activations)
    return twin.save(folder, _origin(card, trained))


def _as_sparse(
    twin: SparseDictionary, known: SparseDictionary, activations: Tensor | None
) -> SparseDictionary:
    """The twin whose mean L0 on the activations is the known one's."""
    if activations is None:
        if known.variant.needs == "threshold":
            raise BadDictionary(
                f"An untrained {known.architecture} dictionary lacks a threshold; give activations to set it."
            )
        return twin
    threshold = _threshold(twin, known, activations)
    if known.variant.needs != "threshold":
        return replace(twin, b_enc=-threshold.expand(twin.n_features).clone())
    many = known.variant.many_thresholds
    return replace(twin, threshold=threshold.expand(twin.n_features).clone() if many else threshold)


@torch.no_grad()
def _threshold(twin: SparseDictionary, known: SparseDictionary, activations: Tensor) -> Tensor:
    """() that as many of the twin's pre-activations exceed as features of the known one are active."""
    step = max(1, -(-len(activations) * twin.n_features // ENTRIES))
    rows = activations[::step].float().cpu()
    active = int((known.encode(rows) != 0).sum())
    h = replace(twin, architecture="relu", soft_cap=None).encode(rows).flatten()
    return h.kthvalue(max(1, h.numel() - active)).values


def _origin(card: DictionaryCard, trained: Path) -> Origin:
    """The card's, with every folder it names relative to its own made absolute."""
    kept = {name: getattr(card, name) for name in Origin.model_fields}
    tagger, probe = card.tagger, card.probe_set
    located = {
        "name": f"{card.name}-untrained",
        "backbone": card.backbone.located(trained),
        "generator": None if card.generator is None else _absolute(card.generator, trained),
        "probe_set": probe and probe.model_copy(update={"source": _absolute(probe.source, trained)}),
        "tagger": tagger and tagger.located(trained),
        "witness": card.witness and _absolute(card.witness, trained),
    }
    return Origin(**kept | located)


def _absolute(source: str, folder: Path) -> str:
    """A source relative to ``folder`` made absolute, a leading 'kind:' kept; others as they are."""
    kind, colon, place = source.rpartition(":")
    path = folder / place
    return f"{kind}{colon}{path.resolve()}" if path.is_dir() else source

"""JSON lines as Neuronpedia dumps its explanations, gzipped: ``explanations/batch-0.jsonl.gz``."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from namesae.exports.flat_row import FlatRow
from sae.card import DictionaryCard
from sae.feature import Frozen

METHOD = "namesae"
UNKNOWN_MODEL = "unknown"
_UNSAFE = re.compile(r"[^a-z0-9.-]+")


class NeuronpediaExplanation(Frozen):
    """A row of the table Explanation, with the columns of the dump in their order."""

    id: str
    modelId: str
    """The vision model."""
    layer: str
    """What Neuronpedia calls a source: the dictionary."""
    index: str
    authorId: str = METHOD
    description: str
    embedding: None = None
    """Of a text model of theirs, 256 wide; their import works it out."""
    typeName: str = METHOD
    """The method."""
    explanationModelName: str
    """Who had the idea."""
    notes: str | None = None
    """Figures that their schema has no column for."""
    umap_x: Literal[0] = 0
    umap_y: Literal[0] = 0
    umap_cluster: Literal[0] = 0
    umap_log_feature_sparsity: Literal[0] = 0


def model_id(card: DictionaryCard | None) -> str:
    """What Neuronpedia would call the vision model: its name in lower case, without its owner."""
    return _safe(Path(card.backbone.source).name) if card else UNKNOWN_MODEL


def write_neuronpedia(rows: Iterable[FlatRow], *, model: str) -> Iterator[str]:
    """A line for each feature that has a name."""
    return (_explanation(row, model).model_dump_json() + "\n" for row in rows if row.name)


def _explanation(row: FlatRow, model: str) -> NeuronpediaExplanation:
    told = hashlib.sha256(f"{row.dictionary}#{row.index} {row.run}".encode()).hexdigest()
    return NeuronpediaExplanation(
        id=f"ns{told[:23]}",
        modelId=model,
        layer=_safe(row.dictionary),
        index=str(row.index),
        description=row.name or "",
        explanationModelName=row.proposer or UNKNOWN_MODEL,
        notes=_notes(row),
    )


def _notes(row: FlatRow) -> str:
    figures = [f"verdict {row.verdict}", f"confidence {row.confidence:.2f}"]
    if row.auroc is not None:
        figures.append(f"sealed AUROC {row.auroc:.3f} [{row.auroc_low:.3f}, {row.auroc_high:.3f}]")
    if row.icon is not None:
        figures.append(f"image sha256 {row.icon}")
    return "; ".join([*figures, f"run {row.run}"])


def _safe(name: str) -> str:
    return _UNSAFE.sub("-", name.lower()).strip("-.") or UNKNOWN_MODEL

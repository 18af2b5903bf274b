"""What is known of every feature before any search, for dictionaries that come without it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from namesae.galleries import Gallery
from sae.card import BackboneSpec, DictionaryCard
from sae.statistics import Ranked, decoder_neighbours, nearest_words, statistics_of, unit_rows
from tools.device import best_device
from tools.exemplars import ProbeSet
from tools.feature_facts import assemble_facts, tag_features
from tools.protocols import FeatureFacts, Floats
from tools.scoring import translated

if TYPE_CHECKING:
    from sae.backbone import VisionBackbone

BATCH = 64
POOLED = "pooled"


class Wording(NamedTuple):
    """Words that features are described with before any search."""

    words: tuple[str, ...]
    template: str
    """What a word is put into before an image-text model reads it."""

    @property
    def texts(self) -> list[str]:
        """What is read."""
        return [self.template.replace("{}", word) for word in self.words]


def work_out_facts(
    folder: Path, card: DictionaryCard, *, probe: ProbeSet, gallery: Gallery, wording: Wording
) -> list[FeatureFacts]:
    """Density and thresholds on the probe set, neighbours by decoder, and words where a model reads them.

    Words nearest the decoder direction exist where the dictionary lies in an image-text model's joint space;
    tags where such a model, the card's tagger or the backbone itself, reads the probe pictures.
    """
    decoder = decoder_of(folder)
    vocabulary: Sequence[Ranked] = ()
    tags: Sequence[Ranked] = ()
    reader = open_reader_of(card, folder)
    if reader is not None and reader.has_text:
        texts = embed_texts(reader, wording.texts)
        if card.hook_point == POOLED and card.tagger in (None, card.backbone):
            vocabulary = nearest_words(decoder, texts, wording.words, count=12)
        tags = tag_features(probe, _similarity(reader, gallery, texts=texts), wording.words)
    statistics = statistics_of(probe.activations(index) for index in range(probe.n_features))
    return assemble_facts(
        statistics, neighbours=decoder_neighbours(decoder), vocabulary=vocabulary, tags=tags
    )


def decoder_of(folder: Path) -> Floats:
    """(F, d) decoder directions of a dictionary folder."""
    from safetensors.numpy import load_file

    return np.asarray(load_file(folder / "dictionary.safetensors")["W_dec"], dtype=np.float32)


def open_reader_of(card: DictionaryCard, folder: Path) -> VisionBackbone | None:
    """A model that reads pictures and texts alike; None where there is none."""
    from sae.backbone import load_backbone

    spec: BackboneSpec = card.tagger or card.backbone
    with translated():
        backbone = load_backbone(spec.located(folder), device=best_device())
    return backbone if backbone.has_text else None


def embed_texts(reader: VisionBackbone, texts: Sequence[str]) -> Floats:
    """(len(texts), d) embeddings, not normalised."""
    found = [reader.encode_text(chunk).float().cpu().numpy() for chunk in _chunks(texts)]
    return np.concatenate(found)


def embed_pictures(reader: VisionBackbone, gallery: Gallery) -> Floats:
    """(n, d) embeddings of the gallery's pictures, not normalised."""
    found = []
    for images in _chunks(gallery.images):
        pixels = reader.preprocess([gallery.picture(image) for image in images])
        found.append(reader.activations(pixels, [POOLED])[POOLED].float().cpu().numpy())
    return np.concatenate(found)


def _similarity(reader: VisionBackbone, gallery: Gallery, *, texts: Floats) -> Floats:
    """(n, V) cosines of the gallery's pictures and the texts."""
    cosine: Floats = unit_rows(embed_pictures(reader, gallery)) @ unit_rows(texts).T
    return cosine


def _chunks(items: Sequence[str]) -> Iterator[Sequence[str]]:
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))

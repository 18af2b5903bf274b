"""What is known of every feature before any search, for dictionaries that come without it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from namesae.galleries import Gallery
from sae.card import BackboneSpec, DictionaryCard
from sae.statistics import Ranked, decoder_neighbours, nearest_words, statistics_of, unit_rows
from sae.whole_file import whole_file
from tools.device import best_device
from tools.digest import digest
from tools.exemplars import ProbeSet
from tools.feature_facts import assemble_facts, tag_features
from tools.protocols import FeatureFacts, Floats, Reading
from tools.readings import Vocabulary, presence, readings
from tools.scoring import translated

if TYPE_CHECKING:
    from sae.backbone import VisionBackbone

BATCH = 64
POOLED = "pooled"


class Wording(NamedTuple):
    """Words that features are described with before any search."""

    vocabulary: Vocabulary
    template: str
    """What a word is put into before an image-text model reads it."""

    @property
    def words(self) -> tuple[str, ...]:
        """The words alone."""
        return self.vocabulary.words

    @property
    def texts(self) -> list[str]:
        """What is read."""
        return [self.template.replace("{}", word) for word in self.words]


class ProbeReader:
    """Reads words in the probe pictures with an image-text model: the card's tagger or the backbone itself.

    The cosines are worked out once and kept as ``cosines-*.npy`` in the probe folder.
    """

    def __init__(
        self, folder: Path, card: DictionaryCard, *, gallery: Gallery, wording: Wording, kept: Path
    ) -> None:
        """``folder``: the dictionary's; ``kept``: the probe set's."""
        self._folder, self._card, self._gallery, self.wording = folder, card, gallery, wording
        tagger = (card.tagger or card.backbone).model_dump(mode="json")
        told = digest(words=list(wording.words), template=wording.template, tagger=tagger)
        self._path = kept / f"cosines-{told}.npy"

    @cached_property
    def model(self) -> VisionBackbone | None:
        """None where no model reads texts."""
        return open_reader_of(self._card, self._folder)

    @cached_property
    def texts(self) -> Floats:
        """(V, d) embeddings of the words."""
        assert self.model is not None
        return embed_texts(self.model, self.wording.texts)

    @cached_property
    def cosines(self) -> Floats | None:
        """(n, V) of the pictures and the words; None where no model reads texts."""
        if not self._path.is_file():
            if self.model is None:
                return None
            found = unit_rows(embed_pictures(self.model, self._gallery)) @ unit_rows(self.texts).T
            with whole_file(self._path) as partial, partial.open("wb") as file:
                np.save(file, found.astype(np.float32))
        kept: Floats = np.load(self._path)
        return kept

    @cached_property
    def shown(self) -> Floats | None:
        """(n, V) how far each picture shows each word; None where no model reads texts."""
        return None if self.cosines is None else presence(self.cosines, self.wording.vocabulary)

    def readings(self, activations: Floats, *, p99: float) -> tuple[Reading, ...]:
        """The formulas that best tell a feature with these (n,) activations; none without a model."""
        if self.shown is None:
            return ()
        return readings(activations, self.shown, self.wording.vocabulary, p99=p99)


def work_out_facts(
    folder: Path, card: DictionaryCard, *, probe: ProbeSet, reader: ProbeReader
) -> list[FeatureFacts]:
    """Density and thresholds on the probe set, neighbours by decoder, and words where a model reads them.

    Words nearest the decoder direction exist where the dictionary lies in an image-text model's joint space;
    tags where such a model reads the probe pictures.
    """
    decoder, words = decoder_of(folder), reader.wording.words
    vocabulary: Sequence[Ranked] = ()
    tags: Sequence[Ranked] = ()
    if reader.cosines is not None:
        if card.hook_point == POOLED and card.tagger in (None, card.backbone):
            vocabulary = nearest_words(decoder, reader.texts, words, count=12)
        tags = tag_features(probe, reader.cosines, words)
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


def _chunks(items: Sequence[str]) -> Iterator[Sequence[str]]:
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))

"""The witness that a setting or a dictionary's card names: found, fingerprinted, loaded when first asked."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from agent.lexicon import Lexicon
from namesae.places import Place, place_of
from sae.card import DictionaryCard
from sae.fingerprint import fingerprint
from tools.device import best_device
from tools.digest import digest
from tools.errors import UsageError
from tools.ledger import Ledger
from tools.ledgered_witness import CAPTION, LedgeredEmbeddings, LedgeredReadings
from tools.protocols import Floats, Witness
from tools.scoring import translated
from tools.witness import Captions, CaptionWitness, EmbeddingWitness, refuse_explained

if TYPE_CHECKING:
    from PIL import Image

    from sae.backbone import VisionBackbone

BATCH = 64
POOLED = "pooled"

Picture = Callable[[str], "Image.Image"]


class Stand(NamedTuple):
    """What a witness is called with."""

    place: Place
    model: str
    """Fingerprint of the model's files."""
    picture: Picture
    """Image id to picture."""
    lexicon: Lexicon
    template: str
    """What a text is put into before an image-text model reads it."""


class Called(NamedTuple):
    """A witness that is there, and what it is recognised by."""

    fingerprint: str
    hear: Callable[[Ledger], Witness]
    """What it sees is kept in the ledger."""


class Calls(NamedTuple):
    """Whom a dictionary's witness is called by: its card, unless the person chose one."""

    card: DictionaryCard
    folder: Path
    chosen: str | None
    picture: Picture
    lexicon: Lexicon
    template: str


def witness_of(calls: Calls, sums: MutableMapping[str, str]) -> Called | None:
    """The witness of a dictionary, not yet loaded; None where neither setting nor card names one.

    UsageError where its kind is unknown, or it is the explained backbone itself; DependencyError where it is
    neither a folder nor in the hub cache.
    """
    given = calls.chosen if calls.chosen is not None else calls.card.witness
    if given is None:
        return None
    beside = Path() if calls.chosen is not None else calls.folder
    place = place_of(given, beside=beside, kinds=WITNESSES, what="Witness")
    explained = calls.card.backbone.located(calls.folder)
    with translated():
        model = fingerprint(place.source, place.revision, sums=sums)
        refuse_explained(model, fingerprint(explained.source, explained.revision, sums=sums), given=given)
    return WITNESSES[place.kind](Stand(place, model, calls.picture, calls.lexicon, calls.template))


def _embedding(stand: Stand) -> Called:
    told = digest(witness="embedding", kind=stand.place.kind, model=stand.model, template=stand.template)
    tower = _Tower(stand)

    def hear(ledger: Ledger) -> Witness:
        images = LedgeredEmbeddings(tower.images, ledger, model=digest(model=stand.model))
        return EmbeddingWitness(images, tower.texts, fingerprint=told, template=stand.template)

    return Called(told, hear)


def _captioner(stand: Stand) -> Called:
    from tools.captioning import HubCaptioner

    place = stand.place
    return _captioned(stand, HubCaptioner(place.source, stand.picture, revision=place.revision))


def _reader(stand: Stand) -> Called:
    @cache
    def reader() -> Captions:
        from sandbox.captioner import ReaderCaptioner

        return ReaderCaptioner(stand.picture, Path(stand.place.source))

    return _captioned(stand, lambda images: reader()(images))


def _captioned(stand: Stand, captions: Captions) -> Called:
    lexicon = stand.lexicon
    told = digest(
        witness="captions",
        kind=stand.place.kind,
        model=stand.model,
        words=[[word, *lexicon.members(word)] for word in lexicon.words],
    )

    def hear(ledger: Ledger) -> Witness:
        model = digest(kind=stand.place.kind, model=stand.model)
        kept = LedgeredReadings(captions, ledger, form=CAPTION, model=model)
        return CaptionWitness(kept, lexicon, fingerprint=told)

    return Called(told, hear)


WITNESSES: dict[str, Callable[[Stand], Called]] = {
    "open_clip": _embedding,
    "transformers": _embedding,
    "captioner": _captioner,
    "reader": _reader,
}
"""Kinds of witnesses: KIND:SOURCE is heard by the one of that name."""


class _Tower:
    """An image-text model, loaded by the first picture or text."""

    def __init__(self, stand: Stand) -> None:
        self._stand = stand

    @cached_property
    def _backbone(self) -> VisionBackbone:
        from sae.backbone import load_backbone
        from sae.card import BackboneSpec

        place = self._stand.place
        spec = BackboneSpec(kind=place.kind, source=place.source, revision=place.revision)
        with translated():
            backbone = load_backbone(spec, device=best_device())
        if not backbone.has_text:
            raise UsageError(f"Witness {place.source} reads no texts; give an image-text model such as CLIP.")
        return backbone

    def images(self, images: Sequence[str]) -> Floats:
        """(n, d) embeddings of pictures."""
        found = []
        for start in range(0, len(images), BATCH):
            pictures = [self._stand.picture(image) for image in images[start : start + BATCH]]
            held = self._backbone.activations(self._backbone.preprocess(pictures), [POOLED])
            found.append(held[POOLED].float().cpu().numpy())
        return np.concatenate(found)

    def texts(self, texts: Sequence[str]) -> Floats:
        """(n, d) embeddings of texts."""
        starts = range(0, len(texts), BATCH)
        parts = (self._backbone.encode_text(texts[start : start + BATCH]) for start in starts)
        return np.concatenate([part.float().cpu().numpy() for part in parts])

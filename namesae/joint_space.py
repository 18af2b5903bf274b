"""The image-text model beside a dictionary: its own backbone where that reads texts, else its tagger."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from namesae.facts import POOLED, embed_pictures, embed_texts, open_reader_of
from namesae.galleries import Gallery
from sae.backbone import VisionBackbone
from sae.card import DictionaryCard
from sae.statistics import unit_rows
from tools.protocols import Floats


class ReaderSpace:
    """Texts and probe pictures in one space; implements evals.subject.JointSpace."""

    def __init__(self, reader: VisionBackbone, *, holds_decoder: bool, gallery: Gallery) -> None:
        self._reader, self._gallery = reader, gallery
        self.holds_decoder = holds_decoder

    def texts(self, texts: Sequence[str]) -> Floats:
        """(len(texts), d) unit rows."""
        rows: Floats = unit_rows(embed_texts(self._reader, texts))
        return rows

    def similarity(self, texts: Sequence[str]) -> Floats:
        """(n, len(texts)) cosines with the probe pictures."""
        cosines: Floats = self._shown @ self.texts(texts).T
        return cosines

    @cached_property
    def _shown(self) -> Floats:
        rows: Floats = unit_rows(embed_pictures(self._reader, self._gallery))
        return rows


def open_joint_space(folder: Path, card: DictionaryCard, *, gallery: Gallery) -> ReaderSpace | None:
    """The space of a dictionary; None where no model reads texts."""
    reader = open_reader_of(card, folder)
    if reader is None:
        return None
    own = card.hook_point == POOLED and card.tagger in (None, card.backbone)
    return ReaderSpace(reader, holds_decoder=own, gallery=gallery)

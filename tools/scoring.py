"""Images to activations of every feature. Importing this module imports no torch: see device.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from sae.card import DictionaryCard, read_card
from sae.errors import BadDictionary, BadModel, ModelUnreachable, UnfitRequest, UnknownHookPoint
from sae.fingerprint import fingerprint
from tools.device import Device, best_device, precision_of, steady_threads
from tools.digest import digest
from tools.errors import DependencyError, IntegrityError, UsageError
from tools.protocols import SparseCode, StoresImages

if TYPE_CHECKING:
    from sae.activations import FeatureReader

BATCHES: dict[Device, int] = {"cpu": 1, "mps": 32, "cuda": 64}
"""Images in every pass, the last one filled up: a small one costs as much as a full one.

One on a CPU: there, which rows of a batch a matrix kernel treats alike differs from machine to machine.
"""


class DictionaryScorer:
    """Scores with a dictionary on its backbone, opened by the first call; implements ScoreImages.

    Activations are float32, whatever the backbone runs in, and do not depend on the batch-mates.
    """

    def __init__(
        self,
        store: StoresImages,
        open_it: Callable[[], FeatureReader],
        *,
        card: DictionaryCard,
        fingerprint: str,
    ) -> None:
        self.dictionary = card.name
        self.n_features = card.n_features
        self.fingerprint = fingerprint
        self._store = store
        self._open = open_it
        self._reader: FeatureReader | None = None
        self._lock = Lock()

    def __call__(self, images: Sequence[str]) -> list[SparseCode]:
        """One SparseCode per image id, in order. KeyError names a missing image."""
        # One scoring at a time: two would share the thread setting and the GPU's memory.
        with self._lock, translated():
            reader = self._reader = self._reader or self._open()
            starts = range(0, len(images), reader.batch_size)
            chunks = (images[start : start + reader.batch_size] for start in starts)
            return [code for chunk in chunks for code in self._score(reader, chunk)]

    def _score(self, reader: FeatureReader, images: Sequence[str]) -> list[SparseCode]:
        pictures = [self._store.get(image) for image in images]
        with steady_threads(reader.batch_size):
            activations = reader(pictures)
        if not np.isfinite(activations).all():
            at = int(np.flatnonzero(~np.isfinite(activations).all(axis=1))[0])
            raise IntegrityError(
                f"Dictionary {self.dictionary} has activations that are not finite on image {images[at]}; "
                "its backbone overflows in this precision, run it on the cpu."
            )
        live = [np.flatnonzero(row).astype(np.int32) for row in activations]
        return [SparseCode(at, row[at]) for at, row in zip(live, activations, strict=True)]


def load_scorer(
    folder: Path,
    store: StoresImages,
    *,
    device: Device | None = None,
    sums: MutableMapping[str, str] | None = None,
) -> DictionaryScorer:
    """The scorer of a dictionary folder; weights are loaded by its first call.

    ``sums`` keeps the sums of files already read, for the fingerprint. UsageError, IntegrityError or
    DependencyError in one sentence when the folder or its backbone is not as it should be.
    """
    place = best_device() if device is None else device
    precision = precision_of(place)
    with translated():
        card = read_card(folder)
        made = scorer_fingerprint(card, folder, device=place, sums=sums)

    def open_it() -> FeatureReader:
        import torch

        from sae.activations import open_reader

        dtype = torch.float16 if precision == "fp16" else torch.float32
        return open_reader(folder, device=place, dtype=dtype, batch_size=BATCHES[place])

    return DictionaryScorer(store, open_it, card=card, fingerprint=made)


def scorer_fingerprint(
    card: DictionaryCard,
    folder: Path,
    *,
    device: Device,
    sums: MutableMapping[str, str] | None = None,
) -> str:
    """Hash of backbone, dictionary, hook point, pooling, precision and batch; not of names and places."""
    backbone = card.backbone.located(folder)
    elsewhere = {"name", "backbone", "generator", "probe_set", "tagger", "witness"}
    return digest(
        tool="scorer",
        backbone=fingerprint(backbone.source, backbone.revision, sums=sums),
        kind=backbone.kind,
        card=card.model_dump(mode="json", exclude=elsewhere),
        precision=precision_of(device),
        batch=BATCHES[device],
    )


@contextmanager
def translated() -> Iterator[None]:
    """Errors of sae/ as the one-sentence errors a person is told, each with its exit code."""
    try:
        yield
    except ModelUnreachable as error:
        raise DependencyError(str(error)) from error
    except (UnfitRequest, UnknownHookPoint) as error:
        raise UsageError(str(error)) from error
    except (BadDictionary, BadModel) as error:
        raise IntegrityError(str(error)) from error

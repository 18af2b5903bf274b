"""What a witness's model makes of an image, made once: captions and embeddings through the ledger."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from tools.ledger import Ledger
from tools.protocols import Floats

WITNESS = "witness"
BATCH = 64
"""Images read and recorded together, so the most that a kill can cost."""

Reading = TypeVar("Reading")


class Form(NamedTuple, Generic[Reading]):
    """How a reading is kept."""

    name: str
    pack: Callable[[Reading], bytes]
    unpack: Callable[[bytes], Reading]


CAPTION: Form[str] = Form("caption", str.encode, bytes.decode)
EMBEDDING: Form[Floats] = Form(
    "embedding",
    lambda row: np.asarray(row, dtype=np.float32).tobytes(),
    lambda kept: np.frombuffer(kept, dtype=np.float32),
)


class LedgeredReadings(Generic[Reading]):
    """Reads an image once for each model; ``read`` gives one reading per image id, in order."""

    def __init__(
        self,
        read: Callable[[Sequence[str]], Sequence[Reading]],
        ledger: Ledger,
        *,
        form: Form[Reading],
        model: str,
    ) -> None:
        """``model``: the fingerprint of all that determines a reading."""
        self._read, self._ledger, self._form, self._model = read, ledger, form, model
        self._held: dict[str, Reading] = {}

    def __call__(self, images: Sequence[str]) -> list[Reading]:
        """One reading per image id, in order; an image that comes twice is read once."""
        wanted = [image for image in dict.fromkeys(images) if image not in self._held]
        names = {image: self._name(image) for image in wanted}
        records = self._ledger.get_many(WITNESS, list(names.values()))
        known = {image: kept for image, kept in zip(wanted, records, strict=True) if kept is not None}
        missing = [image for image in wanted if image not in known]
        for start in range(0, len(missing), BATCH):
            known |= self._recorded(missing[start : start + BATCH], names)
        self._held |= {image: self._form.unpack(kept) for image, kept in known.items()}
        return [self._held[image] for image in images]

    def _name(self, image: str) -> str:
        return self._ledger.key(WITNESS, form=self._form.name, model=self._model, image=image)

    def _recorded(self, images: Sequence[str], names: dict[str, str]) -> dict[str, bytes]:
        read = zip(images, self._read(images), strict=True)
        kept = self._ledger.put_many(WITNESS, {names[image]: self._form.pack(each) for image, each in read})
        return {image: kept[names[image]] for image in images}


class LedgeredEmbeddings:
    """(n, d) embeddings of images, each made once."""

    def __init__(self, read: Callable[[Sequence[str]], Floats], ledger: Ledger, *, model: str) -> None:
        self._readings = LedgeredReadings(
            lambda images: list(read(images)), ledger, form=EMBEDDING, model=model
        )

    def __call__(self, images: Sequence[str]) -> Floats:
        """(n, d) in order of the images, of which there is at least one."""
        return np.stack(self._readings(images))

"""Captions of pictures by any image-to-text model of transformers (BLIP, GIT, ...). Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from sae.model_folder import locate
from tools.device import best_device
from tools.pipelines import quiet

if TYPE_CHECKING:
    from PIL import Image

NEEDS = ("model.safetensors", "model.safetensors.index.json")
WANTS = ("*.json", "*.txt", "*.safetensors", "*.model")
BATCH = 16
LONGEST = 20
"""Tokens of a caption."""


class HubCaptioner:
    """Captions by image id, of a local folder or a hub id with its revision; safetensors only.

    Loaded on first use: BadModel where it is no such model, ModelUnreachable where it cannot be downloaded.
    """

    def __init__(
        self, source: str, picture: Callable[[str], Image.Image], *, revision: str | None = None
    ) -> None:
        """``picture``: image id to picture."""
        self._source, self._picture, self._revision = source, picture, revision

    def __call__(self, images: Sequence[str]) -> list[str]:
        """One caption per image id, in order: greedy decoding, so the same each time."""
        parts = (images[start : start + BATCH] for start in range(0, len(images), BATCH))
        return [caption for part in parts for caption in self._captions(part)]

    @cached_property
    def _model(self) -> _Model:
        return _load(self._source, self._revision)

    def _captions(self, images: Sequence[str]) -> list[str]:
        import torch

        model, processor = self._model
        pictures = [self._picture(image).convert("RGB") for image in images]
        read = processor(images=pictures, return_tensors="pt").to(model.device)
        with torch.inference_mode(), quiet():
            told = model.generate(**read, max_new_tokens=LONGEST, do_sample=False, num_beams=1)
        captions = processor.batch_decode(told, skip_special_tokens=True)
        return [" ".join(caption.split()) for caption in captions]


class _Model(NamedTuple):
    model: Any
    processor: Any


def _load(source: str, revision: str | None) -> _Model:
    from transformers import AutoModelForImageTextToText, AutoProcessor

    from sae.errors import BadModel
    from sae.tower import UNLOADABLE

    folder = locate(source, revision, needs=NEEDS, wants=WANTS)
    try:
        with quiet():
            model = AutoModelForImageTextToText.from_pretrained(folder, use_safetensors=True)
            processor = AutoProcessor.from_pretrained(folder)
    except UNLOADABLE as error:
        raise BadModel(f"{source} is no image-to-text model that can be loaded; give another.") from error
    return _Model(model.to(best_device()).eval(), processor)

"""Text to images with any diffusers pipeline. Importing this module imports neither torch nor diffusers."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, MutableMapping, Sequence
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import Field

from sae.feature import Frozen
from sae.fingerprint import fingerprint
from tools.cards import load_spec, require_known
from tools.device import Device, Precision, best_device, is_out_of_memory, precision_of, steady_threads
from tools.digest import digest
from tools.errors import ToolError, UsageError
from tools.pipelines import locate_pipeline, open_pipeline
from tools.protocols import DrawnImage, DrawRequest, GeneratorCard, StoresImages

log = logging.getLogger(__name__)

BLACKEST = 3
"""A picture without any channel above this (of 255) is black: a failed decode, not a dark scene."""


class DrawPlan(Frozen):
    """How a pipeline is run; all of it is part of the generator's fingerprint."""

    steps: int = Field(ge=1)
    guidance: float | None
    device: Device
    precision: Precision
    bucket: int = Field(ge=1)
    """Images drawn in one go: shorter batches are padded to it."""


class _Picture(NamedTuple):
    pixels: npt.NDArray[np.float32]
    """(h, w, 3) in 0 to 1."""
    is_filtered: bool


class PipelineGenerator:
    """Draws with a diffusers pipeline, which is opened by the first call; implements DrawImages.

    An image depends on its prompt, its seed and the bucket size, not on its batch-mates nor on its place
    among them: measured bit for bit on CPU for SD 1.5, SD-Turbo and SDXL shapes, on thread counts that divide
    the bucket, which is why others are not used; another bucket size or thread count moves pixels by up to
    2e-6 before rounding. When memory runs out the bucket is halved for good and the same requests are drawn
    again, so later images may differ in a last bit from what the planned bucket would have given: each
    DrawnImage says its bucket, the fingerprint keeps the planned one.
    Schedulers that add noise at each step take it from the image's own generator too.
    """

    def __init__(
        self,
        store: StoresImages,
        open_it: Callable[[], Any],
        *,
        card: GeneratorCard,
        plan: DrawPlan,
        weights: str,
    ) -> None:
        """``weights``: content hash of the pipeline's files, its scheduler's configuration included."""
        self.card = card
        self.plan = plan
        self.bucket = plan.bucket
        self.fingerprint = digest(
            tool="pipeline", weights=weights, size=card.size, plan=plan.model_dump(mode="json")
        )
        self._store = store
        self._open = open_it
        self._pipeline: Any = None
        self._lock = Lock()

    def __call__(self, requests: Sequence[DrawRequest]) -> list[DrawnImage]:
        """One DrawnImage per request, in order.

        ToolError, before anything is drawn, on a word the card does not know or a prompt the text encoder
        would cut; UsageError when memory does not suffice for one image.
        """
        for request in requests:
            require_known(self.card, request.prompt)
        drawn: list[DrawnImage] = []
        # One pipeline has one scheduler, whose state two calls at a time would share.
        with self._lock:
            if requests:
                self._prepare(requests)
            while len(drawn) < len(requests):
                drawn += self._draw(requests[len(drawn) : len(drawn) + self.bucket])
        return drawn

    def _prepare(self, requests: Sequence[DrawRequest]) -> None:
        if self._pipeline is None:
            self._pipeline = self._open()
        for request in requests:
            _require_room(self._pipeline, request.prompt)

    def _draw(self, requests: Sequence[DrawRequest]) -> list[DrawnImage]:
        bucket = self.bucket
        padding = [requests[-1]] * (bucket - len(requests))
        try:
            with steady_threads(bucket):
                pictures = self._run([*requests, *padding])
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            self._halve(error)
        else:
            return self._stored(requests, pictures[: len(requests)], bucket=bucket)
        # Only here, where nothing refers to the failed call's tensors any more, can they be freed.
        _free_memory(self.plan.device)
        return []

    def _halve(self, error: Exception) -> None:
        if self.bucket == 1:
            raise UsageError(
                f"One image of {self.card.generator}, {self.card.size} pixels wide, does not fit in the "
                f"memory of {self.plan.device}; free some or choose a smaller generator."
            ) from error
        self.bucket //= 2
        log.warning("out of memory: %s now draws %d images at a time", self.card.generator, self.bucket)

    def _run(self, requests: Sequence[DrawRequest]) -> list[_Picture]:
        import torch

        guided = {} if self.plan.guidance is None else {"guidance_scale": self.plan.guidance}
        found = self._pipeline(
            prompt=[request.prompt for request in requests],
            generator=[torch.Generator().manual_seed(request.seed) for request in requests],
            num_inference_steps=self.plan.steps,
            height=self.card.size,
            width=self.card.size,
            output_type="np",
            **guided,
        )
        flags = getattr(found, "nsfw_content_detected", None) or [False] * len(requests)
        return [
            _Picture(np.asarray(pixels), bool(flag)) for pixels, flag in zip(found.images, flags, strict=True)
        ]

    def _stored(
        self, requests: Sequence[DrawRequest], pictures: Sequence[_Picture], *, bucket: int
    ) -> list[DrawnImage]:
        outcomes = [_outcome(picture) for picture in pictures]
        images = iter(self._store.put_many([each for each in outcomes if isinstance(each, Image.Image)]))
        return [
            DrawnImage(request=request, image=next(images), bucket=bucket)
            if isinstance(each, Image.Image)
            else DrawnImage(request=request, image=None, fault=each, bucket=bucket)
            for request, each in zip(requests, outcomes, strict=True)
        ]


def load_generator(
    source: str,
    store: StoresImages,
    *,
    revision: str | None = None,
    device: Device | None = None,
    sums: MutableMapping[str, str] | None = None,
) -> PipelineGenerator:
    """The generator of a hub id or a diffusers folder; weights are loaded by its first call.

    Steps, guidance, size and vocabulary come from the folder's card.json or from what is known of the hub id.
    ``sums`` keeps the sums of files already read, for the fingerprint. Errors as locate_pipeline raises them.
    """
    place = best_device() if device is None else device
    precision = precision_of(place)
    folder = locate_pipeline(source, revision=revision, precision=precision)
    spec = load_spec(source, folder)
    plan = DrawPlan(
        steps=spec.steps,
        guidance=spec.guidance,
        device=place,
        precision=precision,
        bucket=default_bucket(place, size=spec.card.size),
    )
    return PipelineGenerator(
        store,
        lambda: open_pipeline(folder, device=place, precision=precision),
        card=spec.card,
        plan=plan,
        weights=fingerprint(source, revision, sums=sums),
    )


def default_bucket(device: Device, *, size: int) -> int:
    """Images per call, for ``size`` pixels: as many as still gain speed, on a GPU within 12 GB in fp16."""
    small, middle, large = {"cuda": (16, 8, 2)}.get(device, (16, 1, 1))
    return small if size <= 128 else middle if size <= 512 else large


def _require_room(pipeline: Any, prompt: str) -> None:
    tokenizers = [getattr(pipeline, name, None) for name in ("tokenizer", "tokenizer_2", "tokenizer_3")]
    present = [each for each in tokenizers if each is not None]
    if not present:
        return
    widest = max(present, key=lambda each: int(each.model_max_length))
    length = len(widest(prompt).input_ids)
    if length > widest.model_max_length:
        raise ToolError(
            f"The prompt {prompt[:60]!r}... has {length} tokens and the generator reads "
            f"{widest.model_max_length}; shorten it."
        )


def _outcome(picture: _Picture) -> Image.Image | str:
    """The picture, or the fault that makes it unusable."""
    if picture.is_filtered:
        return "filtered"
    levels = _levels(picture.pixels)
    return "black" if levels is None or levels.max() <= BLACKEST else Image.fromarray(levels)


def _levels(pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8] | None:
    # Half precision can overflow in the decoder: such a picture is not dark in places, it is none.
    if not np.isfinite(pixels).all():
        return None
    return (pixels.clip(0.0, 1.0) * 255).round().astype(np.uint8)


def _free_memory(device: Device) -> None:
    if device == "cuda":
        import torch

        gc.collect()
        torch.cuda.empty_cache()

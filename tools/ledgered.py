"""Drawing and scoring through the ledger: what was recorded once is never done again."""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from tools import sparse_code
from tools.cards import require_known
from tools.claims import TTL_S, Claims
from tools.draw_log import DrawEvent, DrawLog
from tools.ledger import Ledger
from tools.protocols import DrawImages, DrawnImage, DrawRequest, GeneratorCard, ScoreImages, SparseCode

if TYPE_CHECKING:
    from redis.client import Pipeline

DRAW, SCORE = "draw", "score"
DRAW_BATCH = 16
SCORE_BATCH = 256
POLL_S = 0.1

log = logging.getLogger(__name__)


class HasImages(Protocol):
    """A place that knows which images it holds."""

    def has(self, image: str) -> bool: ...


class TallyFigures(NamedTuple):
    """Images by what became of them."""

    asked: int = 0
    """Distinct images asked for, call by call."""
    found: int = 0
    """Recorded before they were asked for, or drawn meanwhile by another process."""
    drawn: int = 0
    vanished: int = 0
    """Of those drawn: recorded earlier, but their file was gone."""


class Tally:
    """Counts of one run, added to by any of its threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.figures = TallyFigures()

    def add(self, **more: int) -> None:
        """Add to the named figures."""
        with self._lock:
            self.figures = TallyFigures(
                **{name: n + more.get(name, 0) for name, n in self.figures._asdict().items()}
            )


class _LookUp(NamedTuple):
    images: dict[str, DrawnImage]
    vanished: list[str]


class LedgeredDraw:
    """A DrawImages that draws only what was never recorded, or whose file is gone.

    ``batch``: images logged, drawn and recorded together, so the most that a kill can cost.
    """

    def __init__(
        self,
        draw: DrawImages,
        ledger: Ledger,
        *,
        store: HasImages,
        run: str = "",
        batch: int = DRAW_BATCH,
    ) -> None:
        self._draw, self._ledger, self._store, self._run, self._batch = draw, ledger, store, run, batch
        self._log = DrawLog(ledger.client)
        self._claims = Claims(ledger.client, DRAW, ttl_s=TTL_S)
        self.tally = Tally()

    def for_run(self, run: str) -> LedgeredDraw:
        """The same generator and ledger with a tally of its own; the draw log names the run."""
        return LedgeredDraw(self._draw, self._ledger, store=self._store, run=run, batch=self._batch)

    @property
    def card(self) -> GeneratorCard:
        return self._draw.card

    @property
    def fingerprint(self) -> str:
        return self._draw.fingerprint

    def __call__(self, requests: Sequence[DrawRequest]) -> list[DrawnImage]:
        """One DrawnImage per request, in order; a request that comes twice is drawn once.

        ToolError on a word outside a closed vocabulary, before anything is logged or drawn.
        """
        for request in requests:
            require_known(self.card, request.prompt)
        wanted = {self._key(request): request for request in requests}
        images = self._look_up(wanted).images
        self.tally.add(asked=len(wanted), found=len(images))
        missing = [key for key in wanted if key not in images]
        for start in range(0, len(missing), self._batch):
            images |= self._finish({key: wanted[key] for key in missing[start : start + self._batch]})
        return [images[self._key(request)] for request in requests]

    def _key(self, request: DrawRequest) -> str:
        return self._ledger.key(
            DRAW, generator=self._draw.fingerprint, prompt=request.prompt, seed=request.seed
        )

    def _look_up(self, wanted: dict[str, DrawRequest]) -> _LookUp:
        images: dict[str, DrawnImage] = {}
        vanished: list[str] = []
        recorded = self._ledger.get_many(DRAW, list(wanted))
        for (key, request), record in zip(wanted.items(), recorded, strict=True):
            if record is None:
                continue
            drawn = _read(request, record)
            if drawn.image is None or self._store.has(drawn.image):
                images[key] = drawn
            else:
                vanished.append(key)
        return _LookUp(images, vanished)

    def _finish(self, wanted: dict[str, DrawRequest]) -> dict[str, DrawnImage]:
        """Draw what nobody else is drawing, and wait for the rest."""
        images: dict[str, DrawnImage] = {}
        while pending := {key: request for key, request in wanted.items() if key not in images}:
            with self._claims.taken(list(pending)) as ours:
                # Looked up under the claim: whoever held it before may just have recorded.
                known = self._look_up(pending)
                todo = {key: pending[key] for key in ours if key not in known.images}
                self.tally.add(found=len(known.images))
                images |= known.images
                if todo:
                    images |= self._draw_now(todo, [key for key in known.vanished if key in todo])
            if not todo and len(images) < len(wanted):
                time.sleep(POLL_S)
        return images

    def _draw_now(self, todo: dict[str, DrawRequest], vanished: list[str]) -> dict[str, DrawnImage]:
        batch = uuid.uuid4().hex
        if vanished:
            log.warning("%d recorded images have vanished from the store and are drawn again.", len(vanished))
            self._ledger.forget(DRAW, vanished, also=self._line("vanished", vanished, batch))
        self._log.add("draw", list(todo), batch=batch, run=self._run)
        drawn = self._draw(list(todo.values()))
        outcomes = {key: _write(image) for key, image in zip(todo, drawn, strict=True)}
        recorded = self._ledger.put_many(DRAW, outcomes, also=self._line("recorded", list(todo), batch))
        self.tally.add(drawn=len(todo), vanished=len(vanished))
        return {key: _read(todo[key], record) for key, record in recorded.items()}

    def _line(self, event: DrawEvent, images: list[str], batch: str) -> Callable[[Pipeline], None]:
        return lambda pipe: self._log.add(event, images, batch=batch, run=self._run, pipe=pipe)


def _write(drawn: DrawnImage) -> bytes:
    return json.dumps({"image": drawn.image, "fault": drawn.fault}).encode()


def _read(request: DrawRequest, record: bytes) -> DrawnImage:
    return DrawnImage(request=request, **json.loads(record))


class LedgeredScore:
    """A ScoreImages that scores an image once for each backbone, dictionary and pooling."""

    def __init__(self, score: ScoreImages, ledger: Ledger, *, batch: int = SCORE_BATCH) -> None:
        self._score, self._ledger, self._batch = score, ledger, batch

    @property
    def dictionary(self) -> str:
        return self._score.dictionary

    @property
    def fingerprint(self) -> str:
        return self._score.fingerprint

    def __call__(self, images: Sequence[str]) -> list[SparseCode]:
        """One SparseCode per image id, in order; an image that comes twice is scored once."""
        wanted = {image: self._ledger.key(SCORE, score=self.fingerprint, image=image) for image in images}
        known = zip(wanted, self._ledger.get_many(SCORE, list(wanted.values())), strict=True)
        recorded = {image: record for image, record in known if record is not None}
        missing = [image for image in wanted if image not in recorded]
        for start in range(0, len(missing), self._batch):
            chunk = missing[start : start + self._batch]
            codes = zip(chunk, self._score(chunk), strict=True)
            outcomes = {wanted[image]: sparse_code.encode(code) for image, code in codes}
            kept = self._ledger.put_many(SCORE, outcomes)
            recorded |= {image: kept[wanted[image]] for image in chunk}
        return [sparse_code.decode(recorded[image]) for image in images]

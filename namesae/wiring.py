"""The one place where all is wired together: settings in, named features out.

What answers from the store imports no model library: models are known by their fingerprints, and opened
when a run needs them.
"""

from __future__ import annotations

import contextlib
import logging
import time
import warnings
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from agent.budget import Limits
from agent.events import EventSink, EventStream, ignore, tee
from agent.halting import Halted, not_asked
from agent.proposer import Proposer
from agent.records import Explanation
from agent.request import Request, RunSettings
from agent.runs_store import RunStore
from agent.streaming import audible
from agent.toolbox import Toolbox
from namesae.dictionaries import Listed, find_dictionary
from namesae.file_sums import FileSums
from namesae.galleries import Shelf
from namesae.models import Models, Say
from namesae.proposers import Means, make_proposer
from namesae.settings import Settings
from namesae.telemetry import spans_of
from sae.feature import Feature
from tools.errors import DependencyError
from tools.image_store import ImageStore
from tools.ledger import Ledger
from tools.ledgered import SCORE, LedgeredDraw, LedgeredScore
from tools.protocols import Floats, Witness
from tools.redis_client import connect, durability, explained

if TYPE_CHECKING:
    import redis

    from agent.runs import Desk
    from tools.bank import Bank

log = logging.getLogger(__name__)


LIBRARIES = (
    r"(diffusers|huggingface_hub|langchain_core|langgraph|open_clip|timm|torch|torchvision|transformers)\b"
)


def quiet(_: str) -> None:
    """Says nothing."""


class State(NamedTuple):
    """Where everything that was done is kept."""

    client: redis.Redis
    runs: RunStore
    events: EventStream
    images: ImageStore


@contextlib.contextmanager
def open_state(settings: Settings) -> Iterator[State]:
    """Redis and the image store; DependencyError where Redis is down, or keeps nothing."""
    url = None if settings.redis_url is None else settings.redis_url.get_secret_value()
    client = connect(url, settings.home, fsync=settings.fsync)
    try:
        with explained(client):
            kept = durability(client)
            if kept.refusal:
                raise DependencyError(kept.refusal)
            if kept.warning:
                log.warning("%s", kept.warning)
            yield State(client, RunStore(client), EventStream(client), ImageStore(settings.image_store))
    finally:
        client.close()


class Workbench:
    """A dictionary with its models, a proposer and limits: names features one after another."""

    def __init__(self, settings: Settings, state: State, *, listed: Listed, say: Say = quiet) -> None:
        self.settings, self.state, self.listed = settings, state, listed
        self._say = say
        self.asked: Halted = not_asked
        """What whoever works at it is asked to do, whatever the run."""

    def turn_to(self, settings: Settings, *, asked: Halted) -> None:
        """Work on under other settings of a run: proposer, model, seed, limits. The models stay loaded."""
        self.settings, self.asked = settings, asked
        for held in ("proposer", "limits"):
            self.__dict__.pop(held, None)

    @cached_property
    def shelf(self) -> Shelf:
        """The image store, with the probe and control pictures beside it."""
        return Shelf(self.state.images)

    @cached_property
    def models(self) -> Models:
        """The models, not yet loaded."""
        if self.listed.card is None:
            from namesae.fake_models import open_fake_models

            return open_fake_models(self.shelf)
        from namesae.real_models import open_real_models

        sums = FileSums(self.state.client)
        return open_real_models(self.listed, self.settings, shelf=self.shelf, sums=sums, say=self._say)

    @cached_property
    def proposer(self) -> Proposer:
        """Who has the ideas."""
        card, lexicon = self.models.draw.card, self.models.lexicon
        return make_proposer(Means(self.settings, card, lexicon, Ledger(self.state.client), self.shelf))

    @cached_property
    def limits(self) -> Limits:
        """What a run may use."""
        chosen = self.settings
        usd = None if chosen.yes else chosen.cost_limit
        return Limits.of(chosen.max_images, usd=usd, sealed=chosen.sealed_images)

    def request(self, index: int, *, limits: Limits | None = None) -> Request:
        """What an answer is stored under; loads no model. ``limits``: others than those of the settings."""
        return Request(
            feature=Feature(dictionary=self.listed.name, index=index),
            models=self.models.fingerprint,
            proposer=self.proposer.name,
            proposer_fingerprint=self.proposer.fingerprint,
            settings=RunSettings(
                seed=self.settings.seed, limits=limits or self.limits, review=self.settings.review
            ),
        )

    def name(
        self, index: int, *, again: bool = False, emit: EventSink = ignore, limits: Limits | None = None
    ) -> Explanation:
        """The stored answer, else a run; NamesaeErrors as ``agent.runs.name_feature`` raises them."""
        request = self.request(index, limits=limits)
        found = None if again else self.state.runs.find(request)
        if found is not None:
            return found
        # Only now: these import the graph.
        from agent.runs import name_feature

        with warnings.catch_warnings():
            # What libraries say to their callers is not for the person who names features.
            warnings.filterwarnings("ignore", module=LIBRARIES)
            desk = self.desk()
            return name_feature(request, lambda run: self.toolbox(run, emit=emit), desk=desk, again=again)

    def desk(self) -> Desk:
        """Where runs are kept (imports the graph)."""
        from agent.checkpointer import RedisCheckpointer
        from agent.runs import Desk

        return Desk(self.state.runs, RedisCheckpointer(self.state.client), self.asked)

    def toolbox(self, run: str, *, emit: EventSink = ignore) -> Toolbox:
        """The tools of one run."""
        from tools.cosy import score_explanation
        from tools.sealed import Sealed

        models, client = self.models, self.state.client
        draw = self._draw.for_run(run)
        told = tee(self.state.events, emit, *spans_of(run, self.settings))
        generator = models.draw.fingerprint
        return Toolbox(
            draw=draw,
            score=LedgeredScore(models.score, Ledger(client)),
            exemplars=models.exemplars(),
            control=models.control(),
            cosy=score_explanation,
            bank=self._bank,
            sealed=Sealed(client, generator=generator, seed=self.settings.seed),
            proposer=audible(self.proposer, run, emit=told, clock=time.time),
            clock=time.time,
            emit=told,
            drawn=lambda: draw.tally.figures.drawn,
            witness=self._witness,
            cosine=self.cosine,
        )

    def recorded_control(self, index: int) -> tuple[float, ...]:
        """The feature's activations on the control set where all are in the ledger; scores nothing."""
        from tools import sparse_code

        ledger = Ledger(self.state.client)
        scorer = self.models.score.fingerprint
        names = [ledger.key(SCORE, score=scorer, image=image) for image in self.models.control().images]
        records = ledger.get_many(SCORE, names)
        known = [sparse_code.decode(record) for record in records if record is not None]
        return tuple(code.activation(index) for code in known) if len(known) == len(names) else ()

    def cosine(self, first: int, second: int) -> float | None:
        """Of the decoder directions of two features; None where there are none."""
        rows = self._directions
        return None if rows is None else round(float(rows[first] @ rows[second]), 4)

    @cached_property
    def _directions(self) -> Floats | None:
        from namesae.facts import decoder_of
        from sae.statistics import unit_rows

        folder = self.listed.folder
        return None if folder is None else unit_rows(decoder_of(folder))

    @cached_property
    def _bank(self) -> Bank:
        from tools.bank import COMPACT_FROM, Bank

        # Behind another Redis may be machines that do not see our own folder: there all stays in Redis.
        chosen = self.settings.bank
        private = chosen is None and self.settings.redis_url is not None
        return Bank(
            self.state.client,
            score=self.models.score.fingerprint,
            generator=self.models.draw.fingerprint,
            folder=chosen or self.settings.home / "bank",
            compact_from=None if private else COMPACT_FROM,
        )

    @cached_property
    def _witness(self) -> Witness | None:
        called = self.models.witness
        return None if called is None else called.hear(Ledger(self.state.client))

    @cached_property
    def _draw(self) -> LedgeredDraw:
        return LedgeredDraw(self.models.draw, Ledger(self.state.client), store=self.shelf)


def open_workbench(name: str, settings: Settings, *, state: State, say: Say = quiet) -> Workbench:
    """The workbench of a dictionary by name or folder."""
    return Workbench(settings, state, listed=find_dictionary(name, settings), say=say)

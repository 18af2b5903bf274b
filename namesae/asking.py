"""Questions about a feature: settings in, a conversation out, told as it goes."""

from __future__ import annotations

import os
import signal
import time
import warnings
from typing import TYPE_CHECKING

from agent.ask_llm import Speaker
from agent.ask_records import AskAnswer, Conversation
from agent.ask_runs import MAX_QUESTION, AskRequest, OutOfBudget, Parlour, converse
from agent.ask_state import AskDesk
from agent.budget import Limits
from agent.events import EventSink, ignore
from agent.llm import Chat
from agent.llm_ways import WayMemory
from agent.records import Cost, Explanation, ImageCount
from agent.runs import Drained
from namesae import __version__
from namesae.faults import fault_of
from namesae.proposers import endpoint_of
from namesae.settings import Settings
from namesae.stopping import Interrupted, stoppable
from namesae.traces import parse_feature
from namesae.wiring import LIBRARIES, Workbench, open_state, open_workbench
from sae.feature import Feature, Frozen
from tools.errors import UsageError
from tools.ledger import Ledger

if TYPE_CHECKING:
    from namesae.ask_reporters import AskReporter

STOPPED = "Stopped by a signal; what was recorded is kept, and the same command continues."
MAX_CALLS = 24


class AskOrder(Frozen):
    """What the person asked, beside the settings."""

    feature: str
    question: str
    thread: str | None = None
    """The conversation that it follows up."""
    max_calls: int = MAX_CALLS
    """LLM calls at most."""


class AskLaunch(Frozen):
    """What is about to be done."""

    version: str
    pid: int
    feature: str
    question: str
    thread: str
    model: str
    limits: Limits
    seed: int
    home: str


class AskSummary(Frozen):
    """What came of it."""

    success: bool
    exit_code: int
    error: str | None = None
    """One sentence, where something stopped or failed."""
    thread: str | None = None
    images: ImageCount = ImageCount()
    cost: Cost = Cost()
    seconds: float = 0.0


class Asking:
    """A feature, its models and an LLM: answers questions one after another."""

    def __init__(self, feature: Feature, bench: Workbench) -> None:
        """UsageError where no LLM is set up."""
        chosen, ledger = bench.settings, Ledger(bench.state.client)
        chat = Chat(
            endpoint_of(chosen),
            api_key=require_llm(chosen),
            png=bench.shelf.png,
            memory=WayMemory(bench.state.client),
        )
        self.feature, self.bench = feature, bench
        self._speaker = Speaker(chat, ledger=ledger, png=bench.shelf.png)

    def request(self, order: AskOrder) -> AskRequest:
        """The question as it is recorded; loads no model."""
        question = " ".join(order.question.encode("utf-8", "replace").decode().split())
        if not 1 <= len(question) <= MAX_QUESTION:
            raise UsageError(
                f"The question has {len(question):,} characters; give between 1 and {MAX_QUESTION:,}."
            )
        if order.max_calls < 1:
            raise UsageError(f"Option --max-calls {order.max_calls} allows no answer; give at least 1.")
        chosen = self.bench.settings
        limits = Limits(
            images=chosen.max_images,
            race_images=0,
            llm_calls=order.max_calls,
            usd=None if chosen.yes else chosen.cost_limit,
        )
        return AskRequest(
            feature=self.feature,
            question=question,
            models=self.bench.models.fingerprint,
            speaker=self._speaker.fingerprint,
            thread=order.thread,
            limits=limits,
            seed=chosen.seed,
        )

    def ask(self, request: AskRequest, *, emit: EventSink = ignore) -> Conversation:
        """The conversation with its answer, as ``agent.ask_runs.converse`` gives and raises."""
        # Only now: it imports the graph.
        from agent.checkpointer import RedisCheckpointer

        client = self.bench.state.client
        parlour = Parlour(client, RedisCheckpointer(client))
        with warnings.catch_warnings():
            # What libraries say to their callers is not for the person who asks.
            warnings.filterwarnings("ignore", module=LIBRARIES)
            return converse(request, lambda thread: self._desk(thread, emit), parlour=parlour)

    def _desk(self, thread: str, emit: EventSink) -> AskDesk:
        return AskDesk(self.bench.toolbox(thread, emit=emit), self._speaker, latest_name=self._latest)

    def _latest(self, feature: Feature) -> Explanation | None:
        found = self.bench.state.runs.of_feature(str(feature), count=1)
        return found[0] if found else None


def ask_feature(
    order: AskOrder, settings: Settings, *, reporter: AskReporter, debug: bool = False
) -> AskSummary:
    """Carry out an order and tell it; the summary says why it ended. With ``debug`` errors are raised."""
    began = time.monotonic()
    error: str | None = None
    answer: AskAnswer | None = None
    with stoppable() as stop:
        try:
            answer = _carried_out(order, settings, reporter=reporter)
            code = int(answer.code is not None)
            error = None if answer.code is None else f"{answer.why}; repeat the command to ask again."
        except (Interrupted, Drained):
            code, error = 128 + (stop.number or signal.SIGTERM), STOPPED
        except Exception as raised:
            if debug:
                raise
            answer = raised.answer if isinstance(raised, OutOfBudget) else None
            error, code, _ = fault_of(raised)
    summary = AskSummary(
        success=code == 0,
        exit_code=code,
        error=error,
        thread=answer.thread if answer else None,
        seconds=round(time.monotonic() - began, 3),
    )
    if answer is not None and not answer.stored:
        summary = summary.model_copy(update={"images": answer.images, "cost": answer.cost})
    reporter.done(summary)
    return summary


def _carried_out(order: AskOrder, settings: Settings, *, reporter: AskReporter) -> AskAnswer:
    require_llm(settings)
    feature = parse_feature(order.feature, settings)
    with open_state(settings) as state:
        asking = Asking(feature, open_workbench(feature.dictionary, settings, state=state, say=reporter.say))
        request = asking.request(order)
        reporter.launch(_launch(request, asking.bench))
        conversation = asking.ask(request, emit=reporter.event)
        reporter.answer(conversation.answer, path=state.images.path_or_url)
        return conversation.answer


def require_llm(settings: Settings) -> str:
    """The key of the LLM; UsageError where there is none."""
    if settings.openai_api_key is None:
        raise UsageError(
            "Asking needs an LLM and OPENAI_API_KEY is not set; set it, with OPENAI_BASE_URL for a server "
            "of your own."
        )
    return settings.openai_api_key.get_secret_value()


def _launch(request: AskRequest, bench: Workbench) -> AskLaunch:
    return AskLaunch(
        version=__version__,
        pid=os.getpid(),
        feature=str(request.feature),
        question=request.question,
        thread=request.thread_id,
        model=bench.settings.openai_model,
        limits=request.limits,
        seed=request.seed,
        home=str(bench.settings.home),
    )

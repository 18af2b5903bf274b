"""A batch of namings: one feature after another in one process, each result told as it comes."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from pydantic import Field

from agent.budget import Limits
from agent.records import Cost, Explanation, ImageCount, Question
from agent.runs import AwaitsReview, Drained, OutOfBudget
from agent.usage import total_cost
from namesae import __version__
from namesae.dictionaries import find_dictionary
from namesae.faults import fault_of
from namesae.selection import choose_features, parse_selection
from namesae.settings import Settings
from namesae.stopping import Interrupted, Stop, stoppable
from namesae.wiring import Workbench, open_state
from sae.feature import Feature, Frozen
from tools.errors import BudgetError

if TYPE_CHECKING:
    from namesae.reporters import Reporter
    from namesae.reviewing import Asks, Reply

STOPPED = "Stopped by a signal; what was recorded is kept, and the same command continues."


class Order(Frozen):
    """What the person asked for, beside the settings."""

    selection: str
    sample: int | None = None
    again: bool = False


class Launch(Frozen):
    """What is about to be done."""

    version: str
    pid: int
    selection: str
    features: tuple[str, ...]
    proposer: str
    paid: bool
    """Whether asking the proposer costs money."""
    limits: Limits
    seed: int
    home: str


class Summary(Frozen):
    """What came of it."""

    success: bool
    exit_code: int
    error: str | None = None
    """One sentence, where something stopped or failed."""
    verdicts: dict[str, int] = Field(default_factory=dict)
    """How many features got each verdict."""
    asked: int = 0
    """Features asked for."""
    waiting: int = 0
    """Features whose name waits for a review."""
    images: ImageCount = ImageCount()
    cost: Cost = Cost()
    seconds: float = 0.0

    @property
    def text(self) -> str:
        """The summary as a line."""
        told = ", ".join(
            f"{count} {verdict}" for verdict, count in sorted(self.verdicts.items(), key=lambda v: -v[1])
        )
        done = sum(self.verdicts.values())
        spent = f"{self.images.drawn} images drawn, {self.seconds:.0f} s"
        waiting = f", {self.waiting} waiting for a review" if self.waiting else ""
        return f"{done} of {self.asked} features: {told or 'none'}{waiting}; {spent}."


class Batch:
    """The progress of an order."""

    def __init__(self, reporter: Reporter, *, debug: bool = False, asks: Asks | None = None) -> None:
        self.reporter, self.debug, self.asks = reporter, debug, asks
        self.explanations: list[Explanation] = []
        self.over: list[OutOfBudget] = []
        """Features that a limit left without a verdict."""
        self.waiting: list[Question] = []
        """Names that were left waiting for a review."""
        self.asked = 0
        self._began = time.monotonic()

    def summary(self, exit_code: int, error: str | None = None) -> Summary:
        """How things stand."""
        waiting = [each.explanation for each in self.waiting]
        fresh = [*(each for each in self.explanations if not each.stored), *waiting]
        return Summary(
            success=exit_code == 0,
            exit_code=exit_code,
            error=error,
            verdicts=dict(Counter(each.verdict for each in self.explanations)),
            asked=self.asked,
            waiting=len(self.waiting),
            images=_images(fresh),
            cost=total_cost(each.cost for each in fresh),
            seconds=round(time.monotonic() - self._began, 3),
        )

    def carry_out(self, order: Order, settings: Settings, *, stop: Stop) -> None:
        """Name every feature of an order; what stops it is raised."""
        selection = parse_selection(order.selection)
        listed = find_dictionary(selection.dictionary, settings)
        features = choose_features(selection, listed, sample=order.sample, seed=settings.seed)
        self.asked = len(features)
        with open_state(settings) as state:
            bench = Workbench(settings, state, listed=listed, say=self.reporter.say)
            self.reporter.launch(_launch(order, features, bench=bench))
            for feature in features:
                self._name(feature, bench, again=order.again)
                if stop.number is not None:
                    raise Interrupted(stop.number)

    def _name(self, feature: Feature, bench: Workbench, *, again: bool) -> None:
        try:
            explanation = bench.name(feature.index, again=again, emit=self.reporter.event)
        except AwaitsReview as paused:
            reviewed = self._review(paused.question, bench)
            if reviewed is None:
                return
            explanation = reviewed
        except OutOfBudget as error:
            # Each feature has limits of its own, which may suffice for the others.
            self.over.append(error)
            explanation = error.explanation
        except Exception as error:
            fault = fault_of(error)
            if fault.expected or self.debug:
                raise
            # A mistake of ours on one feature: the others are named all the same.
            self.reporter.say(f"{feature}: {fault.sentence}")
            explanation = Explanation(
                feature=feature, name=None, verdict="failed", code=type(error).__name__, confidence=0.0
            )
        self.explanations.append(explanation)
        self.reporter.feature(explanation)

    def _review(self, question: Question, bench: Workbench) -> Explanation | None:
        """Ask until the name is decided; None where it is left waiting."""
        from namesae.reviewing import ask_until_decided, rule_on

        def decide(asked: Question, reply: Reply) -> Explanation:
            return rule_on(asked.run, reply, bench=bench, emit=self.reporter.event)

        outcome = ask_until_decided(question, self.asks, decide=decide, say=self.reporter.say)
        if outcome.explanation is None:
            self.waiting.append(outcome.question)
            self.reporter.review(outcome.question)
        return outcome.explanation

    def outcome(self) -> tuple[int, str | None]:
        """Exit code and sentence of an order that was carried out to its end."""
        if self.over:
            others = len(self.over) - 1
            more = f" So did {others} other{'s' if others > 1 else ''}." if others else ""
            return BudgetError.exit_code, f"{self.over[0]}{more}"
        if self.waiting:
            count = len(self.waiting)
            return (
                1,
                f"{count} name{'s wait' if count > 1 else ' waits'} for a review; see namesae review --list.",
            )
        failed = any(each.verdict in ("failed", "cancelled") for each in self.explanations)
        return int(failed), None


class Outcome(NamedTuple):
    """What an order came to."""

    summary: Summary
    explanations: tuple[Explanation, ...]


def name_features(
    order: Order, settings: Settings, *, reporter: Reporter, debug: bool = False, asks: Asks | None = None
) -> Outcome:
    """Carry out an order and tell it; the summary says why it ended. With ``debug`` errors are raised.

    ``asks``: asks a person about a name under review; without it such names are left waiting.
    """
    batch = Batch(reporter, debug=debug, asks=asks)
    error: str | None = None
    with stoppable() as stop:
        try:
            batch.carry_out(order, settings, stop=stop)
            code, error = batch.outcome()
        except (Interrupted, Drained):
            code, error = 128 + (stop.number or signal.SIGTERM), STOPPED
        except Exception as raised:
            if debug:
                raise
            error, code, _ = fault_of(raised)
    summary = batch.summary(code, error)
    reporter.done(summary)
    return Outcome(summary, tuple(batch.explanations))


def _launch(order: Order, features: Sequence[Feature], *, bench: Workbench) -> Launch:
    return Launch(
        version=__version__,
        pid=os.getpid(),
        selection=order.selection,
        features=tuple(str(feature) for feature in features),
        proposer=bench.proposer.name,
        paid=bench.proposer.paid,
        limits=bench.limits,
        seed=bench.settings.seed,
        home=str(bench.settings.home),
    )


def _images(explanations: Sequence[Explanation]) -> ImageCount:
    fields = ImageCount.model_fields
    return ImageCount(**{name: sum(getattr(each.images, name) for each in explanations) for name in fields})

"""A batch: a survey for all features, then one feature after another, the most helpful first.

All of it is in Redis under the batch's id, so that any process goes on with it, also two at a time.
"""

from __future__ import annotations

import os
import time
from collections import deque
from typing import TYPE_CHECKING

from agent.allowance import BatchAllowance
from agent.budget import BatchLimits, Limits
from agent.records import Explanation
from agent.runs import AwaitsReview, Drained, OutOfBudget
from agent.survey import VERSION, SurveyOutcome
from namesae import __version__
from namesae.batch_progress import Pace
from namesae.batch_records import BatchAsk, BatchLaunch, BatchRow, Failure
from namesae.batch_store import BatchStore
from namesae.batch_survey import POLL_S, BatchSurvey
from namesae.faults import fault_of
from namesae.selection import choose_features, parse_selection
from namesae.stopping import Interrupted, Stop
from namesae.wiring import Workbench
from sae.feature import Feature
from tools.claims import Claims
from tools.digest import digest
from tools.errors import DependencyError

if TYPE_CHECKING:
    from namesae.batch_reporters import BatchReporter

IN_A_ROW = 3
"""Features that fail one after another because something cannot be reached, after which the batch stops."""


class BatchRun:
    """One call of a batch."""

    def __init__(
        self, ask: BatchAsk, bench: Workbench, limits: BatchLimits, *, reporter: BatchReporter
    ) -> None:
        self.ask, self.bench, self.limits, self.reporter = ask, bench, limits, reporter
        selection = parse_selection(ask.selection)
        self.features = choose_features(selection, bench.listed, seed=bench.settings.seed)
        self.indices = tuple(each.index for each in self.features)
        self.batch = batch_id(ask, bench, self.indices)
        client = bench.state.client
        self.store = BatchStore(client, self.batch)
        self.failures: dict[int, Failure] = {}
        self.unasked: set[int] = set()
        self.waiting: set[int] = set()
        self.outcome: SurveyOutcome | None = None
        self._survey = BatchSurvey(bench, self.batch, reporter=reporter)
        self._allowance = BatchAllowance(client, self.batch)
        self._claims = Claims(client, "batch")
        self._unreachable = 0
        self._pace = Pace(len(self.indices))

    def carry_out(self, *, stop: Stop, debug: bool = False) -> None:
        """Survey, then name all that has no verdict yet; what stops the whole batch is raised."""
        self.accept()
        self.reporter.launch(self._launch())
        schedule = self._survey.schedule(self.indices, images=self.ask.survey, most=self.limits.images)
        self.outcome = self._survey.outcome(schedule.plan)
        self.reporter.survey(self.outcome)
        self._pace.survey(self.outcome.charged)
        self._open_allowance(self.outcome)
        pending = deque(schedule.order)
        while pending:
            busy = [index for index in pending if not self._tried(index, stop=stop, debug=debug)]
            pending = deque(busy)
            if pending:
                # Other processes are at work on these.
                time.sleep(POLL_S)

    def accept(self) -> None:
        """Write down what is asked for, before any work."""
        self.store.begin(self.ask, self.limits, now=time.time(), features=len(self.features))

    def _launch(self) -> BatchLaunch:
        bench = self.bench
        return BatchLaunch(
            version=__version__,
            pid=os.getpid(),
            batch=self.batch,
            selection=self.ask.selection,
            features=len(self.features),
            done=len(self.store.rows(self.indices)),
            proposer=bench.proposer.name,
            paid=bench.proposer.paid,
            limits=bench.limits,
            batch_limits=self.limits,
            seed=bench.settings.seed,
            home=str(bench.settings.home),
        )

    @property
    def _limited(self) -> bool:
        return any(value is not None for _, value in self.limits)

    def _open_allowance(self, survey: SurveyOutcome) -> None:
        """What the survey left of the batch's limits is what its runs may use."""
        images, seconds, took = self.limits.images, self.limits.seconds, self._survey.log.seconds
        left = {
            "images": None if images is None else max(0, images - survey.charged),
            "seconds": None if seconds is None else max(0.0, seconds - took),
        }
        self._allowance.open(self.limits.model_copy(update=left))

    def _tried(self, index: int, *, stop: Stop, debug: bool) -> bool:
        """Name a feature that has no verdict; False where another process is at it."""
        row = self.store.row(index)
        if row is None:
            with self._claims.taken([f"{self.batch}:{index}"]) as ours:
                if not ours:
                    return False
                # Looked up again under the claim: whoever held it may just have finished.
                row = self.store.row(index)
                if row is None:
                    self._name(index, debug=debug)
        if row is not None:
            self._tell_stored(row)
        if stop.number is not None:
            raise Interrupted(stop.number)
        return True

    def _name(self, index: int, *, debug: bool) -> None:
        feature = Feature(dictionary=self.bench.listed.name, index=index)
        try:
            told = self._answer(feature)
        except AwaitsReview as paused:
            self.waiting.add(index)
            self.reporter.say(str(paused))
            return
        except Drained:
            raise
        except OutOfBudget as error:
            told = error.explanation
            self._charge(feature, told)
        except Exception as error:
            if debug:
                raise
            self._failed(feature, error)
            return
        if told is None:
            self.unasked.add(index)
            return
        self._unreachable = 0
        self._keep(feature, told)

    def _answer(self, feature: Feature) -> Explanation | None:
        """The stored answer, else a run within what the batch has left; None where that is too little."""
        granted = self._granted(feature)
        if granted != self.bench.limits:
            # An answer under the feature's own limits costs nothing, whatever the batch has left.
            found = self.bench.state.runs.find(self.bench.request(feature.index))
            if found is not None or granted is None:
                return found
        told = self.bench.name(feature.index, emit=self.reporter.event, limits=granted)
        self._charge(feature, told)
        return told

    def _granted(self, feature: Feature) -> Limits | None:
        limits, paid = self.bench.limits, self.bench.proposer.paid
        if not self._limited:
            return limits
        return self._allowance.grant(str(feature), limits, paid=paid, now=time.time()).limits

    def _charge(self, feature: Feature, told: Explanation) -> None:
        if self._limited:
            self._allowance.charge(str(feature), told)

    def _keep(self, feature: Feature, told: Explanation) -> None:
        row = BatchRow.of(told, older=self.store.is_older(told))
        if told.verdict in ("failed", "cancelled"):
            self.failures[feature.index] = Failure(feature=str(feature), why=told.code or told.verdict)
        else:
            self.store.done(row)
        self._pace.count(row, fresh=not told.stored)
        self.reporter.feature(told, self._pace.progress())

    def _tell_stored(self, row: BatchRow) -> None:
        """A verdict of an earlier call, or of another process."""
        found = self.bench.state.runs.row(row.run)
        self._pace.count(row, fresh=False)
        if found is not None and found.explanation is not None:
            told = found.explanation.model_copy(update={"stored": True})
            self.reporter.feature(told, self._pace.progress())

    def _failed(self, feature: Feature, error: Exception) -> None:
        """One failure stops nothing; several because something is down stop the batch."""
        fault = fault_of(error)
        self._unreachable = self._unreachable + 1 if fault.exit_code == DependencyError.exit_code else 0
        if self._unreachable >= IN_A_ROW:
            raise error
        self.failures[feature.index] = Failure(feature=str(feature), why=fault.sentence)
        self.reporter.say(f"{feature}: {fault.sentence}")
        code = type(error).__name__
        told = Explanation(feature=feature, name=None, verdict="failed", code=code, confidence=0.0)
        self._pace.count(BatchRow.of(told, older=False), fresh=True)
        self.reporter.feature(told, self._pace.progress())


def batch_id(ask: BatchAsk, bench: Workbench, indices: tuple[int, ...]) -> str:
    """Of everything that determines what the batch answers: the same command, the same batch."""
    request = bench.request(indices[0])
    told = digest(
        version=VERSION,
        features=indices,
        models=request.models,
        proposer=[request.proposer, request.proposer_fingerprint],
        settings=request.settings.model_dump(mode="json"),
        survey=ask.survey,
    )
    safe = "".join(each if each.isalnum() or each in "-_." else "-" for each in bench.listed.name)
    return f"{safe}-{told[:12]}"

"""Runs an evaluation: fills the cells that are missing, one after another, and tells of each."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, Protocol

import numpy as np

from agent.runs import Drained
from agent.toolbox import Toolbox
from evals.answer import Answer
from evals.cell import Cell, Interim, Judged
from evals.condition import Condition
from evals.empty_bank import EmptyBank
from evals.floor import FixedFloor, floor_names
from evals.grading import grade
from evals.judging import Judge
from evals.memo import Meter, RememberedDraw, RememberedScore
from evals.plan import Job, Plan, record_of
from evals.results import Results
from evals.sanity import sanity_rows
from evals.sentence_similarity import HubSimilarity, JointSimilarity
from evals.subject import Case, Subject, Truth, Workshop
from evals.wordlist import names_of
from sae.feature import Feature
from sae.model_folder import source_and_revision
from tools.errors import DependencyError, IntegrityError, UsageError

SANITY_CASES = 100
"""Most features the metrics test themselves on."""
STOPS = (DependencyError, IntegrityError, UsageError, Drained)
"""Errors that the next feature would meet as well: they stop the run, which the same command continues."""


class Listener(Protocol):
    """Hears how a run goes."""

    def begin(self, plan: Plan, *, done: int) -> None:
        """``done``: cells that were there already."""
        ...

    def cell(self, cell: Cell) -> None: ...
    def say(self, text: str) -> None: ...


class Means(NamedTuple):
    """What a run may do beside what the suite says."""

    version: str
    usd: float | None
    """What an LLM may cost a feature and condition; None: no limit."""
    debug: bool = False
    """A condition's mistake is raised, not counted as a failure."""


class Bench(NamedTuple):
    """One dictionary, with what all its cells share."""

    subject: Subject
    toolbox: Toolbox
    judge: Judge


class Evaluation:
    """A plan, the folder it fills, and the models in use."""

    def __init__(self, plan: Plan, workshop: Workshop, results: Results, *, means: Means) -> None:
        self.plan, self._workshop, self._results = plan, workshop, results
        self._usd, self._debug = means.usd, means.debug
        self.record = record_of(plan, workshop, version=means.version)
        self._benches: dict[str, Bench] = {}
        self._sentences: HubSimilarity | None = None
        self._answers: dict[str, dict[Feature, Answer]] = {}
        self._filled: set[str] = set()

    def run(self, listener: Listener, *, stopped: Callable[[], bool] = lambda: False) -> bool:
        """Fill what is missing; False when ``stopped`` said to end before all was done."""
        with self._results.writing(self.record):
            kept = {job: self._kept(job) for job in self.plan.jobs}
            listener.begin(self.plan, done=sum(kept[job] is not None for job in self.plan.jobs_now))
            for job, cell in kept.items():
                self._note(job, cell)
            waiting: set[str] = set()
            for job in self.plan.jobs_now:
                if stopped():
                    return False
                if kept[job] is not None and not self._is_stale(job):
                    continue
                if not self._is_ready(job):
                    waiting.add(job.condition)
                    continue
                cell = self._fill(job, listener=listener)
                self._results.put(cell)
                self._filled.add(job.condition)
                self._note(job, cell)
                listener.cell(cell)
            for condition in sorted(waiting):
                listener.say(f"{condition} waits for all cells of what it reads: run those first.")
            if not self._results.sanity():
                self._results.put_sanity(sanity_rows(self._labelled_cases(), seed=self.plan.suite.seed))
        return True

    def _kept(self, job: Job) -> Cell | None:
        """A cell of an earlier run; one that failed, or that is of something else, is filled again."""
        cell = self._results.cell(job.condition, job.entry.feature)
        ours = cell is not None and cell.suite == self.record.digest_of(job.condition)
        return cell if ours and cell is not None and not cell.answer.failed else None

    def _note(self, job: Job, cell: Cell | None) -> None:
        if cell is not None:
            self._answers.setdefault(job.condition, {})[job.entry.feature] = cell.answer

    def _is_ready(self, job: Job) -> bool:
        """Whether every cell that the condition reads is there."""
        needs = self.plan.conditions[job.condition].needs
        return not needs or all(
            each.entry.feature in self._answers.get(each.condition, {})
            for each in self.plan.jobs
            if each.condition in needs
        )

    def _is_stale(self, job: Job) -> bool:
        """Whether a cell that the condition reads was filled anew."""
        return any(name in self._filled for name in self.plan.conditions[job.condition].needs)

    def _fill(self, job: Job, *, listener: Listener) -> Cell:
        entry, suite = job.entry, self.plan.suite
        condition = self.plan.conditions[job.condition]
        subject = condition.subject(self._workshop.subject(entry.feature.dictionary))
        bench = self._bench(subject)
        meter = Meter(bench.toolbox.draw)
        case = Case(
            feature=Feature(dictionary=subject.dictionary, index=entry.feature.index),
            subject=subject,
            toolbox=replace(bench.toolbox, draw=meter),
            truth=entry.truth,
            seed=suite.seed,
            images=suite.images,
            sealed=suite.sealed,
            usd=self._usd,
            features=self.plan.features(entry.feature.dictionary),
            others={name: self._answers.get(name, {}) for name in condition.needs},
            say=listener.say,
        )
        drawn, began = bench.toolbox.drawn(), time.monotonic()
        answer = self._answered(condition, case, name=job.condition)
        seconds = time.monotonic() - began
        if not answer.run:
            answer = answer.model_copy(
                update={"cost": answer.cost.model_copy(update={"seconds": round(seconds, 3)})}
            )
        cell = self._cell(job, answer, bench=bench, meter=meter)
        return cell.model_copy(update={"drawn": bench.toolbox.drawn() - drawn})

    def _answered(self, condition: Condition, case: Case, *, name: str) -> Answer:
        try:
            return condition.answer(case)
        except Exception as error:
            if self._debug or isinstance(error, STOPS):
                raise
            # A mistake of one condition on one feature: the others are named all the same.
            case.say(f"{name} failed on {case.feature}: {type(error).__name__}: {error}")
            return Answer(name=None, verdict="failed", code=type(error).__name__)

    def _cell(self, job: Job, answer: Answer, *, bench: Bench, meter: Meter) -> Cell:
        entry, subject = job.entry, bench.subject
        own = subject.dictionary == entry.feature.dictionary
        # A control that names another dictionary is not graded by this one's truth.
        truth = entry.truth if own else None
        judged: Judged | None = None
        if answer.name is not None:
            judged = bench.judge.judge(entry.feature.index, answer.name, search_score=answer.search_score)
        told = grade(subject, entry.feature.index, name=answer.name, truth=truth)
        if answer.name is not None and truth is not None and truth.concept:
            told = told.model_copy(
                update={"similarity": self._similarity(subject, answer.name, truth.concept)}
            )
        return Cell(
            suite=self.record.digest_of(job.condition) or "",
            condition=job.condition,
            title=self.plan.conditions[job.condition].title,
            feature=entry.feature,
            group=entry.groups[0],
            also=entry.groups[1:],
            truth=truth,
            outside_seeds=entry.outside_seeds if own else None,
            answer=answer.model_copy(update={"asked": ()}),
            judged=judged,
            grade=told,
            interim=_interim(answer, subject, index=entry.feature.index, truth=truth),
            asked=tuple(dict.fromkeys([*meter.images, *(image[:16] for image in answer.asked)])),
        )

    def _similarity(self, subject: Subject, name: str, concept: str) -> float | None:
        chosen = self.plan.suite.sentence_model
        if chosen is not None:
            self._sentences = self._sentences or HubSimilarity(*source_and_revision(chosen))
            return self._sentences([name], [concept])[0]
        return None if subject.joint is None else JointSimilarity(subject.joint)([name], [concept])[0]

    def _bench(self, subject: Subject) -> Bench:
        if subject.dictionary not in self._benches:
            self._benches[subject.dictionary] = self._opened(subject)
        return self._benches[subject.dictionary]

    def _opened(self, subject: Subject) -> Bench:
        suite = self.plan.suite
        given = subject.toolbox(f"evals-{self.record.digest[:12]}")
        tools = replace(
            given, draw=RememberedDraw(given.draw), score=RememberedScore(given.score), bank=EmptyBank()
        )
        judge = Judge(subject, tools, images=suite.sealed, seed=suite.seed)
        names = floor_names(names_of(subject.lexicon), seed=suite.seed)
        floor = FixedFloor(names, lambda name: judge.images_of(name, purpose="judge"))
        return Bench(subject, replace(tools, sealed=floor), judge)

    def _labelled_cases(self) -> list[tuple[np.ndarray, np.ndarray]]:
        cases = []
        for entry in self.plan.entries:
            held = self._workshop.subject(entry.feature.dictionary).held_out
            concept = entry.truth.concept if entry.truth is not None else ""
            shows = held.holds(concept) if held is not None and concept else None
            if held is not None and shows is not None and shows.any() and not shows.all():
                cases.append((held.activations(entry.feature.index), shows))
        return cases[:SANITY_CASES]


def _interim(answer: Answer, subject: Subject, *, index: int, truth: Truth | None) -> tuple[Interim, ...]:
    if truth is None or not truth.concept:
        return ()
    names = dict.fromkeys(step.best for step in answer.steps if step.best is not None)
    return tuple(
        Interim(name=name, right=grade(subject, index, name=name, truth=truth).right) for name in names
    )

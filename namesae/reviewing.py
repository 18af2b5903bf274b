"""Ruling on names that wait: what the command line, Python and the service call."""

from __future__ import annotations

import getpass
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from agent.events import EventSink, ignore
from agent.proposer import Turn, View
from agent.records import Explanation, Question, Ruling, RulingAction
from agent.request import Request
from agent.runs_store import RunRow
from namesae.dictionaries import find_dictionary
from namesae.models import Say
from namesae.settings import Settings
from namesae.traces import find_run
from namesae.wiring import LIBRARIES, State, Workbench
from sae.feature import Frozen
from tools.errors import UsageError


class Reply(Frozen):
    """What a person answers to a question."""

    action: RulingAction
    name: str | None = None
    """The name to test instead, for a retest."""
    why: str = ""
    turn: int | None = None
    """Of the question that was looked at; None rules on whatever waits now."""


class Outcome(NamedTuple):
    """What asking came to."""

    question: Question
    """The last one asked."""
    explanation: Explanation | None
    """None where the name was left waiting."""


Asks = Callable[[Question], Reply | None]
"""Asks a person about a name; None leaves it waiting."""


class Decided(UsageError):
    """Somebody has ruled already, or the run asks about another name by now."""

    def __init__(self, run: str, question: Question, ruling: Ruling | None) -> None:
        if ruling is None:
            super().__init__(
                f"The name looked at was ruled on meanwhile; run {run} asks about {question.name!r} now."
            )
            return
        other = f" and to test {ruling.name!r}" if ruling.name else ""
        verb = {"accept": "accept", "reject": "reject", "retest": "replace"}[ruling.action]
        super().__init__(
            f"Run {run} is decided: {ruling.who} chose to {verb} {question.name!r}{other} on {ruling.at}; "
            "nothing was changed."
        )


class Absent(NamedTuple):
    """The proposer of a run that needs none any more: its name, for the record."""

    name: str
    fingerprint: str

    @property
    def paid(self) -> bool:
        return self.name != "lexical"

    @property
    def priced(self) -> bool:
        return True

    def plan(self, view: View) -> Turn:
        raise UsageError(
            f"The run needs {self.name} again, which a review cannot ask; name the feature again."
        )


def open_question(run: str, state: State, *, settings: Settings) -> tuple[RunRow, Question]:
    """The question of a run by its id, or of the run of DICTIONARY#INDEX that has waited longest.

    UsageError where none was asked. The row's ``ruling`` says whether it is answered already.
    """
    if "#" in run:
        mine = [each for each in state.runs.waiting() if str(each.explanation.feature) == run]
        if not mine:
            raise UsageError(f"No name of {run} waits for a review; namesae review --list shows all that do.")
        run = mine[0].run
    row = find_run(run, state, settings=settings)
    if row.question is None:
        raise UsageError(f"Run {run} was never to be reviewed; namesae review --list shows all that wait.")
    return row, row.question


def review_run(
    run: str, reply: Reply | None, *, state: State, settings: Settings, emit: EventSink = ignore
) -> Explanation:
    """Rule on the name of a waiting run and carry the run on; without a reply, go on with an earlier ruling.

    ``run``: its id, or DICTIONARY#INDEX. Raises AwaitsReview when there is no ruling yet, and when a name
    given for a retest was judged and waits in its turn; Decided when somebody else has ruled already;
    UsageError when no retest is left or the name cannot be drawn.
    """
    row, _ = open_question(run, state, settings=settings)
    return rule_on(row.run, reply, bench=_bench_of(row, state, settings=settings), emit=emit)


def write_ruling(run: str, reply: Reply, *, state: State, settings: Settings) -> RunRow:
    """Rule on the name of a waiting run, which somebody else carries on; raises as ``review_run`` does."""
    row, question = open_question(run, state, settings=settings)
    if row.explanation is not None:
        raise Decided(row.run, question, row.ruling)
    bench = _bench_of(row, state, settings=settings)
    return row._replace(ruling=_ruled(row, question, reply=reply, bench=bench))


def rule_on(run: str, reply: Reply | None, *, bench: Workbench, emit: EventSink = ignore) -> Explanation:
    """The same with a workbench at hand."""
    from agent.runs import AwaitsReview

    row, question = open_question(run, bench.state, settings=bench.settings)
    if reply is not None:
        counted = _ruled(row, question, reply=reply, bench=bench)
        row = row._replace(ruling=counted)
    if row.ruling is None:
        raise AwaitsReview(question)
    if row.explanation is not None:
        raise Decided(row.run, question, row.ruling)
    return carry_on(row.request, row.run, bench=bench, emit=emit)


def ask_until_decided(
    question: Question, asks: Asks | None, *, decide: Callable[[Question, Reply], Explanation], say: Say
) -> Outcome:
    """Ask a person until the name is decided or left waiting; what cannot be done is said and asked again."""
    from agent.runs import AwaitsReview

    while (reply := asks(question) if asks else None) is not None:
        try:
            return Outcome(question, decide(question, reply))
        except AwaitsReview as paused:
            question = paused.question
        except Decided:
            raise
        except UsageError as error:
            say(str(error))
    return Outcome(question, None)


def with_images(settings: Settings, *, generator: str | None, images: Path | None) -> Settings:
    """The settings with the models a run was started with, where flags chose them."""
    chosen = {"generator": generator, "probe_images": images, "control_images": images}
    return settings.model_copy(update={name: each for name, each in chosen.items() if each is not None})


def _ruled(row: RunRow, question: Question, *, reply: Reply, bench: Workbench) -> Ruling:
    """The ruling, written down; Decided where another one counts."""
    from agent.review import ruling_of

    if reply.turn is not None and reply.turn != question.turn:
        raise Decided(row.run, question, row.ruling)
    ruling = ruling_of(reply.action, who=_reviewer(bench.settings), why=reply.why, now=time.time())
    if reply.action == "retest":
        ruling = _with_name(ruling, row, question, reply=reply, bench=bench)
    counted = row.ruling or bench.state.runs.rule(question, ruling)
    if not _same(counted, ruling):
        raise Decided(row.run, question, counted)
    return counted


def _with_name(ruling: Ruling, row: RunRow, question: Question, *, reply: Reply, bench: Workbench) -> Ruling:
    from agent.review import refuse_retest, typed_candidate

    require_models(row, bench)
    candidate = typed_candidate(reply.name or "", bench.models.draw.card)
    named = ruling.model_copy(update={"name": candidate.name})
    if row.ruling is not None:
        return named
    refuse_retest(question, candidate)
    return named.model_copy(update={"retest": bench.state.runs.next_retest(row.request)})


def _same(counted: Ruling, ruling: Ruling) -> bool:
    """Whether both say the same: who repeats an interrupted command has not been overruled."""
    return (counted.who, counted.action, counted.name) == (ruling.who, ruling.action, ruling.name)


def carry_on(request: Request, run: str, *, bench: Workbench, emit: EventSink) -> Explanation:
    """An accepted run, wherever it stands, to its explanation; raises as ``agent.runs.name_feature`` does."""
    from agent.runs import continue_run

    with warnings.catch_warnings():
        # What libraries say to their callers is not for the person who names features.
        warnings.filterwarnings("ignore", module=LIBRARIES)
        desk = bench.desk()
        return continue_run(request, run, open_toolbox=lambda run: bench.toolbox(run, emit=emit), desk=desk)


def _bench_of(row: RunRow, state: State, *, settings: Settings) -> Workbench:
    """The workbench of a run that asks no proposer any more: who reviews needs no key."""
    chosen = settings.model_copy(update={"seed": row.request.settings.seed})
    bench = Workbench(chosen, state, listed=find_dictionary(row.request.feature.dictionary, settings))
    bench.proposer = Absent(row.request.proposer, row.request.proposer_fingerprint)
    return bench


def require_models(row: RunRow, bench: Workbench) -> None:
    """UsageError where a run was made with other models than the workbench has."""
    if bench.models.fingerprint != row.request.models:
        raise UsageError(
            f"Run {row.run} was made with other models or images than are chosen now; choose the same "
            "(--generator, --images), or name the feature anew."
        )


def _reviewer(settings: Settings) -> str:
    if settings.user is not None:
        return settings.user
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""

"""Runs and their explanations in Redis. Importing this module imports no torch and no langgraph."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, cast

from pydantic import ValidationError

from agent.feature_rows import FeatureRow
from agent.halting import Halt
from agent.records import Explanation, Question, Ruling
from agent.request import Request
from agent.run_brief import RunBrief
from tools import keys
from tools.errors import IntegrityError

if TYPE_CHECKING:
    import redis
    from redis.client import Pipeline

_AGAIN, _REQUEST, _ACCEPTED, _EXPLANATION = "again", "request", "accepted", "explanation"
_QUESTION, _RULING = "question", "ruling"
_BRIEF, _HALT = "brief", "halt"
WITHOUT_ANSWER = ("failed", "cancelled")
"""Verdicts of runs that found nothing out."""
CHANGES = 10_000
"""Changes kept for those who hold all lines of a dictionary; who missed more reads them all anew."""


class RunRow(NamedTuple):
    """One run, finished or not."""

    run: str
    request: Request
    accepted: float
    """Seconds since the epoch."""
    explanation: Explanation | None
    question: Question | None = None
    """The last name a person was asked about."""
    ruling: Ruling | None = None
    """What was said of it; None while it waits."""

    @property
    def waits(self) -> bool:
        """Whether the run waits for a person now."""
        return self.question is not None and self.ruling is None and self.explanation is None


class RunLine(NamedTuple):
    """One run, as a list of many shows it."""

    run: str
    request: Request
    accepted: float
    """Seconds since the epoch."""
    brief: RunBrief
    halt: Halt | None
    """What it is asked to do at its next step."""


class RunStore:
    """Accepted runs, and the answers that may be given again.

    An answer is returned for an equal request only: same feature, model fingerprints, proposer, limits, seed.
    """

    def __init__(self, client: redis.Redis) -> None:
        self.client = client

    def find(self, request: Request) -> Explanation | None:
        """The stored answer to an equal request, marked as stored; None where there is none."""
        told = cast("bytes | None", self.client.get(keys.explanation(request.key)))
        if told is None:
            return None
        return _explanation(told, request.run_id()).model_copy(update={"stored": True})

    def begin(self, request: Request, *, now: float, again: bool = False) -> str:
        """Write down that the request is accepted, before any work; the id of the run that serves it.

        An unfinished run is continued, also with ``again``, and no longer paused. ``again`` opens a new one
        beside a finished one; beside a cancelled one there is a new one in any case.
        """
        first = request.run_id()

        def write(pipe: Pipeline) -> str:
            held = cast("bytes | None", pipe.hget(keys.run(first), _AGAIN))
            attempt = int(held or 0)
            over = self._over(pipe, request.run_id(attempt))
            opens = over == "cancelled" or (over is not None and again)
            run = request.run_id(attempt + opens)
            halt = cast("bytes | None", pipe.hget(keys.run(run), _HALT))
            pipe.multi()
            if opens:
                pipe.hset(keys.run(first), _AGAIN, str(attempt + 1))
            if halt == b"pause":
                pipe.hdel(keys.run(run), _HALT)
            pipe.hsetnx(keys.run(run), _REQUEST, request.model_dump_json())
            pipe.hsetnx(keys.run(run), _ACCEPTED, repr(now))
            pipe.zadd(keys.runs(), {run: now}, nx=True)
            return run

        # Watched, so that two that ask at once do not open two runs.
        transaction = cast("Callable[..., str]", self.client.transaction)
        return transaction(write, keys.run(first), value_from_callable=True)

    def _over(self, pipe: Pipeline, run: str) -> str | None:
        """The verdict of a run that has ended."""
        told = cast("bytes | None", pipe.hget(keys.run(run), _EXPLANATION))
        return None if told is None else _explanation(told, run).verdict

    def finish(self, request: Request, explanation: Explanation, *, now: float) -> None:
        """File an explanation under its run and its feature; as the answer to its request, and as what is
        known of the feature, unless it failed: a failure takes no name away."""
        told, feature = explanation.model_dump_json(), explanation.feature
        line, brief = FeatureRow.of(explanation).model_dump_json(), RunBrief.of(explanation)
        with self.client.pipeline(transaction=True) as pipe:
            pipe.hset(keys.run(explanation.run), _EXPLANATION, told)
            pipe.hset(keys.run(explanation.run), _BRIEF, brief.model_dump_json())
            pipe.zrem(keys.waiting(), explanation.run)
            pipe.zadd(keys.explanations(str(feature)), {explanation.run: now})
            if explanation.verdict in WITHOUT_ANSWER:
                pipe.hsetnx(keys.named(feature.dictionary), str(feature.index), line)
            else:
                pipe.set(keys.explanation(request.key), told)
                pipe.hset(keys.named(feature.dictionary), str(feature.index), line)
            pipe.xadd(keys.named_changes(feature.dictionary), {"index": feature.index}, maxlen=CHANGES)
            pipe.execute()

    def note(self, run: str, brief: RunBrief) -> None:
        """Write down how far a run is."""
        self.client.hset(keys.run(run), _BRIEF, brief.model_dump_json())

    def has_steps(self, run: str) -> bool:
        """Whether a checkpoint of the run is kept."""
        return bool(self.client.exists(keys.checkpoint_order(run)))

    def halt(self, run: str, what: Halt | None) -> None:
        """Ask whoever works on a run to stop after the step in progress; None: not any more."""
        if what is None:
            self.client.hdel(keys.run(run), _HALT)
        else:
            self.client.hset(keys.run(run), _HALT, what)

    def halted(self, run: str) -> Halt | None:
        """What a run is asked to do at its next step."""
        told = cast("bytes | None", self.client.hget(keys.run(run), _HALT))
        return None if told is None else cast(Halt, told.decode())

    def lines(self, runs: Sequence[str], *, readable: bool = False) -> list[RunLine]:
        """Runs in brief, in their order, without those that were never accepted; ``readable``: and without
        those that another version recorded."""
        with self.client.pipeline(transaction=False) as pipe:
            for run in runs:
                pipe.hmget(keys.run(run), _REQUEST, _ACCEPTED, _BRIEF, _HALT)
                pipe.hexists(keys.run(run), _EXPLANATION)
            told = pipe.execute()
        found = zip(runs, told[::2], told[1::2], strict=True)
        lines: list[RunLine] = []
        for run, held, over in found:
            with contextlib.suppress(*((IntegrityError,) if readable else ())):
                lines += [] if held[0] is None else [self._line(run, held, over=over)]
        return lines

    def _line(self, run: str, held: Sequence[bytes | None], *, over: bool) -> RunLine:
        request, accepted, told, halt = held
        try:
            brief = RunBrief() if told is None else RunBrief.model_validate_json(told)
            asked = Request.model_validate_json(request or b"")
        except ValidationError as error:
            raise _foreign(run) from error
        if over and brief.verdict is None and (explanation := self.explanation(run)) is not None:
            # An older version filed it, and kept no line.
            brief = RunBrief.of(explanation)
            self.note(run, brief)
        stop = None if halt is None else cast(Halt, halt.decode())
        return RunLine(run, asked, float(accepted or 0.0), brief, stop)

    def ask(self, question: Question, *, now: float) -> Question:
        """Write down that a run waits for a person; the question as it was first written."""
        row = self.row(question.run)
        if row is not None and row.question is not None and row.question.turn == question.turn:
            return row.question
        with self.client.pipeline(transaction=True) as pipe:
            pipe.hset(keys.run(question.run), _QUESTION, question.model_dump_json())
            pipe.zadd(keys.waiting(), {question.run: now})
            pipe.execute()
        return question

    def rule(self, question: Question, ruling: Ruling) -> Ruling:
        """Write down a ruling; the one that counts, which is the first."""
        field, told = f"{_RULING}:{question.turn}", ruling.model_dump_json()
        if self.client.hsetnx(keys.run(question.run), field, told):
            self.client.zrem(keys.waiting(), question.run)
            return ruling
        found = self.ruling(question.run, question.turn)
        return ruling if found is None else found

    def ruling(self, run: str, turn: int) -> Ruling | None:
        """What was said of a run's name number ``turn``; None while nothing was."""
        told = cast("bytes | None", self.client.hget(keys.run(run), f"{_RULING}:{turn}"))
        return None if told is None else Ruling.model_validate_json(told)

    def next_retest(self, request: Request) -> int:
        """A number that no retest of this feature, with these models and this seed, has had."""
        counter = keys.retests(str(request.feature), request.models, request.settings.seed)
        return int(self.client.incr(counter))

    def waiting(self) -> list[Question]:
        """What people are asked now, the oldest first."""
        runs = cast("list[bytes]", self.client.zrange(keys.waiting(), 0, -1))
        rows = [self.row(run.decode()) for run in runs]
        return [row.question for row in rows if row is not None and row.waits and row.question is not None]

    def row(self, run: str) -> RunRow | None:
        """What is known of a run; None for an id that was never accepted."""
        held = cast("dict[bytes, bytes]", self.client.hgetall(keys.run(run)))
        if _REQUEST.encode() not in held:
            return None
        told = held.get(_EXPLANATION.encode())
        try:
            request = Request.model_validate_json(held[_REQUEST.encode()])
        except ValidationError as error:
            raise _foreign(run) from error
        question, ruling = _asked(held, run)
        explanation = None if told is None else _explanation(told, run)
        return RunRow(run, request, float(held[_ACCEPTED.encode()]), explanation, question, ruling)

    def explanation(self, run: str) -> Explanation | None:
        """What a run came to; None where it has not ended."""
        told = cast("bytes | None", self.client.hget(keys.run(run), _EXPLANATION))
        return None if told is None else _explanation(told, run)

    def of_feature(self, feature: str, *, count: int = 10) -> list[Explanation]:
        """Explanations of a feature ('dictionary#index'), latest first."""
        runs = cast("list[bytes]", self.client.zrevrange(keys.explanations(feature), 0, count - 1))
        rows = [self.row(run.decode()) for run in runs]
        return [row.explanation for row in rows if row is not None and row.explanation is not None]

    def latest(self, *, count: int = 20) -> list[str]:
        """Ids of the runs accepted last, latest first."""
        return [run.decode() for run in cast("list[bytes]", self.client.zrevrange(keys.runs(), 0, count - 1))]


def _foreign(run: str) -> IntegrityError:
    return IntegrityError(
        f"Run {run} was recorded by another version of namesae; name the feature again with --again."
    )


def _asked(held: dict[bytes, bytes], run: str) -> tuple[Question | None, Ruling | None]:
    told = held.get(_QUESTION.encode())
    if told is None:
        return None, None
    try:
        question = Question.model_validate_json(told)
        ruled = held.get(f"{_RULING}:{question.turn}".encode())
        return question, None if ruled is None else Ruling.model_validate_json(ruled)
    except ValidationError as error:
        raise IntegrityError(
            f"The review of run {run} cannot be read by this version; name it again with --again."
        ) from error


def _explanation(told: bytes, run: str) -> Explanation:
    try:
        return Explanation.model_validate_json(told)
    except ValidationError as error:
        raise IntegrityError(
            f"The explanation of run {run} cannot be read by this version; name it again with --again."
        ) from error

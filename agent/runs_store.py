"""Runs and their explanations in Redis. Importing this module imports no torch and no langgraph."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

from pydantic import ValidationError

from agent.records import Explanation, Question, Ruling
from agent.request import Request
from tools import keys
from tools.errors import IntegrityError

if TYPE_CHECKING:
    import redis

_AGAIN, _REQUEST, _ACCEPTED, _EXPLANATION = "again", "request", "accepted", "explanation"
_QUESTION, _RULING = "question", "ruling"


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

        An unfinished run is continued, also with ``again``; ``again`` opens a new one beside a finished one.
        """
        run = request.run_id(self._attempt(request))
        if again and self.client.hexists(keys.run(run), _EXPLANATION):
            attempt = self.client.hincrby(keys.run(request.run_id()), _AGAIN, 1)
            run = request.run_id(attempt)
        with self.client.pipeline(transaction=True) as pipe:
            pipe.hsetnx(keys.run(run), _REQUEST, request.model_dump_json())
            pipe.hsetnx(keys.run(run), _ACCEPTED, repr(now))
            pipe.zadd(keys.runs(), {run: now}, nx=True)
            pipe.execute()
        return run

    def finish(self, request: Request, explanation: Explanation, *, now: float) -> None:
        """File an explanation under its run and its feature; as the answer to its request unless it
        failed."""
        told = explanation.model_dump_json()
        with self.client.pipeline(transaction=True) as pipe:
            pipe.hset(keys.run(explanation.run), _EXPLANATION, told)
            pipe.zadd(keys.explanations(str(explanation.feature)), {explanation.run: now})
            if explanation.verdict not in ("failed", "cancelled"):
                pipe.set(keys.explanation(request.key), told)
            pipe.execute()

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
            raise IntegrityError(
                f"Run {run} was recorded by another version of namesae; name the feature again with --again."
            ) from error
        question, ruling = _asked(held, run)
        explanation = None if told is None else _explanation(told, run)
        return RunRow(run, request, float(held[_ACCEPTED.encode()]), explanation, question, ruling)

    def of_feature(self, feature: str, *, count: int = 10) -> list[Explanation]:
        """Explanations of a feature ('dictionary#index'), latest first."""
        runs = cast("list[bytes]", self.client.zrevrange(keys.explanations(feature), 0, count - 1))
        rows = [self.row(run.decode()) for run in runs]
        return [row.explanation for row in rows if row is not None and row.explanation is not None]

    def latest(self, *, count: int = 20) -> list[str]:
        """Ids of the runs accepted last, latest first."""
        return [run.decode() for run in cast("list[bytes]", self.client.zrevrange(keys.runs(), 0, count - 1))]

    def _attempt(self, request: Request) -> int:
        told = cast("bytes | None", self.client.hget(keys.run(request.run_id()), _AGAIN))
        return 0 if told is None else int(told)


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

"""The client's calls about batches, evaluations and reviews."""

from __future__ import annotations

from urllib.parse import quote

from agent.records import Question
from evals.scoreboard import Scoreboard
from namesae.client_wire import Wire
from namesae.service.api_records import (
    BatchList,
    BatchRowPage,
    DisagreementList,
    EvalAccepted,
    EvalList,
    NextPair,
    QuestionList,
    VoteList,
    VoteRequest,
)
from namesae.service.batches import BatchStatus
from namesae.service.evaluation_records import Comparison, EvalStatus, Measure
from namesae.service.orders import BatchOrder, EvalOrder
from namesae.service.review_records import Asking, Disagreement, Pair, Vote


class BatchCalls:
    """Many features at once."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def start(self, order: BatchOrder, *, key: str | None = None) -> BatchStatus:
        """Name many features; QueueFull."""
        return self._wire.post(BatchStatus, "/batches", order, key=key)

    def list(self, *, limit: int = 50) -> tuple[BatchStatus, ...]:
        """Batches, latest first."""
        return self._wire.get(BatchList, "/batches", limit=limit).batches

    def get(self, batch: str) -> BatchStatus:
        """How it stands; NotFound."""
        return self._wire.get(BatchStatus, _path("batches", batch))

    def rows(self, batch: str, *, cursor: int = -1, limit: int = 200) -> BatchRowPage:
        """Its features that have a verdict."""
        return self._wire.get(BatchRowPage, f"{_path('batches', batch)}/rows", cursor=cursor, limit=limit)

    def pause(self, batch: str) -> BatchStatus:
        """Stop it after the step in progress."""
        return self._wire.post(BatchStatus, f"{_path('batches', batch)}/pause")

    def cancel(self, batch: str) -> BatchStatus:
        """End it."""
        return self._wire.post(BatchStatus, f"{_path('batches', batch)}/cancel")

    def resume(self, batch: str) -> BatchStatus:
        """Go on with it."""
        return self._wire.post(BatchStatus, f"{_path('batches', batch)}/resume")


class EvalCalls:
    """Suites against ground truth."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def start(self, order: EvalOrder, *, key: str | None = None) -> EvalAccepted:
        """Run what is missing of a suite; QueueFull."""
        return self._wire.post(EvalAccepted, "/evals", order, key=key)

    def list(self, *, limit: int = 50) -> EvalList:
        """Evaluations, latest first, and the suites."""
        return self._wire.get(EvalList, "/evals", limit=limit)

    def get(self, evaluation: str) -> EvalStatus:
        """How it stands; NotFound."""
        return self._wire.get(EvalStatus, _path("evals", evaluation))

    def pause(self, evaluation: str) -> EvalStatus:
        """Stop it after the cell in progress."""
        return self._wire.post(EvalStatus, f"{_path('evals', evaluation)}/pause")

    def cancel(self, evaluation: str) -> EvalStatus:
        """End it."""
        return self._wire.post(EvalStatus, f"{_path('evals', evaluation)}/cancel")

    def resume(self, evaluation: str) -> EvalStatus:
        """Go on with it."""
        return self._wire.post(EvalStatus, f"{_path('evals', evaluation)}/resume")

    def scoreboard(self, evaluation: str) -> Scoreboard:
        """Every figure; NotFound."""
        return self._wire.get(Scoreboard, f"{_path('evals', evaluation)}/scoreboard")

    def leaderboard_csv(self, evaluation: str, *, group: str = "all") -> str:
        """The leaderboard as CSV."""
        return self._wire.text(f"{_path('evals', evaluation)}/leaderboard.csv", group=group)

    def comparison(self, evaluation: str, a: str, b: str, *, metric: Measure = "accuracy") -> Comparison:
        """One condition less another, feature by feature."""
        path = f"{_path('evals', evaluation)}/comparison"
        return self._wire.get(Comparison, path, a=a, b=b, metric=metric)

    def comparison_csv(self, evaluation: str, a: str, b: str, *, metric: Measure = "accuracy") -> str:
        """The same as CSV."""
        return self._wire.text(f"{_path('evals', evaluation)}/comparison.csv", a=a, b=b, metric=metric)


class ReviewCalls:
    """Names that wait, disagree, and are voted on."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def waiting(self) -> tuple[Question, ...]:
        """Names that wait for a ruling; rule by ``runs.rule``."""
        return self._wire.get(QuestionList, "/reviews").questions

    def asking(self, run: str) -> Asking:
        """What a run asks about; NotFound."""
        return self._wire.get(Asking, _path("reviews", run))

    def disagreements(self, dictionary: str, *, limit: int = 50) -> tuple[Disagreement, ...]:
        """Features with different names; NotFound."""
        query = {"dictionary": dictionary, "limit": limit}
        return self._wire.get(DisagreementList, "/disagreements", **query).disagreements

    def pair(self, dictionary: str) -> Pair | None:
        """Two names to choose between; None where none is left."""
        return self._wire.get(NextPair, "/votes/next", dictionary=dictionary).pair

    def vote(self, vote: VoteRequest) -> Vote:
        """Say which of two names fits better."""
        return self._wire.post(Vote, "/votes", vote)

    def votes(self, dictionary: str | None = None) -> VoteList:
        """The votes that count."""
        return self._wire.get(VoteList, "/votes", dictionary=dictionary)

    def votes_csv(self, dictionary: str | None = None) -> str:
        """The same as CSV."""
        return self._wire.text("/votes.csv", dictionary=dictionary)


def _path(kind: str, name: str) -> str:
    return f"/{kind}/{quote(name, safe='')}"

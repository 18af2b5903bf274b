"""The review desk: names that wait, names that disagree, votes between two names."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import PlainTextResponse

from namesae.service import api_examples as examples
from namesae.service.api_records import (
    DisagreementList,
    NextPair,
    QuestionList,
    VoteList,
    VoteRequest,
)
from namesae.service.api_words import (
    ONE_LINE,
    PREFIX,
    AnyDictionary,
    Limit,
    Reader,
    RunId,
    Runner,
    Served,
    answers,
    streams,
    strictly,
)
from namesae.service.review_records import Asking, Vote
from namesae.service.routes_dictionaries import attachment

router = APIRouter(prefix=PREFIX, tags=["reviews"])

OneDictionary = Annotated[str, Query(min_length=1, max_length=100, pattern=ONE_LINE, examples=["sandbox"])]


@router.get("/reviews", responses=answers(examples.QUESTIONS))
def list_reviews(service: Served, _: Reader) -> QuestionList:
    """Names that wait for a ruling, the oldest first; rule by POST /runs/{run}/review."""
    return QuestionList(questions=service.reviews.waiting())


@router.get("/reviews/{run}", responses=answers(None, 404, 409))
def get_review(run: RunId, service: Served, _: Reader) -> Asking:
    """The name that a run asks, or asked, about."""
    return service.reviews.asking(run)


@router.get("/disagreements", responses=answers(examples.DISAGREEMENTS, 404))
def list_disagreements(
    dictionary: OneDictionary, service: Served, _: Reader, limit: Limit = 50
) -> DisagreementList:
    """Features whose answers give different names, the most contested first."""
    return DisagreementList(disagreements=service.reviews.disagreements(dictionary, limit))


@router.get("/votes/next", responses=answers(examples.NEXT_PAIR, 404))
def next_pair(dictionary: OneDictionary, service: Served, who: Runner) -> NextPair:
    """Two names of one feature to choose between, without what found them."""
    return NextPair(pair=service.reviews.pair(dictionary, who=who.name))


@router.post("/votes", status_code=201, responses=answers(examples.VOTE, 404, 409, 413, status=201))
def cast_vote(vote: Annotated[VoteRequest, strictly(VoteRequest)], service: Served, who: Runner) -> Vote:
    """Write down which of two names fits better; the latest vote of a person on a pair counts."""
    return service.reviews.vote(
        vote.feature, who=who.name, choice=vote.choice, left=vote.left, right=vote.right, note=vote.note
    )


@router.get("/votes", responses=answers(examples.VOTES, 404))
def list_votes(service: Served, _: Reader, dictionary: AnyDictionary = None) -> VoteList:
    """The votes that count, and how often the names of each method were preferred."""
    votes = service.reviews.all_votes(dictionary)
    return VoteList(votes=votes, tallies=service.reviews.tallies(dictionary))


@router.get("/votes.csv", response_class=PlainTextResponse, responses=streams(("text/csv",), 404))
def export_votes(service: Served, _: Reader, dictionary: AnyDictionary = None) -> PlainTextResponse:
    """The votes that count as CSV."""
    text = service.reviews.export(dictionary)
    return PlainTextResponse(text, media_type="text/csv", headers=attachment("votes.csv"))

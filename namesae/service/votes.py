"""Votes in Redis: who preferred which name of a feature, and when."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from pydantic import ValidationError

from evals.table import FORMULA
from namesae.service.review_records import Tally, Vote
from tools import keys

if TYPE_CHECKING:
    import redis

COLUMNS = ("feature", "at", "who", "pair", "a", "b", "choice", "chosen", "a_by", "b_by", "note")


class VoteStore:
    """Every vote is kept; of one person's on one pair the latest counts."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def add(self, vote: Vote, *, now: float) -> None:
        """Write a vote down. ``now``: seconds since the epoch."""
        dictionary = vote.feature.rpartition("#")[0]
        with self._client.pipeline(transaction=True) as pipe:
            pipe.rpush(keys.votes(vote.feature), vote.model_dump_json())
            pipe.zadd(keys.voted(dictionary), {vote.feature: now})
            pipe.execute()

    def of_feature(self, feature: str) -> tuple[Vote, ...]:
        """The votes that count, in the order they were cast."""
        return _counting(cast("list[bytes]", self._client.lrange(keys.votes(feature), 0, -1)))

    def of_dictionary(self, dictionary: str) -> tuple[Vote, ...]:
        """The votes that count on all features of a dictionary, those voted on last first."""
        features = cast("list[bytes]", self._client.zrevrange(keys.voted(dictionary), 0, -1))
        with self._client.pipeline(transaction=False) as pipe:
            for feature in features:
                pipe.lrange(keys.votes(feature.decode()), 0, -1)
            found = pipe.execute()
        return tuple(vote for told in found for vote in _counting(told))


def votes_csv(votes: Iterable[Vote]) -> str:
    """A line a vote. A text that a spreadsheet would take for a formula gets an apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for vote in votes:
        told = {**vote.model_dump(), "chosen": vote.chosen or ""}
        writer.writerow([_inert(str(told[column])) for column in COLUMNS])
    return out.getvalue()


def tallies(votes: Iterable[Vote]) -> tuple[Tally, ...]:
    """By what found the names: how often preferred, most often first; votes within one method count not."""
    won, lost, tied = Counter[str](), Counter[str](), Counter[str]()
    for vote in votes:
        if vote.a_by == vote.b_by:
            continue
        if vote.choice == "tie":
            tied.update((vote.a_by, vote.b_by))
        elif vote.choice in ("a", "b"):
            won[vote.a_by if vote.choice == "a" else vote.b_by] += 1
            lost[vote.b_by if vote.choice == "a" else vote.a_by] += 1
    methods = sorted({*won, *lost, *tied}, key=lambda by: (-won[by], lost[by], by))
    return tuple(Tally(by=by, won=won[by], lost=lost[by], tied=tied[by]) for by in methods)


def _counting(told: Iterable[bytes]) -> tuple[Vote, ...]:
    latest: dict[tuple[str, frozenset[str]], Vote] = {}
    for each in told:
        vote = _parsed(each)
        if vote is not None:
            key = (vote.who, frozenset({vote.a, vote.b}))
            latest.pop(key, None)
            latest[key] = vote
    return tuple(latest.values())


def _parsed(told: bytes) -> Vote | None:
    """None for a vote of another version: it is kept, and counts for nothing here."""
    try:
        return Vote.model_validate_json(told)
    except ValidationError:
        return None


def _inert(text: str) -> str:
    return "'" + text if text.startswith((*FORMULA, "\t", "\r")) else text

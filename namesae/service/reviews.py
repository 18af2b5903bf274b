"""The review desk: names that wait for a person, features whose names disagree, and blind votes on them."""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

from agent.records import Question
from namesae.service.disagreements import Names
from namesae.service.errors import NotFound
from namesae.service.review_records import Asking, Choice, Disagreement, Pair, Tally, ToldName, Vote
from namesae.service.votes import VoteStore, tallies, votes_csv
from sae.feature import Exemplar, Feature
from tools.digest import digest
from tools.errors import UsageError

if TYPE_CHECKING:
    from agent.records import Evidence
    from namesae.service.features import Features
    from namesae.settings import Settings
    from namesae.wiring import State

EXEMPLARS = 12
PAIRS_OF_A_FEATURE = 6
"""Of its most often given names."""
MOST_NOTE = 400


class Reviews:
    """What people say of names; safe to call from several threads at once."""

    def __init__(self, settings: Settings, state: State, *, features: Features) -> None:
        from namesae.service.evaluations import Evaluations

        self._state, self._features = state, features
        self._names = Names(state, Evaluations(settings, state))
        self._votes = VoteStore(state.client)

    def waiting(self) -> tuple[Question, ...]:
        """Names that wait for a ruling, the oldest first."""
        return tuple(self._state.runs.waiting())

    def asking(self, run: str) -> Asking:
        """What a run asks, or last asked, a person. NotFound where it asks nothing."""
        row = self._state.runs.row(run)
        if row is None or row.question is None:
            raise NotFound(
                f"Run {run[:60]!r} asks nobody about a name; GET /api/v1/reviews lists those that do."
            )
        return Asking(question=row.question, ruling=row.ruling, ended=row.explanation is not None)

    def disagreements(self, dictionary: str, limit: int = 50) -> tuple[Disagreement, ...]:
        """Features whose answers give different names, the most contested first. NotFound.

        Answers are those of runs, whatever their seed and proposer, and of the methods of evaluations.
        """
        self._features.dictionary(dictionary)
        votes = Counter(
            int(vote.feature.rpartition("#")[2])
            for vote in self._votes.of_dictionary(dictionary)
            if vote.choice != "skip"
        )
        return tuple(self._names.disagreements(dictionary, votes=votes)[:limit])

    def pair(self, dictionary: str, *, who: str = "") -> Pair | None:
        """Two names of one feature that ``who`` has not looked at; None where there is none left. NotFound.

        The most contested features come first, and what found the names is left out.
        """
        seen = {
            (vote.feature, frozenset({vote.a, vote.b}))
            for vote in self._votes.of_dictionary(dictionary)
            if vote.who == who
        }
        open_ones = [
            _Open(each.feature, first, second)
            for each in self.disagreements(dictionary, limit=1_000)
            for first, second in _pairs(each.names)
            if (each.feature, frozenset({first.name, second.name})) not in seen
        ]
        return self._shown(open_ones[0], who=who, left=len(open_ones)) if open_ones else None

    def vote(self, feature: str, *, who: str, choice: Choice, left: str, right: str, note: str = "") -> Vote:
        """Write down which of two names fits a feature better; the latest of a person on a pair counts.

        NotFound where the feature was not given both names; UsageError where they are the same.
        """
        by_name = {each.name: each for each in self._names.of_feature(_feature(feature))}
        if left == right:
            raise UsageError(f"Both names are {left[:60]!r}; a vote compares two.")
        missing = next((name for name in (left, right) if name not in by_name), None)
        if missing is not None:
            raise NotFound(f"{feature} was never called {missing[:60]!r}; vote on names that it was given.")
        now = time.time()
        cast = Vote(
            feature=feature,
            pair=pair_id(feature, (left, right), who=who),
            a=left,
            b=right,
            choice=choice,
            who=who,
            at=datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds"),
            a_by=by_name[left].by,
            b_by=by_name[right].by,
            note=_plain(note)[:MOST_NOTE],
        )
        self._votes.add(cast, now=now)
        return cast

    def votes(self, feature: str) -> tuple[Vote, ...]:
        """The votes on one feature that count, in the order they were cast."""
        return self._votes.of_feature(str(_feature(feature)))

    def all_votes(self, dictionary: str | None = None) -> tuple[Vote, ...]:
        """The votes on a dictionary, or on all of them, that count."""
        names = [each.name for each in self._features.dictionaries()] if dictionary is None else [dictionary]
        return tuple(vote for name in names for vote in self._votes.of_dictionary(name))

    def export(self, dictionary: str | None = None) -> str:
        """The same as CSV."""
        return votes_csv(self.all_votes(dictionary))

    def tallies(self, dictionary: str | None = None) -> tuple[Tally, ...]:
        """By what found the names: how often people preferred it."""
        return tallies(self.all_votes(dictionary))

    def names(self, feature: str) -> tuple[ToldName, ...]:
        """Each different name of a feature with what found it, the most often given first."""
        return self._names.of_feature(_feature(feature))

    def _shown(self, chosen: _Open, *, who: str, left: int) -> Pair:
        both = (chosen.first.name, chosen.second.name)
        name = pair_id(chosen.feature, both, who=who)
        a, b = in_order(name, both)
        evidence = self._evidence(chosen.feature)
        ordered: tuple[Exemplar, ...] = ()
        if evidence is not None:
            ordered = tuple(sorted(evidence.exemplars, key=lambda each: -each.activation)[:EXEMPLARS])
        return Pair(
            id=name,
            feature=chosen.feature,
            a=a,
            b=b,
            exemplars=ordered,
            threshold=None if evidence is None else evidence.facts.threshold,
            left=left,
        )

    def _evidence(self, feature: str) -> Evidence | None:
        stored = self._state.runs.of_feature(feature)
        return next((each.evidence for each in stored if each.evidence and each.evidence.exemplars), None)


class _Open(NamedTuple):
    """A pair that nobody has to have voted on."""

    feature: str
    first: ToldName
    second: ToldName


def pair_id(feature: str, names: tuple[str, str], *, who: str) -> str:
    """The same for the same person and names, whichever came first."""
    return digest(feature=feature, names=sorted(names), who=who)[:20]


def in_order(pair: str, names: tuple[str, str]) -> tuple[str, str]:
    """Which of two names a pair shows on the left: by chance, and the same each time."""
    first, second = sorted(names)
    return (second, first) if int(digest(order=pair)[:8], 16) % 2 else (first, second)


def _pairs(names: tuple[ToldName, ...]) -> list[tuple[ToldName, ToldName]]:
    """The names given most often against each other first."""
    found = combinations(range(len(names)), 2)
    ordered = sorted(found, key=lambda each: (each[0] + each[1], each))
    return [(names[one], names[other]) for one, other in ordered[:PAIRS_OF_A_FEATURE]]


def _feature(text: str) -> Feature:
    dictionary, _, index = text.rpartition("#")
    if not dictionary or not (index.isascii() and index.isdecimal() and len(index) < 8):
        raise UsageError(f"{text[:60]!r} is no feature; write DICTIONARY#INDEX.")
    return Feature(dictionary=dictionary, index=int(index))


def _plain(text: str) -> str:
    """One line, without what a terminal or page would obey."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())

"""Hypotheses about a feature and what the measurements say of each: open, supported or refuted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from agent.hypothesis import Hypothesis as Hypothesis
from agent.hypothesis import HypothesisState as HypothesisState
from agent.hypothesis import Rung as Rung
from agent.hypothesis import Tally as Tally
from agent.records import Trial
from agent.reward import Scale, rewards

LEAST_FIRES, LEAST_RESTS = 4, 2
"""Images on which a hypothesis must have been put to the test, by what it says of them, to be supported."""
HELD, BROKEN = 0.6, 0.25
"""Mean reward from which images that should fire did, and below which they did not."""


class Pair(NamedTuple):
    """Two prompts that differ in one word, drawn with common seeds."""

    prompt: str
    other: str
    difference: float
    """Mean activation of the first less the second's, in units of the p99, seed by seed."""
    images: int
    """Seeds both were drawn with."""


def standing(fires: Tally, rests: Tally) -> HypothesisState:
    """Where a hypothesis stands by what was measured.

    Refuted: enough images that should fire do not, or enough that should rest fire. Supported: enough of both
    kinds do as it says.
    """
    did, rested = fires.rate, rests.rate
    if did is not None and fires.images >= LEAST_FIRES and did <= BROKEN:
        return "refuted"
    if rested is not None and rests.images >= LEAST_FIRES and rested >= 1 - BROKEN:
        return "refuted"
    enough = fires.images >= LEAST_FIRES and rests.images >= LEAST_RESTS
    if enough and did is not None and rested is not None and did >= HELD and rested <= 1 - HELD:
        return "supported"
    return "open"


def measured(claims: Iterable[str], trials: Sequence[Trial], *, scale: Scale) -> tuple[Hypothesis, ...]:
    """The hypotheses that proposals were made to test, in order, with what their images say."""
    found = []
    for claim in dict.fromkeys(claims):
        mine = [trial for trial in trials if trial.proposal.claim == claim]
        fires = _tally((trial for trial in mine if trial.proposal.expects == "fires"), scale)
        rests = _tally((trial for trial in mine if trial.proposal.expects == "rests"), scale)
        found.append(Hypothesis(claim=claim, state=standing(fires, rests), fires=fires, rests=rests))
    return tuple(found)


def believed(
    beliefs: Mapping[str, HypothesisState], trials: Sequence[Trial], *, scale: Scale
) -> tuple[Hypothesis, ...]:
    """What an author claims now and what trials were made to test, each as measured, the best first.

    ``beliefs``: claim to the state its author gives it; kept beside the measured one where they differ.
    """
    claims = [*beliefs, *(trial.proposal.claim for trial in trials if trial.proposal.claim)]
    found = [_beside(each, beliefs.get(each.claim)) for each in measured(claims, trials, scale=scale)]
    return tuple(sorted(found, key=lambda each: _ORDER[each.state]))


def minimal_pairs(trials: Sequence[Trial], *, scale: Scale) -> tuple[Pair, ...]:
    """Prompts that differ in one word and share seeds, the greatest difference first."""
    found = []
    for at, first in enumerate(trials):
        for second in trials[at + 1 :]:
            if _differ_in_one(first.proposal.prompt, second.proposal.prompt):
                found += _pair(first, second, scale)
    return tuple(sorted(found, key=lambda pair: -abs(pair.difference)))


_ORDER: Mapping[HypothesisState, int] = {"supported": 0, "open": 1, "refuted": 2}


def _beside(each: Hypothesis, state: HypothesisState | None) -> Hypothesis:
    return each if state in (None, each.state) else each.model_copy(update={"held": state})


def _pair(first: Trial, second: Trial, scale: Scale) -> list[Pair]:
    others = dict(zip(second.seeds, second.activations, strict=True))
    both = [
        (one, other)
        for seed, one in zip(first.seeds, first.activations, strict=True)
        if one is not None and (other := others.get(seed)) is not None
    ]
    if not both or scale.p99 <= 0:
        return []
    difference = sum(one - other for one, other in both) / len(both) / scale.p99
    return [Pair(first.proposal.prompt, second.proposal.prompt, difference, len(both))]


def _differ_in_one(first: str, second: str) -> bool:
    ours, theirs = first.split(), second.split()
    if abs(len(ours) - len(theirs)) > 1 or first == second:
        return False
    if len(ours) == len(theirs):
        return sum(one != other for one, other in zip(ours, theirs, strict=True)) == 1
    longer, shorter = (ours, theirs) if len(ours) > len(theirs) else (theirs, ours)
    return any(longer[:at] + longer[at + 1 :] == shorter for at in range(len(longer)))


def _tally(trials: Iterable[Trial], scale: Scale) -> Tally:
    earned = [each for trial in trials for each in rewards(trial.activations, scale)]
    return Tally(images=len(earned), earned=sum(earned))

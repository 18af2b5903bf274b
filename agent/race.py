"""The race: names against each other on fresh seeds, by what each predicts to fire and not to fire.

A name's score is its balanced accuracy over the images of its claims: half the mean reward where it says the
feature fires, half of one minus the mean reward where it says it does not. So a name that is too narrow
loses on the images of a wider one, which fire against its word, and a name that is too wide loses on its
own. Names share images wherever they share a prompt, and all prompts share seeds: comparisons are paired.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from agent.plans import Candidate
from agent.reward import Scale, reward
from agent.seeds import seeds_of
from agent.shots import Wanted, every
from agent.state import Shot
from sae.feature import Frozen
from tools.cards import FUNCTION_WORDS, words_of
from tools.protocols import Interval

Numbers = npt.NDArray[np.float64]
Claims = Mapping[str, bool]
"""Prompt to whether the name says that the feature fires on it."""
Arena = Callable[[Sequence[Wanted]], list[Shot]]
"""Draws and scores."""


class RaceRules(Frozen):
    """How a race is run."""

    seeds_per_heat: int = 2
    heats: int = 6
    own_prompts: int = 4
    """Most own prompts of one name that are drawn; an OR or NOT may have more."""
    own_images: int = 4
    """Images of its own prompts that the winner ends with at least, budget allowing."""
    resamples: int = 2000
    least_prompts: int = 4
    """Prompts on which two names differ before one can drop the other."""
    level: float = 0.95
    """Of the interval that drops a name."""
    level_of_first: float = 0.998
    """Of the one that drops the proposer's first choice, which has the whole search behind it."""
    drops: bool = True
    """Whether names drop out between heats; if not, those that are beaten do at the end."""


class Track(NamedTuple):
    """Where a race is run, and with what."""

    arena: Arena
    images: int
    """Most images."""
    scale: Scale
    """Of the feature: the unit of rewards."""
    seed: int
    """The run's."""
    first: int = 0
    """Index of its first seed: what another feature's race drew, the bank may have told."""
    rules: RaceRules = RaceRules()


class Standing(NamedTuple):
    """A name in the race."""

    candidate: Candidate
    claims: Claims
    rank: int
    """Place in the proposer's order; 0 is first."""


class Outcome(NamedTuple):
    """What a race ends with."""

    order: tuple[Candidate, ...]
    """Best first; the winner leads."""
    decided: bool
    """Whether the intervals left one name; otherwise the proposer's order chose among those left."""
    shots: tuple[Shot, ...]
    check: float | None = None
    """Self-check: balanced accuracy of what the winner predicted of its images, firing and resting."""


def claims_of(candidate: Candidate, rivals: Iterable[Candidate], *, own: int) -> Claims:
    """What a name claims of its own prompts, of those it lists, and of those that rivals say fire.

    A rival's prompt that holds all words of the name counts as one on which it fires; else, if the rival is
    wider, as one on which it rests: that is what being narrower means.
    """
    said = dict.fromkeys(candidate.prompts[:own], True)
    said |= dict.fromkeys(candidate.rests, False) | dict.fromkeys(candidate.fires, True)
    content = set(words_of(candidate.name)) - FUNCTION_WORDS
    for rival in rivals:
        for prompt in (*rival.prompts[:own], *rival.fires):
            if prompt not in said and candidate.kind in ("one", "and") and content <= set(words_of(prompt)):
                said[prompt] = True
            elif prompt not in said and rival.level < candidate.level:
                said[prompt] = False
    return said


def losses(claims: Claims, shots: Sequence[Shot], *, scale: Scale) -> Numbers:
    """(n,) what each usable image takes from a name's balanced accuracy; 1 less their sum is the score.

    A half without images counts as chance, 1/4, spread over all images. Losses and not gains are compared: an
    image of which a name says nothing, and one of which it is right, then weigh the same.
    """
    earned = np.array([reward(shot.activation or 0.0, scale) for shot in shots], dtype=np.float64)
    said = [claims.get(shot.prompt) for shot in shots]
    total = np.zeros(len(shots))
    for fires, wrong in ((True, 1.0 - earned), (False, earned)):
        mine = np.array([each is fires for each in said], dtype=bool)
        if mine.any():
            total[mine] += 0.5 * wrong[mine] / mine.sum()
        else:
            total += 0.25 / max(1, len(shots))
    return total


def paired(difference: Sequence[float], *, seed: int, resamples: int, level: float) -> Interval:
    """Bootstrap interval of the sum of a difference of losses, given for each prompt in each heat.

    A prompt's images of one heat are resampled together: they succeed or fail together.
    """
    units = np.array(difference, dtype=np.float64)
    picks = np.random.default_rng(seed).integers(len(units), size=(resamples, len(units)))
    tails = (50 * (1 - level), 50 * (1 + level))
    low, high = np.percentile(units[picks].sum(axis=1), tails)
    return Interval(low=float(low), high=float(high))


def run_race(candidates: Sequence[Candidate], track: Track) -> Outcome:
    """Heats on fresh seeds until the intervals leave one name or the images are used up.

    After each heat the names that lie below the leader for sure drop out, and of more than two the worse
    half, but never the proposer's first choice without an interval against it. ``candidates``: its best
    first.
    """
    race = _Race(candidates, track)
    standing = race.field
    for heat in range(track.rules.heats):
        if (len(standing) < 2 and heat > 0) or not race.run_heat(standing, heat):
            break
        if not race.stirred():
            break
        standing = race.cut(standing) if track.rules.drops else standing
    if not standing:
        return Outcome((), False, ())
    standing = standing if track.rules.drops else race.unbeaten(standing)
    winner = min(standing, key=lambda each: each.rank)
    if race.stirred() or not race.shots:
        race.top_up(winner)
    order = sorted(race.field, key=lambda each: (each is not winner, -race.score(each), each.rank))
    decided = len(standing) == 1 and len(race.field) > 1
    names = tuple(each.candidate for each in order)
    return Outcome(names, decided, tuple(race.shots.values()), race.score(winner))


class _Race:
    def __init__(self, candidates: Sequence[Candidate], track: Track) -> None:
        own = track.rules.own_prompts
        self.track = track
        self.field = [
            Standing(each, claims_of(each, (*candidates[:at], *candidates[at + 1 :]), own=own), at)
            for at, each in enumerate(candidates)
        ]
        self.shots: dict[Wanted, Shot] = {}
        self._heat_of: dict[int, int] = {}

    def run_heat(self, standing: Sequence[Standing], heat: int) -> bool:
        """Draw a heat's images; False when nothing more can be drawn or would tell the names apart."""
        prompts = _telling(standing, first=heat == 0)
        rules = self.track.rules
        seeds = min(rules.seeds_per_heat, self._left // max(1, len(prompts)))
        if seeds == 0 and heat == 0:
            prompts, seeds = prompts[: self._left], 1
        start = self.track.first + heat * rules.seeds_per_heat
        fresh = seeds_of(self.track.seed, "race", start=start, count=seeds)
        self._heat_of |= dict.fromkeys(fresh, heat)
        if len(standing) > 1:
            return self._draw(every(prompts, fresh))
        # One name alone checks itself: its own prompts are wanted for its score as well.
        own = [prompt for prompt in prompts if prompt in standing[0].candidate.prompts]
        checks = [prompt for prompt in prompts if prompt not in own]
        return self._draw([*every(own, fresh), *every(checks, fresh[:1])])

    def unbeaten(self, standing: Sequence[Standing]) -> list[Standing]:
        """The names that do not lie below the leader for sure."""
        usable = self._usable()
        if not usable:
            return list(standing)
        lost = {each.rank: losses(each.claims, usable, scale=self.track.scale) for each in standing}
        leader = min(standing, key=lambda each: (lost[each.rank].sum(), each.rank))
        return [each for each in standing if each is leader or not self._beaten(lost, each, leader=leader)]

    def cut(self, standing: Sequence[Standing]) -> list[Standing]:
        """The names that stay: of more than two that are not beaten, the better half and the first choice."""
        left = self.unbeaten(standing)
        if len(left) <= 2:
            return left
        better = sorted(left, key=lambda each: (-self.score(each), each.rank))[: (len(left) + 1) // 2]
        favourite = min(left, key=lambda each: each.rank)
        return sorted({each.rank: each for each in (*better, favourite)}.values(), key=lambda each: each.rank)

    def stirred(self) -> bool:
        """Whether any image earned half a reward: where none does, more images would decide nothing."""
        return any(reward(shot.activation or 0.0, self.track.scale) >= 0.5 for shot in self._usable())

    def top_up(self, winner: Standing) -> None:
        """Draw more of the winner's own images where it has few: its search score stands on them."""
        own = winner.candidate.prompts[: self.track.rules.own_prompts]
        have = sum(shot.prompt in own for shot in self._usable())
        missing = min(self._left, self.track.rules.own_images - have)
        if missing > 0:
            count = 2 * self.track.rules.own_images
            seeds = seeds_of(self.track.seed, "race", start=self.track.first, count=count)
            wanted = [Wanted(prompt, seed) for seed in seeds for prompt in own]
            self._draw([want for want in wanted if want not in self.shots][:missing])

    def score(self, each: Standing) -> float:
        """Balanced accuracy so far."""
        return 1.0 - float(losses(each.claims, self._usable(), scale=self.track.scale).sum())

    @property
    def _left(self) -> int:
        return self.track.images - sum(shot.charged for shot in self.shots.values())

    def _usable(self) -> list[Shot]:
        return [shot for shot in self.shots.values() if shot.activation is not None]

    def _draw(self, wanted: Sequence[Wanted]) -> bool:
        fresh = [want for want in wanted if want not in self.shots]
        if fresh:
            self.shots |= dict(zip(fresh, self.track.arena(fresh), strict=True))
        return bool(fresh)

    def _beaten(self, lost: Mapping[int, Numbers], other: Standing, *, leader: Standing) -> bool:
        rules, units = self.track.rules, Counter[tuple[str, int]]()
        for shot, first, second in zip(self._usable(), lost[leader.rank], lost[other.rank], strict=True):
            if leader.claims.get(shot.prompt) != other.claims.get(shot.prompt):
                units[shot.prompt, self._heat_of[shot.seed]] += second - first
        if len({prompt for prompt, _ in units}) < rules.least_prompts:
            return False
        level = rules.level if other.rank else rules.level_of_first
        told = list(units.values())
        return paired(told, seed=self.track.seed, resamples=rules.resamples, level=level).low > 0


def _telling(standing: Sequence[Standing], *, first: bool) -> list[str]:
    """Prompts on which the names differ, in the first heat after their own: names before predictions."""
    own = [prompt for each in standing for prompt in each.candidate.prompts if prompt in each.claims]
    said = dict.fromkeys(prompt for each in standing for prompt in each.claims)
    apart = [prompt for prompt in said if len({each.claims.get(prompt) for each in standing}) > 1]
    apart = apart if len(standing) > 1 else list(said)
    return list(dict.fromkeys([*own, *apart])) if first else apart

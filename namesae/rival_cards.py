"""The rivals of a race side by side: what each claimed, what was drawn for it, and why it lost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from agent.plans import Candidate
from agent.race import Claims, RaceRules, claims_of, losses
from agent.reward import rewards
from agent.state import Shot
from namesae.tiles import Pictures, Tile
from namesae.traces import Race


class Drawn(NamedTuple):
    """A prompt of the race and its pictures, strongest first."""

    prompt: str
    tiles: tuple[Tile, ...]
    fires: tuple[str, ...] = ()
    """Names that claim the feature fires on it."""
    rests: tuple[str, ...] = ()
    """Names that claim it does not."""


class RivalCard(NamedTuple):
    """One name that raced."""

    name: str
    is_winner: bool
    why: str
    own: tuple[Drawn, ...]
    silent: tuple[str, ...]
    """Prompts on which it claims the feature fires, and it mostly did not."""
    loud: tuple[str, ...]
    """Prompts on which it claims the feature rests, and it mostly fired."""


class RaceView(NamedTuple):
    """A race as a page shows it."""

    rivals: tuple[RivalCard, ...]
    """The winner first."""
    others: tuple[Drawn, ...]
    """Prompts that are no rival's own: what they predicted of each other's ground."""


class _Told(NamedTuple):
    claims: Claims
    score: float
    silent: tuple[str, ...]
    loud: tuple[str, ...]
    tested: int


def race_view(race: Race | None, pictures: Pictures, *, threshold: float) -> RaceView | None:
    """The race with its pictures; None where there are none to show."""
    if race is None or not race.record.shots:
        return None
    told = [_told(race, at) for at in range(len(race.candidates))]
    places = {rival.name: place for place, rival in enumerate(race.record.rivals)}
    order = sorted(range(len(told)), key=lambda at: places.get(race.candidates[at].name, len(places)))
    drawn = _drawn(race.record.shots, pictures, threshold=threshold)
    own = {prompt for each in race.candidates for prompt in _own(each)}
    cards = tuple(_card(race, told, at=at, drawn=drawn) for at in order)
    said = [(race.candidates[at].name, told[at].claims) for at in order]
    others = tuple(_said(each, said) for prompt, each in drawn.items() if prompt not in own)
    return RaceView(cards, others)


def _told(race: Race, at: int) -> _Told:
    candidates = race.candidates
    rivals = (*candidates[:at], *candidates[at + 1 :])
    claims = claims_of(candidates[at], rivals, own=RaceRules().own_prompts)
    usable = [shot for shot in race.record.shots if shot.activation is not None]
    score = 1.0 - float(losses(claims, usable, scale=race.scale).sum())
    earned = {
        prompt: rewards((shot.activation for shot in usable if shot.prompt == prompt), race.scale)
        for prompt in claims
    }
    fired = {prompt: sum(each) / len(each) >= 0.5 for prompt, each in earned.items() if each}
    silent = tuple(prompt for prompt, did in fired.items() if claims[prompt] and not did)
    loud = tuple(prompt for prompt, did in fired.items() if did and not claims[prompt])
    return _Told(claims, score, silent, loud, len(fired))


def _card(race: Race, told: Sequence[_Told], *, at: int, drawn: Mapping[str, Drawn]) -> RivalCard:
    candidate, mine = race.candidates[at], told[at]
    own = tuple(drawn[prompt] for prompt in _own(candidate) if prompt in drawn)
    is_winner = race.record.winner is not None and candidate.name == race.record.winner.name
    return RivalCard(candidate.name, is_winner, _why(race, told, at=at), own, mine.silent, mine.loud)


def _why(race: Race, told: Sequence[_Told], *, at: int) -> str:
    mine, winner = told[at], race.record.winner
    if not mine.tested:
        return "Nothing it claims was drawn."
    failed = len(mine.silent) + len(mine.loud)
    counted = f"{failed} of its {mine.tested} claims failed"
    first = next((n for n, each in enumerate(race.candidates) if winner and each.name == winner.name), at)
    if first == at:
        return f"Balanced accuracy {mine.score:.2f}; {counted}."
    best = told[first].score
    against = f"Balanced accuracy {mine.score:.2f} against {best:.2f}; {counted}."
    if mine.score < best:
        return against + _width(mine)
    if at > first:
        return f"{against} Not worse than the winner, which the proposer had put before it."
    return f"{against} Dropped in a heat; not worse on all the pictures drawn in the end."


def _width(told: _Told) -> str:
    if told.loud and not told.silent:
        return " Too narrow: the feature fires where it says it rests."
    if told.silent and not told.loud:
        return " Too wide: the feature rests where it says it fires."
    return ""


def _own(candidate: Candidate) -> tuple[str, ...]:
    return candidate.prompts[: RaceRules().own_prompts]


def _drawn(shots: Iterable[Shot], pictures: Pictures, *, threshold: float) -> dict[str, Drawn]:
    groups: dict[str, list[Shot]] = {}
    for shot in shots:
        groups.setdefault(shot.prompt, []).append(shot)
    return {
        prompt: Drawn(
            prompt, tuple(_tile(shot, pictures, threshold=threshold) for shot in sorted(group, key=_strength))
        )
        for prompt, group in groups.items()
    }


def _strength(shot: Shot) -> float:
    return 1.0 if shot.activation is None else -shot.activation


def _tile(shot: Shot, pictures: Pictures, *, threshold: float) -> Tile:
    title = f"seed {shot.seed}" if shot.fault is None else f"seed {shot.seed}: {shot.fault}"
    return pictures.tile(shot.image, shot.activation, threshold=threshold, title=title)


def _said(drawn: Drawn, said: Sequence[tuple[str, Claims]]) -> Drawn:
    fires = tuple(name for name, claims in said if claims.get(drawn.prompt) is True)
    rests = tuple(name for name, claims in said if claims.get(drawn.prompt) is False)
    return drawn._replace(fires=fires, rests=rests)

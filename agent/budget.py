"""Limits, what was spent, and the one place that grants, trims or refuses. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field, model_validator

from agent.records import Cost, ImageCount, Proposal
from sae.feature import Frozen

Limit = Literal["images", "rounds", "llm_calls", "tokens", "usd", "seconds"]
LLM_LIMITS: frozenset[Limit] = frozenset({"llm_calls", "tokens", "usd", "seconds"})
"""Limits that forbid asking a proposer that costs; the search may still conclude without it."""


class Limits(Frozen):
    """What a run may use at most; None is no limit."""

    images: int = Field(default=100, ge=1)
    """Images of the search, race included."""
    race_images: int = Field(default=36, ge=0)
    """Part of ``images`` that the search leaves for the race."""
    sealed: int = Field(default=50, ge=2)
    """Images of the judge, beside ``images``."""
    rounds: int = Field(default=12, ge=1)
    """Plans asked of the proposer."""
    llm_calls: int | None = 24
    tokens: int | None = None
    usd: float | None = 0.10
    seconds: float | None = None

    @model_validator(mode="after")
    def _leaves_images_to_search(self) -> Limits:
        if self.race_images >= self.images:
            raise ValueError(
                f"race_images {self.race_images} leaves nothing of images {self.images} to search; lower it."
            )
        return self

    @classmethod
    def of(cls, images: int, *, usd: float | None = 0.10, sealed: int = 50) -> Limits:
        """Limits for ``images`` search images, the race's part in proportion."""
        return cls(images=images, race_images=images * 36 // 100, usd=usd, sealed=sealed)


class Usage(Frozen):
    """What asking the proposer used. Unknown is None, never 0; unknown plus anything stays unknown."""

    calls: int = 0
    prompt_tokens: int | None = 0
    completion_tokens: int | None = 0
    usd: float | None = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            calls=self.calls + other.calls,
            prompt_tokens=_sum(self.prompt_tokens, other.prompt_tokens),
            completion_tokens=_sum(self.completion_tokens, other.completion_tokens),
            usd=_sum(self.usd, other.usd),
        )


class Spent(Frozen):
    """What a run has used so far."""

    search: int = 0
    """Images asked for by search and race."""
    sealed: int = 0
    rounds: int = 0
    usage: Usage = Usage()
    seconds: float = 0.0

    def cost(self) -> Cost:
        """The part of it that is told as cost."""
        return Cost(
            llm_calls=self.usage.calls,
            prompt_tokens=self.usage.prompt_tokens,
            completion_tokens=self.usage.completion_tokens,
            usd=self.usage.usd,
            seconds=round(self.seconds, 3),
        )

    def images(self, drawn: int) -> ImageCount:
        """The part of it that is told as images."""
        return ImageCount(
            search=self.search, sealed=self.sealed, charged=self.search + self.sealed, drawn=drawn
        )


class Refusal(Frozen):
    """A prompt that was not granted, and why; told to the proposer."""

    prompt: str
    why: str


class Grant(Frozen):
    """What of a plan may be done."""

    proposals: tuple[Proposal, ...] = ()
    refused: tuple[Refusal, ...] = ()


def images_left(limits: Limits, spent: Spent, *, race: bool = False) -> int:
    """Images that may still be asked for: by the race all that is left, by the search less its reserve."""
    reserve = 0 if race else limits.race_images
    return max(0, limits.images - reserve - spent.search)


def exhausted(limits: Limits, spent: Spent, *, per_prompt: int) -> Limit | None:
    """The first limit that forbids another round of search, or None."""
    tokens = _sum(spent.usage.prompt_tokens, spent.usage.completion_tokens)
    if images_left(limits, spent) < per_prompt:
        return "images"
    used: tuple[tuple[Limit, float | None, float | None], ...] = (
        ("rounds", spent.rounds, limits.rounds),
        ("llm_calls", spent.usage.calls, limits.llm_calls),
        ("tokens", tokens, limits.tokens),
        ("usd", spent.usage.usd, limits.usd),
        ("seconds", spent.seconds, limits.seconds),
    )
    reached = (
        name for name, now, most in used if most is not None and now is not None and 0 < most <= now
    )
    return next(reached, None)


def may_ask(limits: Limits, spent: Spent) -> bool:
    """Whether a proposer that costs may be asked once more."""
    calls, usd, seconds = spent.usage.calls, spent.usage.usd, spent.seconds
    tokens = _sum(spent.usage.prompt_tokens, spent.usage.completion_tokens)
    pairs = ((calls, limits.llm_calls), (tokens, limits.tokens), (usd, limits.usd), (seconds, limits.seconds))
    return all(most is None or now is None or now < most for now, most in pairs)


def grant(
    proposals: Sequence[Proposal], limits: Limits, spent: Spent, *, per_prompt: int, drawn: dict[str, int]
) -> Grant:
    """Trim a plan to the images left; ``drawn`` says how often each prompt was drawn before.

    Refused: an empty prompt, one asked twice in a plan, one drawn ``REPEATS`` times already, and all beyond the
    budget.
    """
    granted: list[Proposal] = []
    refused: list[Refusal] = []
    for proposal in proposals:
        why = _objection(proposal, granted, limits=limits, spent=spent, per_prompt=per_prompt, drawn=drawn)
        if why is None:
            granted.append(proposal)
        else:
            refused.append(Refusal(prompt=proposal.prompt, why=why))
    return Grant(proposals=tuple(granted), refused=tuple(refused))


REPEATS = 3
"""Times one prompt may be drawn in a search, with fresh seeds each time."""


def _sum(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first + second

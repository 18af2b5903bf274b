"""Limits, what was spent, and the one place that grants, trims or refuses. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from pydantic import Field, model_validator

from agent.records import Cost, ImageCount, Proposal
from sae.feature import Frozen

Limit = Literal["images", "rounds", "seconds", "llm_calls", "tokens", "usd"]

REPEATS = 3
"""Times one prompt may be drawn in a search, with fresh seeds each time."""


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
    llm_calls: int | None = Field(default=24, ge=0)
    tokens: int | None = Field(default=None, ge=0)
    usd: float | None = Field(default=0.10, ge=0.0)
    seconds: float | None = Field(default=None, gt=0.0)

    @model_validator(mode="after")
    def _leaves_images_to_search(self) -> Limits:
        if self.race_images >= self.images:
            raise ValueError(
                f"race_images {self.race_images} leaves nothing of images {self.images} to search; lower it."
            )
        return self

    @classmethod
    def of(cls, images: int, *, usd: float | None = 0.10, sealed: int = 50) -> Limits:
        """Limits for ``images`` search images, the race's part in the default proportion."""
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
            prompt_tokens=_both(self.prompt_tokens, other.prompt_tokens),
            completion_tokens=_both(self.completion_tokens, other.completion_tokens),
            usd=None if self.usd is None or other.usd is None else self.usd + other.usd,
        )

    @property
    def tokens(self) -> int | None:
        """Prompt and completion tokens together."""
        return _both(self.prompt_tokens, self.completion_tokens)


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
    """A prompt that was not granted, or a plan that made no sense, and why; told to the proposer."""

    prompt: str
    why: str


class Grant(Frozen):
    """What of a plan may be done."""

    proposals: tuple[Proposal, ...] = ()
    refused: tuple[Refusal, ...] = ()


class Budget(NamedTuple):
    """Limits beside what was spent: the only thing that says yes or no."""

    limits: Limits
    spent: Spent
    per_prompt: int = 2
    """Images a prompt gets each time it is drawn."""

    def left(self, *, race: bool = False) -> int:
        """Images that may still be asked for: all that is left in the race, less its reserve before it."""
        reserve = 0 if race else self.limits.race_images
        return max(0, self.limits.images - reserve - self.spent.search)

    def exhausted(self, *, paid: bool) -> Limit | None:
        """The first limit that forbids another round of search; ``paid``: the proposer costs money."""
        if self.left() < self.per_prompt:
            return "images"
        limits, spent = self.limits, self.spent
        if spent.rounds >= limits.rounds:
            return "rounds"
        if limits.seconds is not None and spent.seconds >= limits.seconds:
            return "seconds"
        return self._paid_out() if paid else None

    def may_ask(self, *, paid: bool) -> bool:
        """Whether the proposer may be asked once more, if only to conclude."""
        return not paid or self._paid_out() is None

    def grant(self, proposals: Sequence[Proposal], drawn: Mapping[str, int]) -> Grant:
        """Trim a plan; ``drawn`` says how often each prompt was drawn before.

        Refused: an empty prompt, one that stands twice in the plan, one drawn REPEATS times already, and all
        beyond the images left.
        """
        granted: dict[str, Proposal] = {}
        refused: list[Refusal] = []
        for proposal in proposals:
            why = self._objection(proposal.prompt, granted, drawn=drawn)
            if why is None:
                granted[proposal.prompt] = proposal
            else:
                refused.append(Refusal(prompt=proposal.prompt, why=why))
        return Grant(proposals=tuple(granted.values()), refused=tuple(refused))

    def _objection(
        self, prompt: str, granted: Mapping[str, Proposal], *, drawn: Mapping[str, int]
    ) -> str | None:
        if not prompt.strip():
            return "the prompt is empty"
        if prompt in granted:
            return "it stands twice in this plan"
        if drawn.get(prompt, 0) >= REPEATS:
            return f"it was drawn {REPEATS} times already"
        if (len(granted) + 1) * self.per_prompt > self.left():
            return f"the budget has {self.left()} images left for the search"
        return None

    def _paid_out(self) -> Limit | None:
        usage, limits = self.spent.usage, self.limits
        used: tuple[tuple[Limit, float | None, float | None], ...] = (
            ("llm_calls", usage.calls, limits.llm_calls),
            ("tokens", usage.tokens, limits.tokens),
            ("usd", usage.usd, limits.usd),
        )
        return next((name for name, now, most in used if most is not None and (now or 0) >= most), None)


def _both(first: int | None, second: int | None) -> int | None:
    return None if first is None or second is None else first + second

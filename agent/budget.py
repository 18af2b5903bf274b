"""Limits, what was spent, and the one place that grants, trims or refuses. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from pydantic import Field, model_validator

from agent.records import Cost, ImageCount, Proposal
from agent.usage import Usage as Usage
from agent.usage import plus
from sae.feature import Frozen
from tools.cards import FUNCTION_WORDS, words_of

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
            cached_tokens=self.usage.cached_tokens,
            reasoning_tokens=self.usage.reasoning_tokens,
            by_node=self.usage.by_node,
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
    repeats: int = REPEATS
    """Times a prompt may be drawn."""

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

        Refused: an empty prompt, one that stands twice in the plan, one drawn ``repeats`` times already, one
        that says what another said in other order or with other function words, and all beyond the images
        left.
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
        if drawn.get(prompt, 0) >= self.repeats:
            return f"it was drawn {self.repeats} times already"
        twin = None if prompt in drawn else _twin(prompt, (*granted, *drawn))
        if twin is not None:
            return f"it says the same as {twin!r}; to draw that again, repeat it letter by letter"
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


def _twin(prompt: str, others: Iterable[str]) -> str | None:
    """The first other prompt of the same content words, in any order."""
    words = set(words_of(prompt)) - FUNCTION_WORDS
    return next((each for each in others if words and set(words_of(each)) - FUNCTION_WORDS == words), None)


class BatchLimits(Frozen):
    """What all runs of a batch may use together; None is no limit."""

    images: int | None = Field(default=None, ge=0)
    """Search and judge."""
    llm_calls: int | None = Field(default=None, ge=0)
    tokens: int | None = Field(default=None, ge=0)
    usd: float | None = Field(default=None, ge=0.0)
    seconds: float | None = Field(default=None, ge=0.0)
    """Of all runs added up, whether they ran one after another or not."""


class Share(Frozen):
    """What one run, or several, took of a batch. Unknown is None; unknown plus anything stays unknown."""

    images: int = 0
    llm_calls: int = 0
    tokens: int | None = 0
    usd: float | None = 0.0
    seconds: float = 0.0

    def __add__(self, other: Share) -> Share:
        return Share(
            images=self.images + other.images,
            llm_calls=self.llm_calls + other.llm_calls,
            tokens=plus(self.tokens, other.tokens),
            usd=plus(self.usd, other.usd),
            seconds=self.seconds + other.seconds,
        )

    @classmethod
    def of(cls, cost: Cost, images: ImageCount) -> Share:
        """What a finished run took."""
        return cls(
            images=images.charged,
            llm_calls=cost.llm_calls,
            tokens=plus(cost.prompt_tokens, cost.completion_tokens),
            usd=cost.usd,
            seconds=cost.seconds,
        )

    @classmethod
    def most(cls, limits: Limits) -> Share:
        """What a run may take at most; 0 of what it has no limit of."""
        return cls(
            images=limits.images + limits.sealed,
            llm_calls=limits.llm_calls or 0,
            tokens=limits.tokens or 0,
            usd=limits.usd or 0.0,
            seconds=limits.seconds or 0.0,
        )

    def known(self, otherwise: Share) -> Share:
        """The same with what is unknown taken from ``otherwise``."""
        return self.model_copy(
            update={
                "tokens": otherwise.tokens if self.tokens is None else self.tokens,
                "usd": otherwise.usd if self.usd is None else self.usd,
            }
        )


class Allowance(NamedTuple):
    """The limits of a batch beside what its runs took: says what the next run may use, or what forbids it."""

    limits: BatchLimits
    spent: Share
    """What finished runs took, and what those in progress may still take."""

    def exhausted(self, limits: Limits, *, paid: bool) -> Limit | None:
        """The first limit that forbids a run with these limits of its own; ``paid``: its proposer costs."""
        images = self._left("images")
        if images is not None and images < limits.sealed + LEAST_IMAGES:
            return "images"
        names: tuple[Limit, ...] = ("seconds", "llm_calls", "tokens", "usd") if paid else ("seconds",)
        return next((name for name in names if (self._left(name) or 0) <= 0 and self._has(name)), None)

    def next_run(self, limits: Limits) -> Limits:
        """The limits of a run, lowered to what is left; only where ``exhausted`` forbids none."""
        left = self._left("images")
        images = limits.images if left is None else min(limits.images, int(left) - limits.sealed)
        lowered: dict[str, int | float | None] = {
            name: _least(getattr(limits, name), self._left(name))
            for name in ("llm_calls", "tokens", "usd", "seconds")
        }
        race = limits.race_images * images // limits.images
        return Limits.model_validate(
            {**limits.model_dump(), **lowered, "images": images, "race_images": race}
        )

    def _has(self, name: Limit) -> bool:
        return getattr(self.limits, name) is not None

    def _left(self, name: Limit) -> int | float | None:
        most = getattr(self.limits, name)
        left = None if most is None else max(0, most - (getattr(self.spent, name) or 0))
        return left if left is None or isinstance(left, int) else round(left, 9)


LEAST_IMAGES = 8
"""Search images below which a run is not worth its judge."""


def _least(first: int | float | None, second: int | float | None) -> int | float | None:
    return min((each for each in (first, second) if each is not None), default=None)

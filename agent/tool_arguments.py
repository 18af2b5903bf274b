"""What the feature tools take: one pydantic model a tool, whose descriptions are what an LLM reads."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from agent.plan_reply import MAX_PROMPTS
from agent.plans import MAX_PROMPT
from sae.feature import Frozen

MOST_IMAGES = 16
"""Pictures of one prompt in one call."""


def _plain(text: str) -> str:
    """One line of ordinary characters: what is drawn, stored and shown must hide nothing."""
    line = " ".join(text.split())
    if not line.isprintable():
        raise ValueError("it holds characters that cannot be printed")
    return line


Prompt = Annotated[str, AfterValidator(_plain), Field(min_length=1, max_length=MAX_PROMPT)]
Index = Annotated[int, Field(ge=0, description="Index of the feature in its dictionary.")]


class OfFeature(Frozen):
    """A feature."""

    index: Index


class ExemplarBand(Frozen):
    """A feature and a band of its activation."""

    index: Index
    low: float = Field(
        default=0.9, ge=0.0, le=1.0, description="Lower quantile of its non-zero probe activations."
    )
    high: float = Field(default=1.0, ge=0.0, le=1.0, description="Upper quantile, above low.")
    count: int = Field(default=4, ge=1, le=MOST_IMAGES, description="Pictures to show.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low {self.low} is not below high {self.high}")
        return self


class PromptsToDraw(Frozen):
    """A feature and image prompts."""

    index: Index
    prompts: tuple[Prompt, ...] = Field(
        min_length=1, max_length=MAX_PROMPTS, description="Short, concrete image prompts."
    )
    images_per_prompt: int = Field(
        default=2, ge=1, le=MOST_IMAGES, description="Pictures of each; all prompts share their seeds."
    )


class PromptPair(Frozen):
    """A feature and two prompts that differ in one thing."""

    index: Index
    first: Prompt
    second: Prompt
    images_per_prompt: int = Field(
        default=6, ge=2, le=MOST_IMAGES, description="Pictures of each, on the same seeds."
    )


class TopOfBank(Frozen):
    """A feature and how many prompts."""

    index: Index
    top: int = Field(default=10, ge=1, le=30, description="Prompts to list.")

"""What is asked for: a feature, by which models, proposer, limits and seed. Imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from agent.budget import Limits
from agent.records import ForkPoint, Proposal
from sae.feature import Feature, Frozen
from tools.digest import digest

Ablation = Literal[
    "bank", "contradictions", "exemplars", "halving", "race", "self-check", "tags", "vocabulary"
]
"""A part of the agent that a run may go without, so that what it adds can be measured."""
AT_ONCE = 2
"""Without halving every prompt gets so many times ``images_per_prompt``, once: between the first look at a
prompt and what one that stays in question gets (agent/budget.REPEATS)."""


class RunSettings(Frozen):
    """How a naming is to be done; part of what a stored answer is an answer to."""

    seed: int = Field(default=0, ge=0)
    limits: Limits = Limits()
    images_per_prompt: int = Field(default=2, ge=1, le=16)
    """Images, hence common seeds, a prompt gets each time it is drawn in the search."""
    review: bool = False
    """Whether a person rules on the name before it is accepted."""
    without: tuple[Ablation, ...] = ()
    """Parts of the agent this run goes without.

    *bank*: no hints from earlier runs. *halving*: all prompts of the search get the same number of images at
    once, none more later, and no name leaves the race before its end. *contradictions*: proposals of that
    intent are refused, and the lexical search asks nothing that excludes its best claim. *self-check*: no
    predictions on fresh prompts are drawn, and no race sends the run back to the search. *race*: the first
    name goes straight to the judge, and the search has the race's images. *vocabulary*: the words nearest the
    decoder are not known; *tags*: nor what an image-text model read in the probe set; *exemplars*: no
    exemplar is shown.
    """

    @field_validator("without")
    @classmethod
    def _in_order(cls, without: tuple[Ablation, ...]) -> tuple[Ablation, ...]:
        # Equal settings have equal digests, however they were written down.
        return tuple(sorted(set(without)))

    @property
    def per_prompt(self) -> int:
        """Images, hence common seeds, a prompt gets each time it is drawn."""
        return self.images_per_prompt * (AT_ONCE if "halving" in self.without else 1)


class Fork(Frozen):
    """Where a run starts from in another one, and which prompts it draws or leaves out next."""

    origin: ForkPoint
    add: tuple[Proposal, ...] = ()
    drop: tuple[str, ...] = ()


class Request(Frozen):
    """One naming, asked for. Equal requests have equal answers."""

    feature: Feature
    models: str
    """Digest of the fingerprints of generator, scorer, exemplars and control set."""
    proposer: str
    """Kind and model, e.g. 'lexical' or 'openai:gpt-5-mini'; shown with the result."""
    proposer_fingerprint: str = ""
    """Digest of everything else that determines what the proposer says: its settings, prompts, lexicon."""
    settings: RunSettings = RunSettings()
    fork: Fork | None = None
    """None for a run from the start."""

    @property
    def key(self) -> str:
        """Digest that stored answers are filed under.

        What came later, and was not asked for, is left out: answers from before it stay answers.
        """
        told = self.model_dump(mode="json")
        if not self.settings.review:
            del told["settings"]["review"]
        if not self.settings.without:
            del told["settings"]["without"]
        if self.fork is None:
            del told["fork"]
        return digest(**told)

    def run_id(self, attempt: int = 0) -> str:
        """The same for the same request, so that a repeated command continues its run."""
        name = f"{self.feature.dictionary}-{self.feature.index}"
        safe = "".join(each if each.isalnum() or each in "-_." else "-" for each in name)
        return f"{safe}-{self.key[:12]}-{attempt}"

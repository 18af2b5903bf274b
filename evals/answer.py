"""What a condition answers about one feature. Stored; imports no torch."""

from __future__ import annotations

from agent.records import Cost, VerdictKind
from sae.feature import Frozen


class Step(Frozen):
    """One thing a condition tried, for its trace."""

    text: str
    """The image prompt or name that was tried."""
    score: float | None
    """What the condition made of it, in its own unit; None where nothing could be scored."""
    images: tuple[str | None, ...] = ()
    """sha256 of its images; None where the generator failed."""
    activations: tuple[float | None, ...] = ()
    """Of the feature, by image."""
    charged: int = 0
    """Images asked for up to and including this step."""
    best: str | None = None
    """The name the condition would answer if it were stopped here."""
    note: str = ""
    """'seed', 'step 3', 'summary', an intent, why nothing was drawn, ..."""


class Answer(Frozen):
    """The name a condition gives, or that it gives none, and what that cost."""

    name: str | None
    """None: it abstains, or failed."""
    verdict: VerdictKind | None = None
    """None where the condition does not judge itself: then a name is a claim."""
    code: str | None = None
    """Why, where it failed: a failure is counted beside the mean, never as zero."""
    confidence: float | None = None
    """In the name, 0..1; None where the condition states none."""
    score: float | None = None
    """The condition's own score of its name, in its own unit: orders its names."""
    search_score: float | None = None
    """AUROC of the name's search images against the search's control set; None where it drew none."""
    images: int = 0
    """Images charged to the search: all it asked for, whether or not they had been drawn before."""
    verdict_images: int = 0
    """Images its own judge asked for beside them; 0 where it does not judge itself."""
    asked: tuple[str, ...] = ()
    """Ids of all images of the search, where they cannot be seen from outside: an answer from the store."""
    cost: Cost = Cost()
    steps: tuple[Step, ...] = ()
    named_before: int | None = None
    """Features that its batch had named before it; None where it was named alone."""
    run: str = ""
    """Of an agent's answer: ``namesae trace RUN`` shows it."""

    @property
    def failed(self) -> bool:
        """Whether it broke off: told beside every mean, and tried again. No name found is no failure."""
        return self.verdict in ("failed", "cancelled")

    @property
    def claims(self) -> bool:
        """Whether the name is put forward: abstaining verdicts and weak names are not."""
        return self.name is not None and self.verdict in (None, "named", "polysemantic")

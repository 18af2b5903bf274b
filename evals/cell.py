"""One cell of an evaluation: what one condition answered about one feature, judged and graded. Stored."""

from __future__ import annotations

from evals.answer import Answer
from evals.subject import Truth
from sae.feature import Feature, Frozen
from tools.protocols import CosyScore

SCHEMA = 1


class Recall(Frozen):
    """How well the feature's activation tells, on labelled images, what the name says."""

    auprc: float
    f1: float
    """At the best cut, chosen on even images, measured on odd ones."""
    iou: float
    """At the same cut."""
    correlation: float
    """Pearson's, of the activation and 'the image shows the name'."""
    auroc: float
    positives: int
    images: int


class Grade(Frozen):
    """Whether a name is right, each way of telling by itself. None: it cannot be told that way."""

    labels: bool | None = None
    """The name's F1 on labelled images is within 0.03 of the best concept's."""
    exact: bool | None = None
    """The same words as the true concept, but for case and articles."""
    synonym: bool | None = None
    """The same words once synonyms are replaced."""
    similarity: float | None = None
    """Cosine of the sentence embeddings of name and true concept."""
    name_f1: float | None = None
    best_f1: float | None = None

    @property
    def right(self) -> bool | None:
        """By labels where they exist, else by synonyms, else by the words as they stand."""
        by_words = self.synonym if self.synonym is not None else self.exact
        return self.labels if self.labels is not None else by_words


class Judged(Frozen):
    """The figures of a name on images no search saw. None where nothing usable was drawn or known."""

    cosy: CosyScore | None = None
    recall: Recall | None = None
    specificity: float | None = None
    """Mean over the nearest features of P(activation > theirs), each in units of its own p99, ties 1/2."""
    optimism: float | None = None
    """Search AUROC less sealed AUROC."""
    images: tuple[str, ...] = ()
    """The sealed images, by seed."""
    activations: tuple[float, ...] = ()


class Interim(Frozen):
    """A name that was in force during a search, graded: for accuracy against images."""

    name: str
    right: bool | None


class Cell(Frozen):
    """What one condition made of one feature."""

    schema_: int = SCHEMA
    suite: str
    """Digest of everything that determines the cell, the answer of other cells excepted."""
    condition: str
    title: str
    feature: Feature
    group: str
    """The suite's name for the features it was chosen among."""
    also: tuple[str, ...] = ()
    """Further groups that hold it."""
    truth: Truth | None
    outside_seeds: bool | None = None
    """Whether the true concept lies outside the seed classes of the loops."""
    answer: Answer
    judged: Judged | None = None
    """None where there is no name."""
    grade: Grade = Grade()
    interim: tuple[Interim, ...] = ()
    """The names of ``answer.steps`` that were best at some time, each once."""
    drawn: int = 0
    """Images really drawn for it, by search and judges: what nothing before it had asked for."""
    asked: tuple[str, ...] = ()
    """First 16 hex digits of the ids of all images charged to it, so that distinct ones can be counted."""

    @property
    def groups(self) -> tuple[str, ...]:
        """All groups that hold the feature."""
        return (self.group, *self.also)

"""Whether a name is right: by what held-out images show where they are labelled, else by words."""

from __future__ import annotations

from evals.cell import Grade
from evals.subject import LabelledImages, Subject, Truth
from evals.word_match import same_words
from sandbox.truth import name_f1

MARGIN = 0.03
"""How far the F1 of a right name may lie below the best concept's."""


def grade(subject: Subject, index: int, *, name: str | None, truth: Truth | None) -> Grade:
    """Grade a name against the truth; an empty Grade where nothing is known of the feature."""
    if truth is None:
        return Grade()
    if name is None:
        return Grade(labels=None, best_f1=truth.f1)
    if not truth.concept:
        # Nothing is there to be named: whatever the words, the name is wrong.
        return Grade(labels=False, exact=False, synonym=False)
    match = same_words(name, truth.concept, subject.lexicon)
    found, best = _f1(subject.held_out, index, name=name), truth.f1
    by_labels = (
        None if subject.held_out is None or best is None else found is not None and found >= best - MARGIN
    )
    return Grade(labels=by_labels, exact=match.exact, synonym=match.synonym, name_f1=found, best_f1=best)


def _f1(labelled: LabelledImages | None, index: int, *, name: str) -> float | None:
    shows = None if labelled is None else labelled.holds(name)
    return None if labelled is None or shows is None else name_f1(labelled.activations(index), shows)

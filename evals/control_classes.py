"""Labelled probe images by class: which classes a feature likes, and one class as a control set (LINE)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agent.belief import Numbers
from agent.shots import control_activations
from evals.subject import Case
from evals.trying import random_of
from tools.cards import words_of
from tools.protocols import Floats

IMAGES = 50
"""Control images of a class."""


class ControlClasses:
    """The classes that labelled probe images show; none where there are no labels."""

    def __init__(self, case: Case, classes: Sequence[str]) -> None:
        self._case, self._classes = case, tuple(dict.fromkeys(classes))
        self._shown = dict(_by_class(case, classes))
        self._rows: Numbers | None = None

    def best(self, count: int) -> list[str]:
        """The classes on whose images the feature's mean activation is highest, best first."""
        return sorted(self._shown, key=lambda name: -float(self._shown[name].mean()))[:count]

    def first(self, best: int, random: int) -> list[str]:
        """The classes a search begins with: the best, then others at random, more where few are known."""
        known = self.best(best)
        others = [name for name in self._classes if name not in known]
        order = random_of(self._case, "seeds").permutation(len(others))
        return [*known, *(others[at] for at in order[: best + random - len(known)])]

    def sample(self, concept: str, *, varied: bool = False) -> Floats | None:
        """(n,) activations on up to 50 images of one class, drawn anew for each concept.

        ``varied``: only a class on whose images the feature is not constant will do; None where there is
        none. Without labels: 50 of the search's control images at random.
        """
        random = random_of(self._case, "control", concept)
        if not self._shown:
            control = control_activations(self._case.toolbox, self._case.feature.index)
            found = random.choice(control, size=min(IMAGES, len(control)), replace=False)
            return found if not varied or _varies(found) else None
        chances = self.chances(concept, varied=varied)
        if not chances:
            return None
        name = random.choice(list(chances), p=list(chances.values()))
        return self._shown[str(name)][:IMAGES]

    def chances(self, concept: str, *, varied: bool = False) -> dict[str, float]:
        """Classes to the chance of being sampled: in proportion to 1 - similarity with the concept."""
        names = list(self._shown)
        free = np.clip(1.0 - self._similarities(concept, names), 0.0, None)
        usable = [not varied or _varies(self._shown[name][:IMAGES]) for name in names]
        weights = np.where(usable, free if free[usable].sum() > 0 else 1.0, 0.0)
        total = float(weights.sum())
        return dict(zip(names, (weights / total).tolist(), strict=True)) if total > 0 else {}

    def _similarities(self, concept: str, names: Sequence[str]) -> Numbers:
        """(names,) cosines of the text embeddings; without a joint space the share of words in common."""
        joint = self._case.subject.joint
        if joint is None:
            return np.array([_in_common(concept, name) for name in names], dtype=np.float64)
        if self._rows is None:
            self._rows = np.asarray(joint.texts(names), dtype=np.float64)
        cosines: Numbers = self._rows @ np.asarray(joint.texts([concept])[0], dtype=np.float64)
        return cosines


def _by_class(case: Case, classes: Sequence[str]) -> list[tuple[str, Floats]]:
    """Each class that at least two probe images show, with the feature's activations on them."""
    probe = case.subject.probe
    if probe is None:
        return []
    activations = probe.activations(case.feature.index)
    shown = [(name, probe.holds(name)) for name in dict.fromkeys(classes)]
    return [(name, activations[held]) for name, held in shown if held is not None and held.sum() > 1]


def _varies(activations: Floats) -> bool:
    return len(activations) > 1 and bool(activations.min() < activations.max())


def _in_common(first: str, second: str) -> float:
    ours, theirs = set(words_of(first)), set(words_of(second))
    return len(ours & theirs) / max(1, len(ours | theirs))

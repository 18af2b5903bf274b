"""The sealed judge: numbers on images the search never saw, with seeds and a template it never used."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agent.plans import Candidate
from agent.seeds import sealed_seeds
from agent.shots import Wanted, activations, control_activations, draw_shots, score_shots
from agent.state import Judgement, Shot
from agent.toolbox import Toolbox
from sae.feature import Feature, Frozen
from tools.protocols import CosyScore, FeatureFacts, Floats

FLOOR_NAMES = 8
"""Other names whose sealed images give the random-name floor."""
FLOOR_PARTS = 8
"""Parts of the control set that give it where no other name was judged yet."""


class Case(Frozen):
    """What is judged."""

    feature: Feature
    facts: FeatureFacts
    candidate: Candidate
    images: int
    seed: int
    """The run's."""
    retest: int = 0
    """Which sealed images: 0 the run's first, else those of that retest."""


def sealed_prompts(candidate: Candidate, *, images: int, seed: int, retest: int = 0) -> list[Wanted]:
    """Exactly ``images`` requests: the name's alternatives in turn, each image with its own sealed seed."""
    seeds = sealed_seeds(seed, count=images, retest=retest)
    return [Wanted(candidate.prompts[at % len(candidate.prompts)], each) for at, each in enumerate(seeds)]


def contrast_prompts(candidate: Candidate, *, images: int, seed: int, retest: int = 0) -> list[Wanted]:
    """``images`` requests of what a NOT excludes, with the sealed seeds that its own images have."""
    seeds = sealed_seeds(seed, count=images if candidate.against else 0, retest=retest)
    return [Wanted(candidate.against[at % len(candidate.against)], each) for at, each in enumerate(seeds)]


def judge(toolbox: Toolbox, case: Case) -> Judgement:
    """Draw the sealed images, score them, and compare with the control set and with other names.

    A NOT holds on most of any control set, which can therefore say little of it: half of its images show what
    it excludes, and it is held against these as well.
    """
    card, index = toolbox.draw.card, case.feature.index
    excluding = case.images // 2 if case.candidate.against else 0
    wanted = sealed_prompts(
        case.candidate, images=case.images - excluding, seed=case.seed, retest=case.retest
    )
    against = contrast_prompts(case.candidate, images=excluding, seed=case.seed, retest=case.retest)
    drawn = draw_shots(toolbox, [*wanted, *against], template=card.judge_template)
    scored = score_shots(toolbox, drawn, index=index)
    shots, excluded = scored[: len(wanted)], scored[len(wanted) :]
    control = control_activations(toolbox, index)
    toolbox.sealed.add(case.candidate.name, [shot.image for shot in shots if shot.image is not None])
    floor, names = random_name_floor(toolbox, case, control=control)
    return Judgement(
        shots=tuple(shots),
        sealed=cosy(toolbox, shots, control=control, case=case),
        parts=_part_scores(toolbox, shots, control=control, case=case),
        contrast=_contrast(toolbox, shots, excluded, case=case),
        floor=floor,
        floor_names=names,
    )


def cosy(toolbox: Toolbox, shots: Sequence[Shot], *, control: Floats, case: Case) -> CosyScore | None:
    """The CoSy figures of some shots of a name; None when no image is usable."""
    shown = activations(shots)
    if not len(shown):
        return None
    share = toolbox.control.share(case.candidate.name)
    return toolbox.cosy(shown, control, threshold=case.facts.threshold, share=share, seed=case.seed)


def random_name_floor(toolbox: Toolbox, case: Case, *, control: Floats) -> tuple[float, tuple[str, ...]]:
    """Mean AUROC on this feature of names that have no word in common with the one judged, and those names.

    Their images were judged for other features, so the floor draws nothing. Before there are any, parts of
    the control set stand in: pictures of nothing in particular. So they do for a NOT, which other names
    satisfy.
    """
    top = 0 if case.candidate.kind == "not" else FLOOR_NAMES
    others = toolbox.sealed.others(case.candidate.name, top=top)
    groups = [
        _activations_on(toolbox, images, index=case.feature.index) for images in others.values() if images
    ]
    if not groups:
        groups = [control[part] for part in _parts(len(control), size=case.images, seed=case.seed)]
    scores = [toolbox.cosy(group, control, threshold=case.facts.threshold).auroc for group in groups]
    return float(np.mean(scores)), tuple(others)


def _contrast(
    toolbox: Toolbox, shots: Sequence[Shot], excluded: Sequence[Shot], *, case: Case
) -> CosyScore | None:
    """A NOT's images against those of what it excludes; None for other names."""
    shown, hidden = activations(shots), activations(excluded)
    if not len(shown) or not len(hidden):
        return None
    return toolbox.cosy(shown, hidden, threshold=case.facts.threshold, seed=case.seed)


def _part_scores(
    toolbox: Toolbox, shots: Sequence[Shot], *, control: Floats, case: Case
) -> tuple[CosyScore, ...]:
    if case.candidate.kind != "or":
        return ()
    groups = [[shot for shot in shots if shot.prompt == prompt] for prompt in case.candidate.prompts]
    scores = [cosy(toolbox, group, control=control, case=case) for group in groups]
    return tuple(score for score in scores if score is not None)


def _activations_on(toolbox: Toolbox, images: Sequence[str], *, index: int) -> Floats:
    return np.array([code.activation(index) for code in toolbox.score(images)], dtype=np.float32)


def _parts(total: int, *, size: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.choice(total, size=min(size, total), replace=False) for _ in range(FLOOR_PARTS)]

"""The sealed judge: numbers on images the search never saw, with seeds and a template it never used."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agent.plans import Candidate
from agent.seeds import seeds_of
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


def sealed_prompts(candidate: Candidate, *, images: int, seed: int) -> list[Wanted]:
    """Exactly ``images`` requests: the name's alternatives in turn, each image with its own sealed seed."""
    seeds = seeds_of(seed, "judge", start=0, count=images)
    return [Wanted(candidate.prompts[at % len(candidate.prompts)], each) for at, each in enumerate(seeds)]


def judge(toolbox: Toolbox, case: Case) -> Judgement:
    """Draw the sealed images, score them, and compare with the control set and with other names."""
    card, index = toolbox.draw.card, case.feature.index
    wanted = sealed_prompts(case.candidate, images=case.images, seed=case.seed)
    shots = score_shots(toolbox, draw_shots(toolbox, wanted, template=card.judge_template), index=index)
    control = control_activations(toolbox, index)
    toolbox.sealed.add(case.candidate.name, [shot.image for shot in shots if shot.image is not None])
    floor, names = random_name_floor(toolbox, case, control=control)
    return Judgement(
        shots=tuple(shots),
        sealed=cosy(toolbox, shots, control=control, case=case),
        parts=_part_scores(toolbox, shots, control=control, case=case),
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

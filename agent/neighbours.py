"""Whether a name tells a feature from its nearest: what these do on the winner's own race images."""

from __future__ import annotations

from collections.abc import Sequence

from agent.records import NeighbourFiring
from agent.state import RaceRecord
from agent.toolbox import Toolbox
from tools.protocols import FeatureFacts, SparseCode

NEAREST = 5
"""Neighbours that are looked at."""


def own_images(race: RaceRecord) -> tuple[str, ...]:
    """The usable race images of the winner's own prompts."""
    prompts = race.winner.prompts if race.winner is not None else ()
    return tuple(shot.image for shot in race.shots if shot.image is not None and shot.prompt in prompts)


def neighbour_firing(
    race: RaceRecord, toolbox: Toolbox, *, index: int, facts: FeatureFacts
) -> tuple[NeighbourFiring, ...]:
    """The nearest live features on the winner's own images; none without images. Scores nothing anew."""
    images = own_images(race)
    if not images:
        return ()
    codes = toolbox.score(images)
    own = share_firing(codes, index, threshold=facts.threshold)
    found = []
    for other in facts.neighbours[:NEAREST]:
        threshold = toolbox.exemplars.facts(other).threshold
        if threshold > 0:
            found.append(
                NeighbourFiring(
                    index=other,
                    cosine=toolbox.cosine(index, other),
                    rate=share_firing(codes, other, threshold=threshold),
                    own_rate=own,
                    n_images=len(images),
                )
            )
    return tuple(found)


def share_firing(codes: Sequence[SparseCode], index: int, *, threshold: float) -> float:
    """Share of images on which a feature exceeds its threshold; ``codes``: at least one."""
    return sum(code.activation(index) > threshold for code in codes) / len(codes)

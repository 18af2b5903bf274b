"""From a concluding plan to the names that race: only what can be drawn."""

from __future__ import annotations

from collections.abc import Sequence

from agent.plans import MAX_CANDIDATES, MAX_NAME, Candidate
from agent.records import Trial
from agent.reward import Scale, rewards
from tools.cards import unknown_words, words_of
from tools.protocols import GeneratorCard

MEASURED = 3
"""Prompts that race as names where the proposer named nothing."""
WORTH_RACING = 0.3
"""Least mean reward of such a prompt."""


def raceable(candidates: Sequence[Candidate], card: GeneratorCard) -> tuple[Candidate, ...]:
    """The candidates that the generator can draw, each name once, without predictions it cannot draw."""
    kept: dict[str, Candidate] = {}
    for candidate in candidates:
        drawable = {prompt for prompt in (*candidate.prompts, *candidate.fires, *candidate.rests)
                    if not unknown_words(card, prompt)}  # fmt: skip
        key = " ".join(words_of(candidate.name))
        if drawable.issuperset(candidate.prompts) and key and key not in kept:
            fires = tuple(prompt for prompt in candidate.fires if prompt in drawable)
            rests = tuple(prompt for prompt in candidate.rests if prompt in drawable)
            against = (
                () if any(unknown_words(card, each) for each in candidate.against) else candidate.against
            )
            kept[key] = candidate.model_copy(update={"fires": fires, "rests": rests, "against": against})
    return tuple(kept.values())[:MAX_CANDIDATES]


def measured(trials: Sequence[Trial], scale: Scale) -> tuple[Candidate, ...]:
    """The prompts that fired most as names, best first: what is known when the proposer cannot be asked."""
    images: dict[str, list[float]] = {}
    for trial in trials:
        images.setdefault(trial.proposal.prompt, []).extend(rewards(trial.activations, scale))
    means = {prompt: sum(earned) / len(earned) for prompt, earned in images.items() if earned}
    best = sorted(
        (prompt for prompt in means if means[prompt] >= WORTH_RACING), key=lambda prompt: -means[prompt]
    )
    return tuple(
        Candidate(name=prompt, prompts=(prompt,), level=len(words_of(prompt)))
        for prompt in best
        if len(prompt) <= MAX_NAME
    )[:MEASURED]

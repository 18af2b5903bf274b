"""Tools that draw: prompts and pairs of prompts, on the search's seeds. They cost images."""

from __future__ import annotations

from collections.abc import Sequence

from agent import tool_results as results
from agent.budget import Refusal
from agent.state import Shot
from agent.tool_arguments import PromptPair, PromptsToDraw
from agent.tool_kit import FeatureKit, RefusedCall
from sae.intervals import Interval, wilson
from tools.protocols import FeatureFacts


def draw_and_score(kit: FeatureKit, asked: PromptsToDraw) -> results.Drawn:
    """Draw prompts with common seeds, as many as the budget grants, and score them."""
    facts, feature = kit.live(asked.index), kit.named(asked.index)
    prompts = list(dict.fromkeys(asked.prompts))
    most = kit.purse.images_left // asked.images_per_prompt
    shots = kit.shots(asked.index, prompts[:most], count=asked.images_per_prompt)
    left = kit.purse.images_left
    refused = [
        *(Refusal(prompt=shot.prompt, why=shot.fault or "") for shot in _refused(shots)),
        *(Refusal(prompt=prompt, why=_no_images(left)) for prompt in prompts[most:]),
    ]
    out = {each.prompt for each in refused}
    scores = [
        _score(kit, [shot for shot in shots if shot.prompt == prompt], facts=facts, feature=feature)
        for prompt in prompts
        if prompt not in out
    ]
    return results.Drawn(feature=feature, prompts=tuple(scores), refused=tuple(refused), images_left=left)


def compare_pair(kit: FeatureKit, asked: PromptPair) -> results.Pair:
    """Draw two prompts on the same seeds; the mean of their differences with its interval."""
    facts, feature = kit.live(asked.index), kit.named(asked.index)
    if asked.first == asked.second:
        raise RefusedCall("Both prompts are the same; change one thing.")
    if not kit.purse.affords(2 * asked.images_per_prompt):
        raise RefusedCall(_no_images(kit.purse.images_left))
    shots = kit.shots(asked.index, [asked.first, asked.second], count=asked.images_per_prompt)
    faults = [f"{shot.prompt!r}: {shot.fault}" for shot in _refused(shots)]
    if faults:
        raise RefusedCall(" ".join(faults))
    ones, others = ([shot for shot in shots if shot.prompt == each] for each in (asked.first, asked.second))
    return results.Pair(
        feature=feature,
        first=_score(kit, ones, facts=facts, feature=feature),
        second=_score(kit, others, facts=facts, feature=feature),
        difference=_difference(kit, (ones, others), p99=facts.p99, feature=feature),
        images_left=kit.purse.images_left,
    )


def _refused(shots: Sequence[Shot]) -> list[Shot]:
    """One shot of each prompt that was not drawn."""
    return list({shot.prompt: shot for shot in shots if not shot.charged}.values())


def _no_images(left: int) -> str:
    return f"The budget has {left} images left; answer from what has been measured, or draw fewer."


def _score(
    kit: FeatureKit, shots: Sequence[Shot], *, facts: FeatureFacts, feature: str
) -> results.PromptScore:
    prompt = shots[0].prompt
    usable = [
        (shot.image, shot.activation)
        for shot in shots
        if shot.image is not None and shot.activation is not None
    ]
    pictures = tuple(
        kit.catalogue.picture(image, each / facts.p99, meaning=f"drawn from {prompt!r} for {feature}")
        for image, each in usable
    )
    score = results.PromptScore(prompt=prompt, pictures=pictures, unusable=len(shots) - len(usable))
    if not usable:
        return score
    fired = sum(each > facts.threshold for _, each in usable)
    about = f"{feature} on {len(usable)} pictures of {prompt!r}"
    mean = sum(each for _, each in usable) / len(usable) / facts.p99
    return score.model_copy(
        update={
            "mean": kit.catalogue.figure(mean, f"mean activation of {about}, in units of its p99"),
            "rate": kit.catalogue.figure(
                fired / len(usable), f"share that fires of {about}", interval=wilson(fired, len(usable))
            ),
        }
    )


def _difference(
    kit: FeatureKit, pair: tuple[list[Shot], list[Shot]], *, p99: float, feature: str
) -> results.Figure | None:
    ones, others = pair
    found = [
        (one.activation - other.activation) / p99
        for one, other in zip(ones, others, strict=True)
        if one.activation is not None and other.activation is not None
    ]
    if not found:
        return None
    meaning = (
        f"mean activation of {feature} on {ones[0].prompt!r} less that on {others[0].prompt!r}, "
        f"{len(found)} shared seeds, in units of its p99"
    )
    return kit.catalogue.figure(sum(found) / len(found), meaning, interval=mean_interval(found))


def mean_interval(values: Sequence[float], *, level: float = 0.95) -> Interval | None:
    """Student's interval of a mean: mean +- t(n - 1) * std(ddof 1) / sqrt(n); None for fewer than two.

    A pair has few seeds, where resampling promises too narrow an interval.
    """
    import numpy as np
    from scipy.special import stdtrit

    if len(values) < 2:
        return None
    exact = np.asarray(values, np.float64)
    reach = float(stdtrit(len(exact) - 1, (1 + level) / 2) * exact.std(ddof=1) / np.sqrt(len(exact)))
    return Interval(low=float(exact.mean()) - reach, high=float(exact.mean()) + reach)

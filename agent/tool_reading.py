"""Tools that read: the probe set, the control set, the bank's prompts, stored names. They cost no images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agent import tool_results as results
from agent.records import Explanation
from agent.shots import control_activations
from agent.tool_arguments import ExemplarBand, OfFeature, TopOfBank
from agent.tool_kit import FeatureKit
from sae.feature import Feature
from sae.intervals import wilson
from tools.protocols import Reading

MOST_NEIGHBOURS = 8
MOST_READINGS = 6


def show_facts(kit: FeatureKit, asked: OfFeature) -> results.Facts:
    """Density, firing threshold, words and neighbours."""
    facts, feature = kit.facts(asked.index), kit.named(asked.index)
    return results.Facts(
        feature=feature,
        density=kit.catalogue.figure(
            facts.density, f"share of probe pictures on which {feature} is not zero"
        ),
        exemplars_show=_words(facts.tags),
        direction_words=_words(facts.vocabulary),
        reads_as=_words([(_formula(each), each.f1) for each in facts.readings[:MOST_READINGS]]),
        neighbours=facts.neighbours[:MOST_NEIGHBOURS],
    )


def show_exemplars(kit: FeatureKit, asked: ExemplarBand) -> results.Exemplars:
    """Probe pictures of a quantile band of the activation."""
    facts, feature = kit.live(asked.index), kit.named(asked.index)
    found = kit.toolbox.exemplars(asked.index, count=asked.count, low=asked.low, high=asked.high)
    pictures = [
        kit.catalogue.picture(each.image, each.activation / facts.p99, meaning=f"exemplar of {feature}")
        for each in found
    ]
    return results.Exemplars(feature=feature, low=asked.low, high=asked.high, pictures=tuple(pictures))


def control_rate(kit: FeatureKit, asked: OfFeature) -> results.ControlRate:
    """What the feature does on the control set."""
    facts, feature = kit.live(asked.index), kit.named(asked.index)
    found = control_activations(kit.toolbox, asked.index)
    fired = int((found > facts.threshold).sum())
    rate = kit.catalogue.figure(
        fired / len(found),
        f"share of {len(found)} control pictures on which {feature} fires",
        interval=wilson(fired, len(found)),
    )
    mean = kit.catalogue.figure(
        float(found.mean()) / facts.p99,
        f"mean activation of {feature} on the control pictures, in units of its p99",
    )
    return results.ControlRate(feature=feature, images=len(found), rate=rate, mean=mean)


def bank_prompts(kit: FeatureKit, asked: TopOfBank) -> results.BankPrompts:
    """Prompts of earlier runs whose pictures fired the feature."""
    facts, feature = kit.live(asked.index), kit.named(asked.index)
    rows = [
        results.BankPrompt(
            prompt=firing.prompt,
            images=firing.n,
            mean=kit.catalogue.figure(
                firing.activation / facts.p99,
                f"mean activation of {feature} on {firing.n} earlier pictures of {firing.prompt!r}, "
                "in units of its p99",
            ),
        )
        for firing in kit.toolbox.bank.prompts_that_fire(asked.index, top=asked.top)
    ]
    return results.BankPrompts(feature=feature, prompts=tuple(rows))


def neighbours(kit: FeatureKit, asked: OfFeature) -> results.Neighbours:
    """Features of a similar direction, with their latest names."""
    indices = kit.facts(asked.index).neighbours[:MOST_NEIGHBOURS]
    rows: list[results.Neighbour] = []
    for index in indices:
        stored = kit.latest_name(Feature(dictionary=kit.dictionary, index=index))
        rows.append(
            results.Neighbour(
                index=index,
                density=round(kit.facts(index).density, results.DIGITS),
                name=stored.name if stored else None,
                verdict=stored.verdict if stored else None,
            )
        )
    return results.Neighbours(feature=kit.named(asked.index), neighbours=tuple(rows))


def show_name(kit: FeatureKit, asked: OfFeature) -> results.StoredName:
    """The latest stored name and its sealed figures; the sealed pictures stay where they are."""
    feature = kit.named(asked.index)
    kit.facts(asked.index)
    stored = kit.latest_name(Feature(dictionary=kit.dictionary, index=asked.index))
    if stored is None:
        return results.StoredName(feature=feature, name=None, verdict=None)
    return results.StoredName(
        feature=feature,
        name=stored.name,
        verdict=stored.verdict,
        run=stored.run,
        rivals=tuple(each.name for each in stored.rivals if each.name != stored.name),
        **_sealed_figures(kit, stored, about=f"{stored.name!r} on {feature}"),
    )


def _sealed_figures(kit: FeatureKit, stored: Explanation, *, about: str) -> dict[str, Any]:
    sealed, figure = stored.sealed, kit.catalogue.figure
    if sealed is None:
        return {}
    found: dict[str, Any] = {
        "auroc": figure(
            sealed.auroc, f"sealed AUROC of {about}", interval=(sealed.auroc_ci.low, sealed.auroc_ci.high)
        ),
        "activation_rate": figure(
            sealed.activation_rate,
            f"share of the judge's pictures of {about} that fire",
            interval=(sealed.activation_rate_ci.low, sealed.activation_rate_ci.high),
        ),
        "control_rate": figure(
            sealed.control_rate,
            f"share of the control pictures that fire, beside {about}",
            interval=(sealed.control_rate_ci.low, sealed.control_rate_ci.high),
        ),
    }
    if sealed.ceiling is not None:
        found["ceiling"] = figure(sealed.ceiling, f"AUROC that a perfect name would reach, for {about}")
    floor = stored.evidence.floor_auroc if stored.evidence else None
    if floor is not None:
        found["floor"] = figure(floor, f"AUROC of other names, beside {about}")
    return found


def _words(ranked: Sequence[tuple[str, float]]) -> tuple[results.Word, ...]:
    return tuple(
        results.Word(word=word, strength=round(strength, results.DIGITS)) for word, strength in ranked
    )


def _formula(reading: Reading) -> str:
    joined = f" {reading.kind} ".join(reading.words) if reading.kind != "not" else " or ".join(reading.words)
    return f"not {joined}" if reading.kind == "not" else joined

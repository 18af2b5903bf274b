"""Measure a dictionary with everything beside it: others, its controls, and the model it is put into."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from namesae.dictionaries import Listed
from namesae.sae_bench import Asked, Ints, Say, Workbench
from namesae.sae_eval_images import SANDBOX_TEMPLATES
from namesae.sae_images import SANDBOX
from sae.activations import open_reader
from sae.backbone import LOGITS
from sae.dictionary import SparseDictionary
from sae.image_source import ImageSource
from sae.measures.controls import noise_backbone, on_backbone, trained_on
from sae.measures.density import DensityHistogram, density_histogram
from sae.measures.evaluating import Details, Measured, match_dictionaries, measure_dictionary
from sae.measures.findings import Evaluation, Findings, Matching
from sae.measures.heads import TEMPLATES, Head, can_tell_classes, classifier_head, zero_shot_head
from sae.measures.reading import Subject, count_active
from sae.measures.substitution import Patches, Substitution, What, measure_substitution
from sae.measures.tokens import pixel_batches
from sae.metrics import Doubles
from sae.token_layout import Tokens as Scope
from tools.errors import UsageError


class Outcome(NamedTuple):
    """The record and what plots are made of."""

    evaluation: Evaluation
    details: Details


class Densities(NamedTuple):
    """How often features are active."""

    histogram: DensityHistogram
    active: Doubles
    """(F,) tokens."""


class _Compared(NamedTuple):
    """Another dictionary, and how it matches where it is on the same hook point."""

    findings: Findings
    matching: Matching | None


def measure(asked: Asked, *, say: Say) -> Outcome:
    """Everything; what cannot be measured is left out with a sentence that says why."""
    work = Workbench(asked, say=say)
    bench, card = work.bench, work.card
    say(f"Measuring {card.name}.")
    own = measure_dictionary(work.subject, bench, name=card.name)
    others = [_compared(work, each) for each in asked.others]
    findings = (own.findings, *(each.findings for each in others), *_controls(work, own))
    substitutions = _substitutions(work)
    evaluation = Evaluation(
        dictionary=card.name,
        architecture=card.architecture,
        n_features=card.n_features,
        width=card.width,
        k=card.k,
        backbone=f"{card.backbone.kind}:{Path(card.backbone.source).name}",
        hook_point=card.hook_point,
        pooling=card.pooling,
        images=work.images_name,
        n_images=bench.tokens.n_images,
        tokens=bench.tokens.positions,
        classes=work.classes,
        seed=asked.seed,
        noise_steps=asked.noise_steps,
        findings=findings,
        substitutions=substitutions,
        matching=tuple(each.matching for each in others if each.matching is not None),
        left_out=tuple(work.left_out),
    )
    return Outcome(evaluation, own.details)


def measure_density(asked: Asked, *, say: Say) -> Densities:
    """How often the features are active, and nothing else."""
    work = Workbench(asked, say=say)
    tokens = work.gathered.tokens
    active = count_active(work.reader.dictionary, tokens)
    return Densities(density_histogram(active, rows=tokens.rows), active)


def _compared(work: Workbench, listed: Listed) -> _Compared:
    assert listed.folder is not None and listed.card is not None
    card, folder = listed.card, listed.folder
    reader = open_reader(folder, device=work.asked.device)
    work.say(f"Measuring {listed.name}.")
    place = card.backbone.located(folder), card.hook_point, card.pooling in ("none", "cls")
    same = place == (work.backbone, work.card.hook_point, work.card.pooling in ("none", "cls"))
    if not same and work.images is None:
        raise UsageError(
            f"{listed.name!r} reads another hook point than the store holds; give --images FOLDER."
        )
    bench = work.bench if same or work.images is None else work.bench_of(reader, work.images)
    subject = Subject(reader.dictionary, card.pooling, card.top_p)
    findings = measure_dictionary(subject, bench, name=listed.name, role="other").findings
    if not same:
        work.left_out.append(f"Stability against {listed.name}: it is not on the same hook point.")
        return _Compared(findings, None)
    own = work.reader.dictionary
    return _Compared(findings, match_dictionaries(own, reader.dictionary, other=listed.name))


def _controls(work: Workbench, own: Measured) -> list[Findings]:
    found = []
    if work.twin is not None:
        work.say("Measuring its untrained twin.")
        twin = work.subject._replace(dictionary=work.twin)
        found.append(measure_dictionary(twin, work.bench, name="untrained", role="untrained").findings)
    noise = _noise(work, own)
    return found if noise is None else [*found, noise]


def _noise(work: Workbench, own: Measured) -> Findings | None:
    """A dictionary of the same size and L0, trained on the same backbone with random weights."""
    asked, what = work.asked, "Control on a backbone of random weights"
    if work.images is None or asked.noise_steps == 0:
        why = "it needs images, not a store" if work.images is None else "--noise-steps is 0"
        work.left_out.append(f"{what}: {why}.")
        return None
    backbone = noise_backbone(work.backbone, seed=asked.seed, device=asked.device)
    if backbone is None:
        work.left_out.append(f"{what}: {work.backbone.source} cannot be redrawn.")
        return None
    work.say(f"Training a control on the backbone with random weights, {asked.noise_steps} steps.")
    bench = work.bench_of(on_backbone(work.reader, backbone), work.images)
    known = work.reader.dictionary
    rows = bench.tokens.held.flatten(0, 1).to(known.W_enc.device)
    l0 = own.findings.activity.l0.value or 1.0
    control = trained_on(rows, known, l0=l0, steps=asked.noise_steps, seed=asked.seed)
    subject = work.subject._replace(dictionary=control)
    return measure_dictionary(subject, bench, name="random backbone", role="noise").findings


class _Truth(NamedTuple):
    """A head and what is right of each image; None: what the untouched model says."""

    head: Head
    labels: Ints | None


def _substitutions(work: Workbench) -> tuple[Substitution, ...]:
    if work.images is None:
        work.left_out.append("Substitution in the model: it needs images, not a store.")
        return ()
    truths = _truths(work, work.images)
    if not truths:
        work.left_out.append(
            "Substitution in the model: it tells no classes, and has no text or the images no labels."
        )
        return ()
    dictionaries: dict[What, SparseDictionary] = {"dictionary": work.reader.dictionary}
    if work.twin is not None:
        dictionaries["untrained"] = work.twin
    work.say("Patching reconstructions into the model.")
    found = []
    for truth in truths:
        for scope in _scopes(work):
            patches = Patches(work.reader.backbone, work.card.hook_point, scope, truth.head)
            found.append(
                measure_substitution(
                    patches, work.images, dictionaries, labels=truth.labels, seed=work.asked.seed
                )
            )
    return tuple(found)


def _scopes(work: Workbench) -> tuple[Scope, ...]:
    """Every token, and those the dictionary was trained on where they are fewer."""
    if work.card.pooling == "none":
        return ("all",)
    return ("all", "cls") if work.card.pooling == "cls" else ("all", "patch")


def _truths(work: Workbench, images: ImageSource) -> list[_Truth]:
    """By text where the model reads text and all images have labels; by the model's own classes."""
    backbone, labels, hook_point = work.reader.backbone, work.labels, work.card.hook_point
    whole = labels is not None and bool((labels >= 0).all())
    found: list[_Truth] = []
    if backbone.has_text and whole and hook_point != LOGITS:
        found.append(_Truth(zero_shot_head(backbone, work.classes, templates=_templates(work)), labels))
    pixels = next(iter(pixel_batches(backbone, images))).pixels[:1]
    if can_tell_classes(backbone, hook_point, pixels):
        told = backbone.activations(pixels, [LOGITS])[LOGITS].shape[1]
        known = whole and told == len(work.classes)
        found.append(_Truth(classifier_head(work.classes if known else ()), labels if known else None))
    return found


def _templates(work: Workbench) -> tuple[str, ...]:
    if work.asked.templates:
        return work.asked.templates
    if not work.images_name.startswith(SANDBOX):
        return TEMPLATES
    return SANDBOX_TEMPLATES if work.asked.attribute == "object" else ("{}",)

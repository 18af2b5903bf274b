"""A made-up evaluation for the tests of reports: hostile names, gaps, failures and every kind of figure."""

from __future__ import annotations

import hashlib
import io
import math
import random

from PIL import Image

from agent.records import Cost
from evals.answer import Answer, Step
from evals.cell import Cell, Grade, Judged, Recall
from evals.scoreboard import (
    CalibrationBin,
    CalibrationError,
    CostCurve,
    CostPoint,
    CoverageCurve,
    CoveragePoint,
    Difference,
    Figure,
    QuotedRow,
    Row,
    SanityRow,
    Scoreboard,
    Totals,
)
from evals.subject import Truth
from sae.feature import Feature
from tools.protocols import CosyScore, Interval

HOSTILE = (
    "</script><img src=x onerror=alert(1)>",
    "\"quoted\" & 'single'",
    "zèbre à rayures \u202e 斑马",
    "two\nlines\r\nand a\ttab",
    '=HYPERLINK("http://127.0.0.1:9/","x")',
    "| pipe | `code` [link](javascript:alert(1)) **bold**",
    "<!-- <script>document.title='owned'</script> \u2028",
    "{{ 7 * 7 }}{% for x in y %}",
)
CONDITIONS = (
    ("agent", "agent (lexical)", 0.95, 79.0),
    ("mils", "MILS (5 x 20)", 0.80, 951.0),
    ("line", "LINE, as published but for the <vocabulary>", 0.74, 110.0),
    ("clip-dissect", "CLIP-Dissect", 0.62, 0.0),
    ("invert", "INVERT (length 1)", 0.58, 0.0),
    ("milan", "MILAN by exemplar captions", 0.41, 0.0),
    ("one-proposal", "One proposal", 0.55, 1.0),
    ("cosine", "Cosine of decoder and text", 0.33, 0.0),
    ("true", "True name", 1.0, 0.0),
    ("constant", "Best constant name", 0.07, 0.0),
    ("random", "Random name", 0.02, 0.0),
    ("shuffled", "Names of other features", 0.03, 79.0),
    ("untrained", "Untrained dictionary", 0.0, 79.0),
)
KINDS = ("object", "family", "colour", "texture", "and", "or", "dead")
CONCEPTS = ("striped", "fish", "red", "a dog on grass", "small or blue", "zebra", "wooden")


def figure(value: float, n: int = 40, half: float = 0.08) -> Figure:
    low = value - half if value < 0 else max(0.0, value - half)
    return Figure(value=value, low=low, high=value + half if value > 1 else min(1.0, value + half), n=n)


def row(at: int, group: str, n: int) -> Row:
    condition, title, accuracy, images = CONDITIONS[at]
    rng = random.Random(f"{condition} {group}")
    none = Figure(value=None)
    near = max(0.0, min(1.0, accuracy + (rng.uniform(-0.1, 0.1) if group != "all" else 0.0)))
    return Row(
        condition=condition,
        title=title,
        group=group,
        features=n,
        named=round(n * 0.9),
        abstained=n // 10,
        failed=at % 3,
        accuracy=figure(near, n),
        exact=figure(near * 0.7, n),
        synonym=figure(near * 0.8, n),
        similarity=figure(0.4 + near / 2, n),
        named_share=figure(0.9, n),
        abstention=none if group != "all" else figure(0.5, 4),
        precision=figure(min(1.0, near + 0.03), n),
        auroc=figure(0.5 + near * 0.45, n, 0.03),
        mad=Figure(value=math.nan, n=n),
        max_mad=figure(near * 1.4, n),
        activation_rate=figure(near * 0.9, n),
        auprc=figure(near * 0.8, n),
        f1=figure(near * 0.75, n),
        iou=figure(near * 0.6, n),
        correlation=figure(near * 0.7, n),
        specificity=figure(0.5 + near * 0.4, n),
        optimism=figure(0.01 - 0.02 * near, n, 0.01) if images else none,
        collisions=figure(0.1, n),
        charged=images,
        distinct=int(images * n * 0.7),
        llm_calls=0.0 if at % 2 else 4.5,
        tokens=None if at % 2 else 5120.0,
        usd=None if at % 2 else 0.0123,
        seconds=3.4 * (at + 1),
    )


def board(features: int = 40) -> Scoreboard:
    """The figures: not those of the cells, which a report does not compute."""
    groups = ("all", "planted <sandbox>", *(f"kind: {kind}" for kind in KINDS), "outside the seeds")
    sizes = {group: features if group == "all" else max(3, features // 7) for group in groups}
    titles = {condition: title for condition, title, _, _ in CONDITIONS}
    rivals = [each for each in CONDITIONS if each[0] != "agent"]
    return Scoreboard(
        suite="sandbox-quick",
        description="Forty features of the embedded dictionary whose concept is known.",
        version="0.2.0",
        seed=0,
        proposer="lexical",
        sealed=50,
        control=1000,
        rows=tuple(row(at, group, sizes[group]) for group in groups for at in range(len(CONDITIONS))),
        differences=tuple(
            Difference(
                ours="agent",
                theirs=condition,
                measure=measure,
                group="all",
                estimate=figure(0.95 - accuracy if measure == "accuracy" else (0.9 - accuracy) / 2, 38, 0.12),
                p=0.0004 if accuracy < 0.6 else 0.021,
                p_corrected=0.002 if accuracy < 0.6 else 0.063,
            )
            for measure in ("accuracy", "auroc")
            for condition, _, accuracy, _ in rivals
        ),
        coverage=tuple(
            CoverageCurve(
                condition=condition,
                title=titles[condition],
                by=by,
                points=tuple(
                    CoveragePoint(
                        coverage=at / 20,
                        precision=min(1.0, accuracy + 0.3 * (1 - at / 20) ** 2),
                        cut=1 - at / 20,
                    )
                    for at in range(1, 21)
                ),
                area=accuracy,
            )
            for condition, _, accuracy, _ in CONDITIONS[:8]
            for by in (("confidence", "own score") if condition == "agent" else ("own score",))
        ),
        calibration=tuple(
            CalibrationBin(
                condition="agent",
                low=low / 5,
                high=(low + 1) / 5,
                confidence=(low + 0.5) / 5,
                accuracy=figure((low + 0.8) / 5, 8, 0.15),
            )
            for low in range(5)
        ),
        calibration_errors=(
            CalibrationError(
                condition="agent", names=figure(0.07, 34, 0.05), everything=figure(0.11, 40, 0.05)
            ),
        ),
        costs=tuple(
            CostCurve(
                condition=condition,
                title=titles[condition],
                points=tuple(
                    CostPoint(
                        images=float(images),
                        accuracy=figure(accuracy * (1 - math.exp(-images / 60)), 38, 0.1),
                    )
                    for images in (10, 20, 40, 80, 160, 320, 640)
                    if images <= most
                ),
            )
            for condition, _, accuracy, most in CONDITIONS[:3]
        ),
        sanity=(
            SanityRow(metric="AUROC", missing=figure(0.62), extra=figure(0.2)),
            SanityRow(metric="F1", missing=figure(1.0, half=0.0), extra=figure(0.97)),
        ),
        quoted=(
            QuotedRow(
                label="MAIA <i>",
                source="arXiv 2404.14394, table 2",
                measure="accuracy",
                value=0.66,
                note="units of ResNet-152",
            ),
        ),
        missing=("MAIA was not run: it needs an LLM that sees pictures, and <none> is configured.",),
        notes=("MILS draws 5 rounds of 20 prompts where the paper draws 10 of 50.",),
        totals=Totals(
            cells=517,
            expected=520,
            features=features,
            charged=48_211,
            distinct=31_077,
            drawn=29_900,
            seconds=8123.4,
        ),
    )


def image_id(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def picture(image: str) -> bytes:
    """A picture for every id but one in eight, which is missing, and one in sixteen, which is no picture."""
    first = int(image[0], 16)
    if first % 8 == 7:
        raise KeyError(image)
    if first == 2:
        return b"not a picture"
    drawn = Image.new("RGB", (64, 64), f"#{image[:6]}")
    drawn.paste(f"#{image[6:12]}", (12, 12, 44, 50))
    out = io.BytesIO()
    drawn.save(out, format="PNG")
    return out.getvalue()


def cells(features: int = 40, steps: int = 13) -> list[Cell]:
    """A cell for every condition and feature, but for a few that were not run."""
    return [
        cell(index, at, steps=steps * 8 if CONDITIONS[at][0] == "mils" else steps)
        for index in range(features)
        for at in range(len(CONDITIONS))
        if (index + at) % 17 != 16
    ]


def cell(index: int, at: int, *, steps: int = 13) -> Cell:
    condition, title, accuracy, images = CONDITIONS[at]
    rng = random.Random(f"{condition} {index}")
    kind = KINDS[index % len(KINDS)]
    concept = "" if kind == "dead" else CONCEPTS[index % len(CONCEPTS)]
    right = rng.random() < accuracy and bool(concept)
    name = concept if right else HOSTILE[(index + at) % len(HOSTILE)]
    answer = _answer(name, rng, index, steps=steps if images else 0, images=int(images))
    judged = _judged(f"{condition} {index}", rng, right) if answer.name else None
    return Cell(
        suite="0123456789abcdef",
        condition=condition,
        title=title,
        feature=Feature(dictionary="sandbox", index=17 * index),
        group="planted <sandbox>",
        truth=Truth(concept=concept, kind=kind, f1=0.9 if concept else None),
        outside_seeds=bool(index % 2),
        answer=answer,
        judged=judged,
        grade=Grade(labels=right if answer.name and concept else None, exact=right),
        drawn=3,
    )


def _answer(name: str, rng: random.Random, index: int, *, steps: int, images: int) -> Answer:
    if index % 19 == 5:
        return Answer(name=None, verdict="failed", code="bad_output", images=images)
    if index % 13 == 6:
        return Answer(name=None, verdict="unexplained", images=images, confidence=0.1)
    tried = tuple(
        Step(
            text=f"a photo of {rng.choice(CONCEPTS)}, {rng.choice(HOSTILE)}",
            score=None if at % 7 == 6 else rng.uniform(0, 12),
            images=(*(image_id(f"{index} {name} {at} {place}") for place in range(4)), None),
            activations=(*(rng.uniform(0, 12) for _ in range(4)), None),
            charged=5 * (at + 1),
            best=rng.choice(CONCEPTS),
            note=f"step {at}",
        )
        for at in range(steps)
    )
    return Answer(
        name=name,
        verdict="weak" if index % 11 == 3 else "named",
        confidence=rng.random(),
        score=rng.uniform(0, 12),
        search_score=rng.uniform(0.6, 1.0),
        images=images,
        cost=Cost(llm_calls=4, prompt_tokens=4000, completion_tokens=1120, usd=0.0123, seconds=12.25),
        steps=tried,
        run="20261121-0123-abcdef",
    )


def _judged(key: str, rng: random.Random, right: bool) -> Judged:
    auroc = rng.uniform(0.85, 0.99) if right else rng.uniform(0.4, 0.9)
    return Judged(
        cosy=CosyScore(
            auroc=auroc,
            auroc_ci=Interval(low=auroc - 0.05, high=min(1.0, auroc + 0.04)),
            ceiling=None,
            mad=None,
            max_mad=rng.uniform(0, 2),
            activation_rate=rng.random(),
            activation_rate_ci=Interval(low=0.2, high=0.9),
            control_rate=0.05,
            control_rate_ci=Interval(low=0.03, high=0.07),
            n_generated=50,
            n_control=1000,
        ),
        recall=Recall(auprc=0.7, f1=0.66, iou=0.5, correlation=math.nan, auroc=0.9, positives=40, images=900),
        specificity=rng.random(),
        optimism=-0.004,
        images=tuple(image_id(f"sealed {key} {at}") for at in range(9)),
        activations=tuple(rng.uniform(0, 12) for _ in range(9)),
    )

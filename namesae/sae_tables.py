"""The tables of an evaluation: as records for a page and for CSV, and as text for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from evals.figure_text import NONE, finite, number
from evals.scoreboard import Figure
from evals.table import Column, Entry, Line, Table, text_entry
from sae.measures.findings import Evaluation, Findings
from sae.measures.probes import Probes
from sae.measures.score import Score
from sae.measures.substitution import PatchRow, Substitution

DIGITS = 3
LOWER, HIGHER = "\N{DOWNWARDS ARROW}", "\N{UPWARDS ARROW}"
ROLES = {"this": "ours", "other": "", "untrained": "control", "noise": "control"}
WHAT = {
    "original": "untouched",
    "identity": "its own activations (ceiling)",
    "dictionary": "reconstructions",
    "untrained": "those of the untrained twin",
    "mean": "the mean (floor)",
    "zero": "zeros (floor)",
}


class Measure(NamedTuple):
    """One line of the table of scores."""

    key: str
    label: str
    hint: str
    read: Callable[[Findings], Score | None]


def _probe(on: str, figure: Callable[[Probes, int], Score]) -> Callable[[Findings], Score | None]:
    def read(findings: Findings) -> Score | None:
        probes = findings.probes
        if probes is None:
            return None
        at = next(at for at, each in enumerate(probes.scores) if each.on == on)
        return figure(probes, at)

    return read


def _accuracy(probes: Probes, at: int) -> Score:
    return probes.scores[at].accuracy


def _macro(probes: Probes, at: int) -> Score:
    return probes.scores[at].macro_f1


MEASURES: tuple[Measure, ...] = (
    Measure("fvu", f"FVU, global {LOWER}", "sum |x^ - x|^2 / sum |x - mean x|^2", lambda f: f.fidelity.fvu),
    Measure("cosine", f"cosine of x and x^ {HIGHER}", "mean over tokens", lambda f: f.fidelity.cosine),
    Measure("length", "|x^| / |x|", "mean over tokens", lambda f: f.fidelity.length),
    Measure("bias", "reconstruction bias", "E|x^|^2 / E<x, x^>; 1 is right", lambda f: f.fidelity.bias),
    Measure("gamma", "gamma of the activations", "|mean| / |deviation|", lambda f: f.fidelity.gamma),
    Measure("l0", "L0", "active features a token", lambda f: f.activity.l0),
    Measure("dead", f"dead features {LOWER}", "share that no token activates", lambda f: f.activity.dead),
    Measure("dense", "dense features", "share active on over a tenth", lambda f: f.activity.dense),
    Measure(
        "monosemanticity",
        f"monosemanticity {HIGHER}",
        "mean MS of live features; images as the judge sees them",
        lambda f: f.meaning.monosemanticity,
    ),
    Measure("chance", "the same by chance", "mean cosine of two images", lambda f: f.meaning.chance),
    Measure("overlap", f"overlap of top 16 {LOWER}", "mean Jaccard index", lambda f: f.meaning.overlap),
    Measure("cknna", f"CKNNA of codes and x {HIGHER}", "shared neighbours, 10", lambda f: f.meaning.cknna),
    Measure(
        "orthogonality",
        f"decoder, mean squared cosine {LOWER}",
        "of two directions",
        lambda f: f.geometry.orthogonality,
    ),
    Measure("coherence", f"decoder, greatest cosine {LOWER}", "|cosine|", lambda f: f.geometry.coherence),
    Measure("nearest", "decoder, cosine of nearest", "median |cosine|", lambda f: f.geometry.nearest),
    Measure("probe_x", f"probe of x, accuracy {HIGHER}", "held-out images", _probe("activations", _accuracy)),
    Measure(
        "probe_rebuilt",
        f"probe of x^, accuracy {HIGHER}",
        "its own probe",
        _probe("reconstructions", _accuracy),
    ),
    Measure("probe_codes", f"probe of codes, accuracy {HIGHER}", "its own probe", _probe("codes", _accuracy)),
    Measure("probe_codes_f1", f"probe of codes, macro F1 {HIGHER}", "its own probe", _probe("codes", _macro)),
    Measure(
        "agreement",
        f"probe of x, shown x^: agrees {HIGHER}",
        "share of images",
        lambda f: None if f.probes is None else f.probes.agreement,
    ),
    Measure(
        "divergence",
        f"and KL to what it said {LOWER}",
        "nats",
        lambda f: None if f.probes is None else f.probes.divergence,
    ),
)


def scores(evaluation: Evaluation) -> Table:
    """Every measure, the dictionary and its controls side by side."""
    columns = [Column("measure", "Measure", "text")]
    columns += [Column(_key(each, at), each.name) for at, each in enumerate(evaluation.findings)]
    lines = []
    for measure in MEASURES:
        found = [measure.read(each) for each in evaluation.findings]
        if any(each is not None and each.value is not None for each in found):
            entries = (Entry(measure.label, measure.key), *(score_entry(each) for each in found))
            lines.append(Line(entries))
    return Table("scores", "Every measure, with its controls", tuple(columns), tuple(lines))


def explained(evaluation: Evaluation) -> Table:
    """Explained variance by every definition."""
    columns = [Column("peer", "Definition", "text")]
    columns += [Column(_key(each, at), each.name, "number") for at, each in enumerate(evaluation.findings)]
    columns.append(Column("formula", "Formula", "text"))
    lines = []
    for at, first in enumerate(evaluation.findings[0].fidelity.explained):
        values = [each.fidelity.explained[at].value for each in evaluation.findings]
        numbers = [Entry(number(value, DIGITS), finite(value)) for value in values]
        lines.append(Line((Entry(first.peer, first.peer), *numbers, text_entry(first.formula))))
    return Table("explained", "Explained variance, by definition", tuple(columns), tuple(lines))


def substitutions(evaluation: Evaluation) -> Table:
    """Every patch at every set of tokens."""
    columns = (
        Column("patch", "In the place of activations", "text"),
        Column("tokens", "Tokens", "text"),
        Column("told_by", "Classes told by", "text"),
        Column("top1", f"Top 1 {HIGHER}"),
        Column("top5", f"Top 5 {HIGHER}"),
        Column("drop", f"Top 1 lost {LOWER}"),
        Column("cross_entropy", f"Cross-entropy {LOWER}"),
        Column("recovered", f"Recovered {HIGHER}", hint="of the cross-entropy that the mean costs"),
    )
    lines = tuple(_patch_line(each, row) for each in evaluation.substitutions for row in each.rows)
    return Table("substitution", "The model with something else in place", columns, lines)


def classes(evaluation: Evaluation) -> Table:
    """Accuracy by class under the first substitution that names them."""
    named = next((each for each in evaluation.substitutions if each.classes), None)
    columns = (
        Column("class", "Class", "text"),
        Column("images", "Images", "number"),
        Column("original", "Untouched", "number"),
        Column("dictionary", "Reconstructions", "number"),
        Column("lost", "Lost", "number"),
    )
    rows = sorted(named.classes, key=lambda row: row.dictionary - row.original) if named else []
    lines = tuple(
        Line(
            (
                text_entry(row.name),
                Entry(str(row.images), row.images),
                *(
                    Entry(number(value, DIGITS), value)
                    for value in (row.original, row.dictionary, row.original - row.dictionary)
                ),
            )
        )
        for row in rows
    )
    return Table("classes", "Top-1 accuracy by class, the worst losses first", columns, lines)


def matching(evaluation: Evaluation) -> Table:
    """How far features are found again in others."""
    columns = (
        Column("other", "Found again in", "text"),
        Column("cosine", f"Mean |cosine| {HIGHER}"),
        Column("found_again", f"Of .9 or more {HIGHER}"),
        Column("matched", "Features matched", "number"),
    )
    lines = tuple(
        Line(
            (
                text_entry(each.other),
                score_entry(each.mean),
                score_entry(each.found_again),
                Entry(str(each.matched), each.matched),
            )
        )
        for each in evaluation.matching
    )
    return Table("matching", "Stability: features matched one to one", columns, lines)


def score_entry(score: Score | None) -> Entry:
    """A score with its interval; a dash where there is none."""
    if score is None:
        return Entry(NONE)
    figure = Figure(value=score.value, low=score.low, high=score.high, n=score.n)
    return Entry(number(score.value, DIGITS), finite(score.value), figure)


def interval_of(entry: Entry) -> str:
    """``[lo, hi]`` in three decimals; empty where there is no interval."""
    figure = entry.interval
    if figure is None or finite(figure.low) is None or finite(figure.high) is None:
        return ""
    return f"[{number(figure.low, DIGITS)}, {number(figure.high, DIGITS)}]"


def printed(evaluation: Evaluation) -> list[str]:
    """The table of scores, what was patched, and what is left out, as lines of text."""
    lines = [heading(evaluation), "", *aligned(scores(evaluation))]
    cluster = evaluation.findings[0].activity.density.cluster
    if cluster is not None:
        lines += [
            "",
            f"{cluster.features} features are an ultra-low-density cluster, below 10^{cluster.boundary:.1f}.",
        ]
    lines += ["", *aligned(_varying(substitutions(evaluation)))] if evaluation.substitutions else []
    lines += ["", *aligned(matching(evaluation))] if evaluation.matching else []
    return lines + ([""] if evaluation.left_out else []) + list(evaluation.left_out)


def heading(evaluation: Evaluation) -> str:
    """What was measured on what."""
    tokens = "" if evaluation.tokens == 1 else f" x {evaluation.tokens} tokens"
    return (
        f"{evaluation.dictionary}: {evaluation.architecture}, {evaluation.n_features:,} features, "
        f"{evaluation.hook_point} of {evaluation.backbone}; {evaluation.n_images:,} images{tokens}"
    )


def aligned(table: Table) -> list[str]:
    """A table in columns of text; words to the left, figures to the right."""
    rows = [[column.label for column in table.columns]]
    rows += [[f"{entry.text} {interval_of(entry)}".strip() for entry in line.entries] for line in table.lines]
    widths = [max(len(row[at]) for row in rows) for at in range(len(table.columns))]
    left = [column.kind == "text" for column in table.columns]
    return [
        "   ".join(
            cell.ljust(width) if to_left else cell.rjust(width)
            for cell, width, to_left in zip(row, widths, left, strict=True)
        ).rstrip()
        for row in rows
    ]


def _varying(table: Table) -> Table:
    """Without the columns of words that say the same on every line: a terminal is narrow."""
    kept = [
        at
        for at, column in enumerate(table.columns)
        if column.kind != "text" or len({line.entries[at].text for line in table.lines}) > 1
    ]
    lines = tuple(line._replace(entries=tuple(line.entries[at] for at in kept)) for line in table.lines)
    return table._replace(columns=tuple(table.columns[at] for at in kept), lines=lines)


def _patch_line(substitution: Substitution, row: PatchRow) -> Line:
    told = "text" if substitution.templates else "the model's own"
    told += "" if substitution.target == "labels" else ", against itself"
    entries: Sequence[Entry] = (
        Entry(WHAT[row.what], row.what),
        Entry(substitution.tokens, substitution.tokens),
        Entry(told, told),
        *(score_entry(each) for each in (row.top1, row.top5, row.drop, row.cross_entropy, row.recovered)),
    )
    role = (
        "ours" if row.what == "dictionary" else "control" if row.what not in ("original", "identity") else ""
    )
    return Line(tuple(entries), role=role)


def _key(findings: Findings, at: int) -> str:
    return findings.role if findings.role != "other" else f"other_{at}"

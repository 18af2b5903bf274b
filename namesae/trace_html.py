"""A run as one HTML file that needs nothing else: no script, no request, every text escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from agent.events import Asked, Event, Judged, Observed, Planned, Raced, Scored
from agent.hypotheses import Hypothesis
from agent.proposer import LlmCall
from agent.records import Evidence, Explanation, Trial
from namesae.histogram import Plot, Series, plot
from namesae.lines import NO_NAME, cost_text, event_line, images_text, percent, score_text, verdict_text
from namesae.rival_cards import race_view
from namesae.tiles import Pictures, Tile, exemplar_tiles, page_environment, sealed_tiles
from namesae.traces import Trace
from sae.whole_file import whole_file
from tools.protocols import CosyScore, Interval, StoresImages


class TrialRow(NamedTuple):
    """A prompt that was tried."""

    prompt: str
    intent: str
    rationale: str
    mean: float | None
    tiles: tuple[Tile, ...]
    fault: str | None


class Round(NamedTuple):
    """One plan and what came of it."""

    number: int
    plan: str
    reason: str
    names: tuple[str, ...]
    refused: tuple[tuple[str, str], ...]
    rows: tuple[TrialRow, ...]


class Figure(NamedTuple):
    """One measured figure."""

    label: str
    value: str
    note: str = ""


def write_trace_html(trace: Trace, store: StoresImages, *, path: Path) -> Path:
    """Write the page in one step and return its path."""
    page = render_trace(trace, store)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial:
        partial.write_text(page, encoding="utf-8")
    return path


def render_trace(trace: Trace, store: StoresImages, *, template: str = "trace.html") -> str:
    """The page as text."""
    return page_environment().get_template(template).render(_view(trace, store))


def _view(trace: Trace, store: StoresImages) -> dict[str, Any]:
    explanation, pictures = trace.explanation, Pictures(store)
    evidence = explanation.evidence if explanation else None
    threshold = evidence.facts.threshold if evidence else _threshold(trace.events)
    return {
        "trace": trace,
        "explanation": explanation,
        "evidence": evidence,
        "name": (explanation.name if explanation else None) or NO_NAME,
        "verdict": verdict_text(explanation) if explanation else "unfinished",
        "summary": summary_of(explanation),
        "figures": _figures(explanation) if explanation else (),
        "plot": _plot(trace, evidence),
        "exemplars": exemplar_tiles(evidence, pictures),
        "hypotheses": _hypotheses(trace.events),
        "rounds": _rounds(trace.events, pictures, threshold=threshold),
        "race": next((e.what for e in reversed(trace.events) if isinstance(e.what, Raced)), None),
        "raced": race_view(trace.race, pictures, threshold=threshold),
        "judged": next((e.what for e in reversed(trace.events) if isinstance(e.what, Judged)), None),
        "sealed": sealed_tiles(evidence, pictures),
        "calls": tuple(each.what.call for each in trace.events if isinstance(each.what, Asked)),
        "messages": _messages,
        "timeline": tuple((each.at, each.node, event_line(each)) for each in trace.events),
        "interval": _interval,
    }


def _hypotheses(events: Iterable[Event]) -> tuple[Hypothesis, ...]:
    """As the proposer last held them."""
    plans = [event.what for event in events if isinstance(event.what, Planned)]
    return next((plan.hypotheses for plan in reversed(plans) if plan.hypotheses), ())


def summary_of(explanation: Explanation | None) -> str:
    if explanation is None:
        return "This run has not ended; the same command continues it."
    if explanation.sealed is None:
        return "No name was judged."
    return score_text(explanation.sealed)


def _figures(explanation: Explanation) -> tuple[Figure, ...]:
    evidence = explanation.evidence
    told = [Figure("Confidence", f"{explanation.confidence:.2f}", "in the name, from its lower bound")]
    if explanation.sealed is not None:
        told += _sealed_figures(explanation.sealed)
    if evidence is not None and evidence.floor_auroc is not None:
        told.append(Figure("Floor", f"{evidence.floor_auroc:.3f}", "AUROC of other names on this feature"))
    if evidence is not None and evidence.optimism_gap is not None:
        told.append(Figure("Optimism gap", f"{evidence.optimism_gap:+.3f}", "race AUROC minus sealed AUROC"))
    told.append(Figure("Images", images_text(explanation), f"{explanation.images.drawn} drawn by this run"))
    seconds = f"{explanation.cost.seconds:.1f} s"
    told.append(Figure("Cost", seconds, cost_text(explanation) or "no LLM was asked"))
    return tuple(told)


def _sealed_figures(score: CosyScore) -> list[Figure]:
    ceiling = "ceiling unknown" if score.ceiling is None else f"ceiling {score.ceiling:.3f}"
    n = f"{score.n_generated} drawn, {score.n_control} control images"
    return [
        Figure("AUROC", f"{score.auroc:.3f} {_interval(score.auroc_ci)}", ceiling),
        Figure(
            "Fires on drawn", f"{percent(score.activation_rate)} {_percents(score.activation_rate_ci)}", n
        ),
        Figure("Fires on control", f"{percent(score.control_rate)} {_percents(score.control_rate_ci)}"),
        Figure(
            "MAD", "undefined" if score.mad is None else f"{score.mad:.2f}", "in deviations of the control"
        ),
        Figure(
            "max-MAD", "undefined" if score.max_mad is None else f"{score.max_mad:.2f}", "in control maxima"
        ),
    ]


def _interval(interval: Interval | None) -> str:
    return "" if interval is None else f"[{interval.low:.3f}, {interval.high:.3f}]"


def _percents(interval: Interval) -> str:
    return f"[{100 * interval.low:.0f}, {100 * interval.high:.0f}]"


def _plot(trace: Trace, evidence: Evidence | None) -> Plot | None:
    if evidence is None:
        return None
    series = (
        Series("control", trace.control),
        Series("exemplars", tuple(each.activation for each in evidence.exemplars)),
        Series("sealed", evidence.sealed_activations),
    )
    return plot(series, threshold=evidence.facts.threshold)


def _rounds(events: Sequence[Event], pictures: Pictures, *, threshold: float) -> tuple[Round, ...]:
    """The plans in order, each with what was scored for it; of a repeated node the later telling counts."""
    plans: dict[int, Planned] = {}
    trials: dict[int, tuple[Trial, ...]] = {}
    number = 0
    for event in events:
        if isinstance(event.what, Planned):
            number = event.round
            plans[number] = event.what
        elif isinstance(event.what, Scored):
            trials[number] = event.what.trials
    return tuple(
        _round(number + 1, plan, trials=trials.get(number, ()), pictures=pictures, threshold=threshold)
        for number, plan in sorted(plans.items())
    )


def _round(
    number: int, plan: Planned, *, trials: Iterable[Trial], pictures: Pictures, threshold: float
) -> Round:
    rows = [_row(trial, pictures, threshold=threshold) for trial in trials]
    rows.sort(key=lambda row: -1.0 if row.mean is None else row.mean, reverse=True)
    refused = tuple((each.prompt, each.why) for each in plan.refused)
    return Round(number, plan.plan, plan.reason, plan.names, refused, tuple(rows))


def _row(trial: Trial, pictures: Pictures, *, threshold: float) -> TrialRow:
    known = [value for value in trial.activations if value is not None]
    drawn = zip(trial.images, trial.activations, trial.seeds, strict=True)
    return TrialRow(
        trial.proposal.prompt,
        trial.proposal.intent,
        trial.proposal.rationale,
        sum(known) / len(known) if known else None,
        tuple(
            pictures.tile(image, value, threshold=threshold, title=f"seed {seed}")
            for image, value, seed in drawn
        ),
        trial.fault,
    )


def _threshold(events: Sequence[Event]) -> float:
    known = [each.what.facts.threshold for each in events if isinstance(each.what, Observed)]
    return known[-1] if known else 0.0


def _messages(call: LlmCall) -> tuple[tuple[str, str], ...]:
    return (*call.messages, ("reply", call.reply))

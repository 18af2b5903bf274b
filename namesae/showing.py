"""What the commands show, trace and dictionaries print."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from agent.events import Event
from agent.records import Explanation, NeighbourFiring
from agent.runs_store import WITHOUT_ANSWER
from namesae.dictionaries import Damaged, Listed, list_dictionaries
from namesae.lines import feature_line, percent, plain, question_line, quoted, step_line, timed_line
from namesae.reporters import write_json
from namesae.settings import Settings
from namesae.told_conversations import conversation_lines, events_of_conversation
from namesae.traces import Trace, latest_explanations, read_trace
from namesae.wiring import State, open_state
from tools.errors import UsageError

SHOWN = 10
"""Runs of a feature that are told."""
MOST_RUNS = 500
"""Of the latest runs, those that are looked through for some that found something."""


def show_feature(feature: str, settings: Settings, *, as_json: bool = False) -> int:
    """Print what is stored about a feature: what its last run found, then earlier ones, latest first.

    A run that failed or was cancelled comes after those that did not.
    """
    with open_state(settings) as state:
        stored = latest_explanations(feature, state, settings=settings, count=MOST_RUNS)
    stored = sorted(stored, key=lambda each: each.verdict in WITHOUT_ANSWER)[:SHOWN]
    if as_json:
        for explanation in stored:
            write_json("feature", explanation.model_dump(mode="json"), out=sys.stdout)
        return 0
    _print(_told(stored[0].model_copy(update={"stored": True})))
    if len(stored) > 1:
        _print(["", "Other runs:"])
        _print(f"  {each.run}   {feature_line(each)}   {each.created[:10]}" for each in stored[1:])
    return 0


def show_trace(run: str, settings: Settings, *, html: Path | None = None, as_json: bool = False) -> int:
    """Print a run, or write it as a page; a conversation by its thread as well, which has no page."""
    with open_state(settings) as state:
        asked = events_of_conversation(run, state)
        if asked:
            return _show_conversation(run, asked, state, html=html, as_json=as_json)
        trace = read_trace(run, state, settings=settings, race=as_json or html is not None)
        if html is not None:
            from namesae.trace_html import write_trace_html

            write_trace_html(trace, state.images, path=html)
    if as_json:
        write_json("trace", trace.model_dump(mode="json"), out=sys.stdout)
    elif html is not None:
        _print([str(html)])
    else:
        _print(trace_lines(trace))
    return 0


def _show_conversation(
    thread: str, events: Sequence[Event], state: State, *, html: Path | None, as_json: bool
) -> int:
    if html is not None:
        raise UsageError(f"{thread} is a conversation, of which there is no page; leave --html out.")
    if as_json:
        told = [event.model_dump(mode="json") for event in events]
        write_json("conversation", {"thread": thread, "events": told}, out=sys.stdout)
    else:
        _print(conversation_lines(events, state.images.path_or_url))
    return 0


def show_dictionaries(settings: Settings, *, as_json: bool = False) -> int:
    """Print the dictionaries; those that are damaged say how."""
    found = list_dictionaries(settings)
    if as_json:
        for each in found:
            write_json("dictionary", dictionary_record(each), out=sys.stdout)
    else:
        _print(_columns([dictionary_row(each) for each in found] or [["There is no dictionary."]]))
    return 0


def dictionary_record(each: Listed | Damaged) -> dict[str, object]:
    """A dictionary as --json says it."""
    if isinstance(each, Damaged):
        return {"name": each.name, "folder": str(each.folder), "fault": each.reason}
    card = each.card.model_dump(mode="json", by_alias=True) if each.card else None
    return {"name": each.name, "folder": str(each.folder or ""), "origin": each.origin, "card": card}


def dictionary_row(each: Listed | Damaged) -> list[str]:
    """A dictionary as a row of the list."""
    if isinstance(each, Damaged):
        return [each.name, f"damaged: {each.reason}"]
    card = each.card
    if card is None:
        return [each.name, f"{each.n_features} features", "planted", "", each.origin]
    where = f"{card.backbone.kind} {Path(card.backbone.source).name}, {card.hook_point}"
    return [
        each.name,
        f"{each.n_features} features",
        f"{card.architecture} of width {card.width}",
        where,
        each.origin,
    ]


def trace_lines(trace: Trace) -> Iterable[str]:
    """A run as text, an event a line."""
    for event in trace.events:
        yield timed_line(event)
        if event.what.kind == "scored":
            for trial in event.what.trials:
                values = ", ".join("none" if value is None else f"{value:.2f}" for value in trial.activations)
                yield plain(f"{'':19}{trial.proposal.prompt!r}: {trial.fault or values}")
    if trace.steps:
        yield from ("", f"Steps, for namesae fork {trace.run} --at N:", *map(step_line, trace.steps), "")
    if trace.question is not None:
        yield question_line(trace.question)
    elif trace.explanation is None:
        yield "The run has not ended; the same command continues it."
    else:
        yield feature_line(trace.explanation)


def _told(explanation: Explanation) -> Iterable[str]:
    yield feature_line(explanation)
    yield ""
    if explanation.parts:
        yield f"  parts        {quoted(explanation.parts)}"
    yield f"  confidence   {explanation.confidence:.2f}"
    evidence = explanation.evidence
    if evidence is not None:
        yield f"  active on    {percent(evidence.facts.density)} of the probe set"
        if evidence.floor_auroc is not None:
            yield f"  floor        AUROC {evidence.floor_auroc:.2f} of other names on this feature"
        if evidence.optimism_gap is not None:
            yield f"  optimism     {evidence.optimism_gap:+.2f}, race AUROC minus sealed AUROC"
        if evidence.neighbours:
            yield f"  neighbours   {neighbours_text(evidence.neighbours)}"
    rivals = [each.name for each in explanation.rivals if each.name != explanation.name]
    if rivals:
        yield f"  rivals       {quoted(rivals)}"
    yield f"  proposer     {explanation.proposer}, {explanation.cost.seconds:.1f} s"
    yield f"  run          {explanation.run}"
    yield f"  why          namesae trace {explanation.run} --html trace.html"


def neighbours_text(found: Sequence[NeighbourFiring]) -> str:
    """How often the nearest features fire on the name's own race images, beside the feature itself."""
    told = ", ".join(
        f"#{each.index} {percent(each.rate)}"
        + ("" if each.cosine is None else f" (cosine {each.cosine:.2f})")
        for each in found
    )
    first = found[0]
    return f"{told} of the name's {first.n_images} race images; itself {percent(first.own_rate)}"


def _columns(rows: list[list[str]]) -> Iterable[str]:
    """Rows with their cells below each other; the last cell of a row may be as long as it likes."""
    widths = [0] * max(len(row) for row in rows)
    for row in rows:
        for at, text in enumerate(row[:-1]):
            widths[at] = max(widths[at], len(text))
    for row in rows:
        yield "   ".join(text.ljust(width) for text, width in zip(row, widths, strict=False)).rstrip()


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")

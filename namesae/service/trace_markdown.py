"""A trace as Markdown, to be pasted elsewhere. All texts in it are data, and shown as such."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime

from agent.events import Event
from agent.proposer import LlmCall
from agent.records import Explanation, Trial
from namesae.lines import NO_NAME, event_line, feature_line, plain
from namesae.traces import Trace

MOST_REPLY = 4_000
"""Characters of an LLM's reply that are shown."""
_MARKS = re.compile(r"[\\`*_{}\[\]<>#|~&]|^[-+=]|(?<=^\d)[.)]|(?<=^\d\d)[.)]")


def trace_markdown(trace: Trace) -> str:
    """The answer, the rivals, then what happened, event by event."""
    lines = [f"# Run {escaped(trace.run)}", "", *_answer(trace)]
    lines += ["", "## What happened", ""]
    for event in trace.events:
        lines += _event(event)
    return "\n".join([*lines, ""])


def escaped(text: str) -> str:
    """The text on one line, with nothing in it that Markdown or HTML would obey."""
    return _MARKS.sub(r"\\\g<0>", plain(" ".join(text.split())))


def _answer(trace: Trace) -> Iterable[str]:
    told = trace.explanation
    if told is None:
        return ["The run has not ended."]
    lines = [f"**{escaped(told.name or NO_NAME)}** is the name of {escaped(str(told.feature))}.", ""]
    lines += [f"- {escaped(feature_line(told))}", f"- confidence {told.confidence:.2f}"]
    lines += [f"- proposer {escaped(told.proposer)}, {escaped(told.created)}"]
    return [*lines, *_rivals(told)]


def _rivals(told: Explanation) -> Iterable[str]:
    if not told.rivals:
        return []
    rows = [
        f"| {escaped(each.name)} | {'' if each.auroc is None else format(each.auroc, '.3f')} "
        f"| {'' if each.rate is None else format(each.rate, '.2f')} | {each.n_images} |"
        for each in told.rivals
    ]
    return ["", "## Rivals", "", "| name | AUROC | fires | images |", "| --- | --- | --- | --- |", *rows]


def _event(event: Event) -> Iterable[str]:
    if event.what.kind == "streamed":
        return []
    at = datetime.fromtimestamp(event.at, UTC).strftime("%H:%M:%S")
    lines = [f"- `{at}` **{escaped(event.node)}** {escaped(event_line(event))}"]
    if event.what.kind == "scored":
        lines += [_trial(trial) for trial in event.what.trials]
    if event.what.kind == "asked":
        lines += _reply(event.what.call)
    return lines


def _trial(trial: Trial) -> str:
    values = ", ".join("none" if each is None else f"{each:.2f}" for each in trial.activations)
    return f"  - {escaped(trial.proposal.prompt)}: {escaped(trial.fault) if trial.fault else values}"


def _reply(call: LlmCall) -> Iterable[str]:
    """What the LLM said, in a fence that is longer than any in it."""
    text = call.reply[:MOST_REPLY] + ("…" if len(call.reply) > MOST_REPLY else "")
    lines = [plain(line) for line in text.splitlines()]
    longest = max((len(each) for each in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return ["", f"  {fence}text", *(f"  {line}" for line in lines), f"  {fence}", ""]

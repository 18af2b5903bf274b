"""Runs as the MCP tools tell them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.streaming import settled
from namesae.lines import event_line
from namesae.mcp_records import (
    FeatureAnswer,
    RunAnswer,
    TraceAnswer,
    TraceLine,
    TriedPrompt,
    feature_uri,
    run_uri,
)

if TYPE_CHECKING:
    from agent.records import Explanation
    from namesae.service.job_records import RunStatus
    from namesae.service.service import Service

NEXT = {
    "queued": "It waits for a worker; call get_trace with this run in a while.",
    "running": "It goes on; call get_trace with this run in a while.",
    "waiting": "A person must rule on the name first (namesae review, or the review page).",
    "paused": "It was paused; resume it on its page or over the API.",
    "stopped": "Nobody is at work on it; call name_feature with the same arguments to go on.",
    "failed": "See the error; call name_feature with the same arguments to try again.",
    "cancelled": "It was cancelled; call name_feature with again=true for a new run.",
    "ended": "Done; get_trace tells how the name was found.",
}


def run_answer(service: Service, status: RunStatus) -> RunAnswer:
    """How a run stands, with its answer where there is one."""
    told = _explanation(service, status.run)
    dictionary, _, index = status.feature.rpartition("#")
    return RunAnswer(
        run=status.run,
        uri=run_uri(status.run),
        feature=status.feature,
        feature_uri=feature_uri(dictionary, int(index)),
        state=status.state,
        answer=None if told is None else FeatureAnswer.of(told).model_copy(update={"stored": status.stored}),
        search_images=status.search_images,
        max_images=status.limit_images,
        usd=status.usd,
        error=status.error,
        next=NEXT[status.state],
    )


def trace_answer(service: Service, run: str, *, most_lines: int) -> TraceAnswer:
    """A run with what happened in it. NotFound."""
    status = service.runs.status(run)
    events = settled(entry.event for entry in service.runs.events(run))
    lines = [
        TraceLine(at=each.at, node=each.node, round=each.round, text=event_line(each)) for each in events
    ]
    trials = [trial for each in events if each.what.kind == "scored" for trial in each.what.trials]
    answer = run_answer(service, status)
    return TraceAnswer(
        **{name: getattr(answer, name) for name in RunAnswer.model_fields},
        markdown_uri=f"{run_uri(run)}/markdown",
        lines=tuple(lines[-most_lines:]),
        left_out=max(0, len(lines) - most_lines),
        prompts=tuple(TriedPrompt.of(trial) for trial in trials if not trial.fault),
        llm_calls=sum(each.what.kind == "asked" for each in events),
    )


def _explanation(service: Service, run: str) -> Explanation | None:
    row = service.state.runs.row(run)
    return None if row is None else row.explanation

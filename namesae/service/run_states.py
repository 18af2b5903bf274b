"""How runs stand, read for many at once: from their own record, their job, and whoever is at work on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, cast

from agent.runs_store import RunLine
from namesae.service.job_leases import ask_for_job, read_job
from namesae.service.job_records import Job, RunStatus
from namesae.wiring import State
from tools import keys
from tools.claims import Claims

RunState = Literal["queued", "running", "waiting", "paused", "ended", "failed", "cancelled", "stopped"]
_Stream = list[tuple[bytes, object]]


class _Seen(NamedTuple):
    """What is known of a run beside its own record."""

    job: Job | None
    at_work: bool
    """Whether some process carries it on right now."""
    waits: bool
    """Whether its name waits for a person."""
    last_event: str | None


def run_statuses(runs: Sequence[str], state: State, *, readable: bool = False) -> list[RunStatus]:
    """How runs stand, in their order, without those that were never accepted; ``readable``: and without those
    that another version recorded."""
    lines = state.runs.lines(runs, readable=readable)
    ids = [line.run for line in lines]
    return [_status(line, seen) for line, seen in zip(lines, _seen(ids, state), strict=True)]


def _seen(runs: Sequence[str], state: State) -> list[_Seen]:
    at_work = Claims(state.client, "run").held(runs)
    with state.client.pipeline(transaction=False) as pipe:
        for run in runs:
            ask_for_job(pipe, run)
            pipe.zscore(keys.waiting(), run)
            pipe.xrevrange(keys.events(run), count=1)
        told = pipe.execute()
    found = zip(runs, told[::3], told[1::3], told[2::3], strict=True)
    return [
        _Seen(read_job(run, job), run in at_work, waits is not None, _last(stream))
        for run, job, waits, stream in found
    ]


def _last(stream: _Stream) -> str | None:
    return stream[0][0].decode() if stream else None


def _status(line: RunLine, seen: _Seen) -> RunStatus:
    request, brief, job = line.request, line.brief, seen.job
    told = _state(line, seen)
    return RunStatus(
        run=line.run,
        feature=str(request.feature),
        state=told,
        proposer=request.proposer,
        seed=request.settings.seed,
        started=line.accepted,
        node=brief.node,
        round=brief.round,
        search_images=brief.search,
        limit_images=request.settings.limits.images,
        usd=brief.usd,
        tokens=brief.tokens,
        name=brief.name,
        verdict=brief.verdict,
        confidence=brief.confidence,
        error=None if job is None or told not in ("ended", "failed") else job.error,
        forked_from=None if request.fork is None else request.fork.origin.run,
        last_event=seen.last_event,
    )


def _state(line: RunLine, seen: _Seen) -> RunState:
    verdict, job = line.brief.verdict, seen.job
    if verdict is not None:
        return "cancelled" if verdict == "cancelled" else "ended"
    if seen.at_work:
        return "running"
    if job is not None and job.state in ("queued", "running", "paused", "failed"):
        return cast(RunState, job.state)
    if seen.waits:
        return "waiting"
    return "paused" if line.halt == "pause" else "stopped"

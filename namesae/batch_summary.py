"""What a batch came to: verdicts, cost, the survey's share of it, names that several features share."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from agent.collisions import Collision, NamedFeature, collisions, shared_names
from namesae.batch_records import BatchRow, BatchSummary, Spread
from namesae.wiring import Workbench
from tools.ledger import Ledger
from tools.ledgered import LedgeredScore

if TYPE_CHECKING:
    from namesae.batching import BatchRun


def summary_of(run: BatchRun, exit_code: int, *, error: str | None, began: float) -> BatchSummary:
    """How things stand, whoever named the features. ``began``: on the monotonic clock, of this call."""
    rows = run.store.rows(run.indices)
    charged = 0 if run.outcome is None else run.outcome.charged
    searched = sum(row.search for row in rows)
    share = charged / len(run.indices)
    return BatchSummary(
        success=exit_code == 0,
        exit_code=exit_code,
        batch=run.batch,
        error=error,
        asked=len(run.indices),
        done=len(rows),
        verdicts=dict(Counter(row.verdict for row in rows)),
        failures=tuple(run.failures.values()),
        unasked=len(run.unasked),
        waiting=len(run.waiting),
        survey=run.outcome,
        survey_share=charged / (charged + searched) if charged + searched else None,
        search=Spread.of([row.search + share for row in rows]),
        sealed=Spread.of([float(row.sealed) for row in rows]),
        usd=_dollars(rows),
        collisions=_collisions(rows, run.bench),
        seconds=round(time.monotonic() - began, 3),
    )


def _dollars(rows: Sequence[BatchRow]) -> Spread | None:
    known = [row.usd for row in rows if row.usd is not None]
    return Spread.of(known) if len(known) == len(rows) else None


def _collisions(rows: Sequence[BatchRow], bench: Workbench) -> tuple[Collision, ...]:
    named = [(row, row.name) for row in rows if row.put_forward and row.name is not None]
    shared = {row for holders in shared_names(named).values() for row in holders}
    found = [each for row in sorted(shared, key=lambda row: row.index) if (each := _named(row, bench))]
    # Race images were scored for all features when they were drawn: nothing is scored now.
    score = LedgeredScore(bench.models.score, Ledger(bench.state.client))
    return collisions(found, score=score, cosine=bench.cosine) if found else ()


def _named(row: BatchRow, bench: Workbench) -> NamedFeature | None:
    kept = bench.state.runs.row(row.run)
    told = None if kept is None else kept.explanation
    if told is None or told.evidence is None or row.name is None:
        return None
    evidence = told.evidence
    return NamedFeature(row.index, row.name, evidence.own_images, evidence.facts.threshold)

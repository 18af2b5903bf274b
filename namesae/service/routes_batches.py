"""Batches: name many features, see how far it is, stop it, go on."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from namesae.service import api_examples as examples
from namesae.service.api_records import BatchList, BatchRowPage
from namesae.service.api_words import (
    MOST_INDEX,
    PREFIX,
    BatchId,
    Key,
    Limit,
    Reader,
    Runner,
    Served,
    answers,
    strictly,
)
from namesae.service.batches import BatchStatus
from namesae.service.orders import BatchOrder

router = APIRouter(prefix=PREFIX, tags=["batches"])

AfterIndex = Annotated[int, Query(ge=-1, le=MOST_INDEX, description="`next` of the page before.")]


@router.post("/batches", status_code=202, responses=answers(examples.BATCH, 404, 409, 413, 429, status=202))
def start_batch(
    order: Annotated[BatchOrder, strictly(BatchOrder)], service: Served, who: Runner, key: Key = None
) -> BatchStatus:
    """Survey, then name many features of a dictionary within budgets; an equal order is the same batch."""
    return service.batches.start(order, who=who.name, key=key)


@router.get("/batches", responses=answers(examples.BATCHES))
def list_batches(service: Served, _: Reader, limit: Limit = 50) -> BatchList:
    """Batches, latest first."""
    return BatchList(batches=service.batches.list(limit=limit))


@router.get("/batches/{batch}", responses=answers(examples.BATCH, 404, 409))
def get_batch(batch: BatchId, service: Served, _: Reader) -> BatchStatus:
    """How a batch stands."""
    return service.batches.get(batch)


@router.get("/batches/{batch}/rows", responses=answers(examples.BATCH_ROWS, 404, 409))
def list_batch_rows(
    batch: BatchId, service: Served, _: Reader, cursor: AfterIndex = -1, limit: Limit = 200
) -> BatchRowPage:
    """Its features that have a verdict, by index."""
    rows = service.batches.rows(batch, after=cursor, limit=limit)
    return BatchRowPage(rows=rows, next=rows[-1].index if len(rows) == limit else None)


@router.post("/batches/{batch}/pause", responses=answers(examples.BATCH, 404, 409))
def pause_batch(batch: BatchId, service: Served, _: Runner) -> BatchStatus:
    """Stop a batch after the step in progress, to be resumed."""
    return service.batches.pause(batch)


@router.post("/batches/{batch}/cancel", responses=answers(examples.BATCH, 404, 409))
def cancel_batch(batch: BatchId, service: Served, _: Runner) -> BatchStatus:
    """End a batch after the step in progress; what was named is kept."""
    return service.batches.cancel(batch)


@router.post("/batches/{batch}/resume", responses=answers(examples.BATCH, 404, 409, 429))
def resume_batch(batch: BatchId, service: Served, _: Runner) -> BatchStatus:
    """Go on with a paused, failed or stopped batch."""
    return service.batches.resume(batch)

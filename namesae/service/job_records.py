"""How a job stands."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from agent.records import VerdictKind
from namesae.service.orders import Order
from sae.feature import Frozen

JobState = Literal["queued", "running", "waiting", "paused", "ended", "failed", "cancelled"]
"""*waiting*: for a review. *paused*: stopped after a step, until resumed. *failed*: ``error`` says why."""
Halt = Literal["pause", "cancel"]


class Job(Frozen):
    """One order and what became of it."""

    id: str
    """Of a naming, a fork or a ruling the run id; of a batch the batch id; of an evaluation its id."""
    order: Order
    who: str
    """Name of the token it was asked with; ``local`` without one."""
    state: JobState
    asked: float
    """Seconds since the epoch."""
    began: float | None = None
    ended: float | None = None
    halt: Halt | None = None
    """What it was asked to do at its next step."""
    tries: int = 0
    """Times a worker began it and did not come to an end."""
    error: str | None = None
    """One sentence, for failed ones."""
    exit_code: int | None = None
    worker: str | None = None
    """HOST:PID that is or was at work on it."""


class RunStatus(Frozen):
    """How one naming stands, whoever started it: a job, the command line, a batch."""

    run: str
    feature: str
    state: Literal["queued", "running", "waiting", "paused", "ended", "failed", "cancelled", "stopped"]
    """*stopped*: nobody is at work on it and no job waits for a worker; resuming makes one."""
    proposer: str
    seed: int
    started: float
    """Seconds since the epoch."""
    node: str | None = None
    """The last node that said something."""
    round: int = 0
    search_images: int = 0
    """Charged so far."""
    limit_images: int = 0
    usd: float | None = 0.0
    """Spent so far; None where the price is unknown."""
    tokens: int | None = 0
    name: str | None = None
    verdict: VerdictKind | None = None
    """None while it is unfinished."""
    confidence: float | None = None
    stored: bool = False
    """Whether the order was answered from the store."""
    error: str | None = None
    forked_from: str | None = None
    last_event: str | None = Field(default=None, description="Id to follow the events from.")

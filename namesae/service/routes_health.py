"""Whether the service is alive and ready, and what Prometheus asks of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from namesae import __version__
from namesae.service import api_examples as examples
from namesae.service.api_records import Health
from namesae.service.api_words import Reader, Served, answers, streams
from namesae.service.failures import ErrorBody
from namesae.service.gauges import HELP, gauges_of
from namesae.service.metrics import CONTENT_TYPE
from tools.errors import DependencyError
from tools.redis_client import is_up

if TYPE_CHECKING:
    from namesae.service.metrics import Metrics

router = APIRouter(tags=["health"])

UNREADY: dict[int | str, dict[str, Any]] = {
    503: {"model": ErrorBody, "description": "Redis does not answer, or the service is stopping."}
}
READY: dict[int | str, dict[str, Any]] = {200: answers(examples.READY)[200]}


@router.get("/healthz", responses={200: answers(examples.HEALTH)[200]})
async def healthz() -> Health:
    """Whether the process answers."""
    return Health(status="alive", version=__version__)


@router.get("/readyz", responses=READY | UNREADY)
def readyz(request: Request, service: Served) -> Health:
    """Whether requests are served at once: Redis answers, the dictionaries are read, nothing is stopping."""
    if request.app.state.hub.is_closing:
        raise DependencyError("The service is stopping; ask another one.")
    if not request.app.state.warming.is_over:
        raise DependencyError("The service still reads its dictionaries; ask again in a second.")
    if not is_up(service.state.client):
        raise DependencyError("Redis does not answer; start it.")
    return Health(status="ready", version=__version__)


@router.get("/metrics", response_class=PlainTextResponse, responses=streams(("text/plain",)))
async def get_metrics(request: Request, service: Served, _: Reader) -> PlainTextResponse:
    """Figures for Prometheus, of this process; the queue and runs are those of the whole store."""
    metrics: Metrics = request.app.state.metrics
    gauges = await run_in_threadpool(gauges_of, service, request.app.state.hub.watchers)
    return PlainTextResponse(metrics.text(gauges, HELP), media_type=CONTENT_TYPE)

"""What a request is told when something fails: one sentence and a status, never a traceback."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path

import httpx
import pytest
import redis as redis_library
from starlette.exceptions import HTTPException

from namesae.service.errors import Conflict, NotAllowed, NotFound, QueueFull
from namesae.service.failures import MOST, error_response, failure_of
from namesae.service.metrics import Metrics
from sae.errors import BadDictionary, BadImages
from tests.api_service import served, settings_at
from tools import redis_client, redis_server
from tools.errors import BudgetError, DependencyError, IntegrityError, UsageError


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotFound("Run 'x' does not exist."), 404),
        (Conflict("It has ended."), 409),
        (QueueFull(1000, retry_after_s=7), 429),
        (NotAllowed("No.", status=401), 401),
        (NotAllowed("No.", status=403), 403),
        (UsageError("No."), 400),
        (BudgetError("No."), 409),
        (DependencyError("No."), 503),
        (IntegrityError("No."), 409),
        (BadDictionary("No."), 409),
        (BadImages("No."), 400),
        (HTTPException(405, "No."), 405),
        (redis_library.ConnectionError("secret://user:password@host"), 503),
        (redis_library.OutOfMemoryError("x"), 503),
        (OSError(28, "No space left on device", "/data"), 503),
        (ZeroDivisionError("secret"), 500),
        (RecursionError("secret"), 500),
    ],
)
def test_each_error_has_its_status(error: Exception, status: int, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.CRITICAL):
        failure = failure_of(error)
    assert failure.status == status
    assert failure.sentence and "\n" not in failure.sentence and "secret" not in failure.sentence
    assert ("Retry-After" in failure.headers) is (status in (429, 503))
    assert ("WWW-Authenticate" in failure.headers) is (status == 401)


def test_sentences_are_whole_characters_and_bounded() -> None:
    answer = error_response(UsageError("half \ud800 a character\nand a line " + "x" * 5000))
    told = json.loads(bytes(answer.body))["error"]["message"]
    assert told.startswith("half ? a character and a line x") and len(told) == MOST


def test_figures_are_of_the_form_prometheus_reads() -> None:
    metrics = Metrics()
    for seconds in (0.001, 0.02, 30.0, None):
        metrics.request("GET", '/a"b\\{x}', status=200, seconds=seconds)
    text = metrics.text({"g": {(("a", "b"),): 2.0, (): 1.5}}, {"g": "Said."})
    route = 'route="/a\\"b\\\\{x}"'
    assert f'namesae_requests_total{{method="GET",{route},status="200"}} 4' in text
    assert f'namesae_request_seconds_bucket{{{route},le="0.025"}} 2' in text
    assert f'namesae_request_seconds_bucket{{{route},le="10"}} 2' in text
    assert f'namesae_request_seconds_bucket{{{route},le="+Inf"}} 3' in text
    assert f"namesae_request_seconds_count{{{route}}} 3" in text
    assert '\ng{a="b"} 2\n' in text and "\ng 1.5\n" in text and text.endswith("\n")


@pytest.mark.slow
def test_a_service_whose_redis_is_gone_says_so(tmp_path: Path) -> None:
    data_dir = tmp_path / "own"
    client = redis_client.connect(None, data_dir, idle_s=60)
    url = f"unix://{redis_server.socket_path(data_dir)}"
    with served(settings_at(url, tmp_path / "home")) as place:
        assert httpx.get(f"{place.url}/api/v1/me", trust_env=False).status_code == 200
        client.close()
        redis_server.stop(data_dir)
        ready = httpx.get(f"{place.url}/readyz", trust_env=False, timeout=10)
        assert ready.status_code == 503 and "Redis" in ready.json()["error"]["message"]
        assert httpx.get(f"{place.url}/healthz", trust_env=False).status_code == 200
        answer = httpx.get(f"{place.url}/api/v1/dictionaries", trust_env=False, timeout=60)
        assert answer.status_code == 503 and answer.headers["retry-after"] == "5"
        assert "Redis" in answer.json()["error"]["message"] and str(tmp_path) not in answer.text


def test_the_hub_of_a_service_that_never_began_closes(tmp_path: Path) -> None:
    from namesae.service.event_hub import EventHub, connector

    async def close() -> None:
        await EventHub(connector(settings_at("redis://127.0.0.1:1", tmp_path))).close()

    asyncio.run(close())

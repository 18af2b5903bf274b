"""The API against thousands of requests made from its own description: no server error, no broken promise."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from namesae.service.orders import NameOrder
from namesae.stopping import Stop
from namesae.worker import run_worker
from tests.api_service import OPTIONS, served, settings_at

CONFIG = """
[checks.positive_data_acceptance]
# 400 is for what is well-formed and cannot be done, e.g. an image that is none.
expected-statuses = ["2xx", "3xx", 400, 401, 403, 404, 409, 413, 429]
"""


class Fuzzed(NamedTuple):
    """A service with something in it."""

    url: str
    token: str


@pytest.fixture
def fuzzed(redis: Any, redis_server: Any, tmp_path: Path) -> Iterator[Fuzzed]:
    settings = settings_at(redis_server.url, tmp_path / "home")
    # Answers to another name too, so that it is never open; streams end soon.
    options = OPTIONS._replace(names=("sae.example",), stream_s=0.2, heartbeat_s=0.1)
    with served(settings, options) as place:
        for index in (0, 3):
            order = NameOrder(feature=f"fake#{index}", max_images=40)
            place.service.runs.start(order, who="test")
        run_worker(settings, stop=Stop(), once=True)
        yield Fuzzed(place.url, place.service.tokens.issue("fuzz", "admin"))


def fuzz(fuzzed: Fuzzed, folder: Path, *options: str) -> dict[str, Any]:
    """What schemathesis reports, having run every check there is."""
    config, report = folder / "schemathesis.toml", folder / "report.json"
    config.write_text(CONFIG)
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run"]
    command += [f"{fuzzed.url}/api/v1/openapi.json", "--header", f"Authorization: Bearer {fuzzed.token}"]
    command += ["--checks", "all", "--seed", "7", "--no-shrink", "--generation-deterministic"]
    command += ["--max-response-time", "20", "--no-color"]
    command += ["--report", "json", "--report-json-path", str(report), *options]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=600, check=False)
    assert report.exists(), done.stdout[-3000:] + done.stderr[-3000:]
    told: dict[str, Any] = json.loads(report.read_text())
    assert told["failures"] == [] and told["errors"] == [], done.stdout[-20_000:]
    assert told["complete"] and told["operations"]["tested"] == told["operations"]["total"] > 50
    return told


def test_every_operation_keeps_its_promises(fuzzed: Fuzzed, tmp_path: Path) -> None:
    told = fuzz(fuzzed, tmp_path, "--phases", "examples,fuzzing", "--max-examples", "3")
    assert told["test_cases"]["generated"] >= 250


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_five_thousand_requests_find_nothing(
    fuzzed: Fuzzed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = fuzz(fuzzed, tmp_path, "--max-examples", "80")
    with capsys.disabled():
        sys.stdout.write(
            f"\nschemathesis: {told['test_cases']['generated']} cases, {told['running_time']:.0f} s\n"
        )
    assert told["test_cases"]["generated"] >= 5000

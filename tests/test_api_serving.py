"""``namesae serve`` and ``namesae token``: who is let in, what is drained, who minds the worker."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from agent.events import Event, Planned
from namesae.client import Client, NameOrder
from namesae.service.attendant import Attendant
from namesae.service.errors import NotAllowed
from namesae.service.serving import schema_text
from tests.api_service import settings_at
from tools import keys

ROOT = Path(__file__).parent.parent
SCHEMA = ROOT / "docs" / "openapi.json"


class Serving(NamedTuple):
    """A server in a process of its own."""

    url: str
    process: subprocess.Popen[str]


def environment(redis_server: Any, home: Path) -> dict[str, str]:
    return {
        **os.environ,
        "NAMESAE_HOME": str(home),
        "REDIS_URL": redis_server.url,
        "NAMESAE_FAKES": "1",
        "NAMESAE_PROPOSER": "lexical",
    }


@contextlib.contextmanager
def serving(redis_server: Any, home: Path, *options: str) -> Iterator[Serving]:
    command = [sys.executable, "-m", "namesae", "serve", "--port", "0", *options]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment(redis_server, home), stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.search(r"http://\S+:\d+", line)
        assert found, line + process.stderr.read()
        yield Serving(found[0], process)
    finally:
        process.kill()
        process.wait()


def namesae(redis_server: Any, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "namesae", *arguments],
        cwd=ROOT,
        env=environment(redis_server, home),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("options", [("--host", "0.0.0.0"), ("--name", "sae.example")])
def test_nobody_else_is_let_in_without_a_token(
    redis: Any, redis_server: Any, tmp_path: Path, options: tuple[str, ...]
) -> None:
    done = namesae(redis_server, tmp_path, "serve", "--port", "0", *options)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and "namesae token add NAME" in done.stderr
    assert options[1] in done.stderr


@pytest.mark.slow
def test_a_token_of_the_command_line_opens_the_service(redis: Any, redis_server: Any, tmp_path: Path) -> None:
    made = namesae(redis_server, tmp_path, "token", "add", "me", "--scope", "run", "--days", "2")
    secret = made.stdout.strip()
    assert made.returncode == 0 and re.fullmatch(r"namesae_[\w-]{43}", secret) and made.stderr == ""
    listed = namesae(redis_server, tmp_path, "token", "list", "--json")
    row = json.loads(listed.stdout)
    assert (row["name"], row["scope"], row["schema"]) == ("me", "run", 1) and secret not in listed.stdout
    with serving(redis_server, tmp_path, "--host", "0.0.0.0", "--no-worker") as place:
        url = place.url.replace("0.0.0.0", "127.0.0.1")
        with Client(url, secret) as client:
            assert client.me().name == "me"
            assert namesae(redis_server, tmp_path, "token", "revoke", "me").returncode == 0
            with pytest.raises(NotAllowed):
                client.me()
    gone = namesae(redis_server, tmp_path, "token", "revoke", "me")
    assert gone.returncode == 2 and "does not exist" in gone.stderr


def test_sigterm_ends_watchers_and_the_server(redis: Any, redis_server: Any, tmp_path: Path) -> None:
    with serving(redis_server, tmp_path, "--no-worker") as place, Client(place.url) as client:
        run = client.runs.start(NameOrder(feature="fake#0")).run
        redis.xadd(keys.events(run), {"event": told(run)})
        with httpx.stream("GET", f"{place.url}/api/v1/runs/{run}/events", timeout=20) as stream:
            lines = stream.iter_lines()
            assert any(line.startswith("id: ") for line in lines)
            began = time.monotonic()
            place.process.send_signal(signal.SIGTERM)
            assert not any(line.startswith("id: ") for line in lines)
        assert place.process.wait(15) == 128 + signal.SIGTERM
        assert time.monotonic() - began < 10
        assert place.process.stderr is not None and "Traceback" not in place.process.stderr.read()


def told(run: str) -> str:
    event = Event(run=run, at=time.time(), node="propose", what=Planned(plan="draw"))
    return event.model_dump_json()


@pytest.mark.slow
def test_the_worker_beside_it_is_started_again_and_stopped_with_it(
    redis: Any, redis_server: Any, tmp_path: Path
) -> None:
    with serving(redis_server, tmp_path) as place, Client(place.url) as client:
        first = worker_of(place.process.pid, after=())
        assert client.runs.wait(client.runs.start(NameOrder(feature="fake#0")).run).name == "striped"
        os.kill(first, signal.SIGKILL)
        second = worker_of(place.process.pid, after=(first,))
        run = client.runs.start(NameOrder(feature="fake#1", seed=3)).run
        assert client.runs.wait(run).state == "ended"
        place.process.send_signal(signal.SIGTERM)
        assert place.process.wait(40) == 128 + signal.SIGTERM
        assert not Path(f"/proc/{second}").exists()


def worker_of(server: int, *, after: tuple[int, ...]) -> int:
    """The process id of a server's worker, once it is none of ``after``."""
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
        threads = Path(f"/proc/{server}/task").iterdir()
        children += [child for each in threads for child in (each / "children").read_text().split()]
        new = [int(child) for child in children if int(child) not in after and is_worker(int(child))]
        if new:
            return new[0]
        time.sleep(0.2)
    raise AssertionError("No worker came.")


def is_worker(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return b"worker" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return False


def test_a_worker_that_dies_is_started_again_until_it_is_stopped(tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = f"import os, time; open({str(log)!r}, 'a').write(f'{{os.getpid()}}\\n'); time.sleep(60)"
    attendant = Attendant((sys.executable, "-c", script))
    attendant.start()
    first = next_line(log, 1)
    os.kill(first, signal.SIGKILL)
    second = next_line(log, 2)
    assert second != first
    began = time.monotonic()
    attendant.stop(5.0)
    assert time.monotonic() - began < 4 and not Path(f"/proc/{second}").exists()
    assert attendant.pid is None


def next_line(log: Path, number: int) -> int:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        lines = log.read_text().split() if log.exists() else []
        if len(lines) >= number:
            return int(lines[number - 1])
        time.sleep(0.05)
    raise AssertionError("It was not started.")


@pytest.mark.slow
def test_a_taken_port_is_said_in_a_sentence(redis: Any, redis_server: Any, tmp_path: Path) -> None:
    with serving(redis_server, tmp_path, "--no-worker") as place:
        port = place.url.rpartition(":")[2]
        done = namesae(redis_server, tmp_path, "serve", "--no-worker", "--port", port)
    assert done.returncode == 2 and f"127.0.0.1:{port} cannot be listened on" in done.stderr


def test_the_description_in_the_docs_is_that_of_the_code(tmp_path: Path) -> None:
    fresh = schema_text(settings_at("redis://127.0.0.1:1", tmp_path))
    assert SCHEMA.read_text(encoding="utf-8") == fresh, (
        "docs/openapi.json is out of date; run: namesae serve --openapi > docs/openapi.json"
    )


def test_the_description_is_whole(tmp_path: Path) -> None:
    schema = json.loads(schema_text(settings_at("redis://127.0.0.1:1", tmp_path)))
    names = []
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            names.append(operation["operationId"])
            assert operation.get("description"), (method, path)
            answers = operation["responses"]
            assert any(status.startswith("2") for status in answers)
            for status, answer in answers.items():
                if int(status) >= 400:
                    assert set(answer["content"]) == {"application/json"}, (method, path, status)
            bounded_parameters(operation, path)
    assert len(names) == len(set(names)) > 50


def bounded_parameters(operation: dict[str, Any], path: str) -> None:
    for parameter in operation.get("parameters", ()):
        schema = parameter["schema"]
        if schema.get("type") == "string":
            assert {"maxLength", "pattern", "enum"} & set(schema), (path, parameter["name"])
        if schema.get("type") in ("integer", "number") and "enum" not in schema:
            assert {"minimum", "maximum"} <= set(schema), (path, parameter["name"])

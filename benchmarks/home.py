"""A home of its own for a measurement: commands run in it with default settings, its draw log is read, and it
can be killed with its Redis.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from agent.records import Explanation
from tools import redis_server, redis_watch
from tools.draw_log import DrawEntry, DrawLog

ROOT = Path(__file__).resolve().parent.parent
LIMIT_S = 1800.0
"""How long one process may take before a measurement gives up."""
SETTINGS = ("NAMESAE_", "OPENAI_", "REDIS_URL")
"""Environment variables of the caller that would change what is measured."""


class Order(NamedTuple):
    """What is run, with default settings."""

    arguments: tuple[str, ...]
    """Of ``namesae``."""
    fakes: bool = False
    """Whether the planted dictionary is offered: a trial without weights."""
    options: tuple[str, ...] = ()
    """Of the interpreter."""


class Run(NamedTuple):
    """A run that came to its end, and the draw log of its home."""

    began: float
    """Seconds since the epoch."""
    explanations: tuple[Explanation, ...]
    entries: tuple[DrawEntry, ...]


class Started(NamedTuple):
    """A process in a group of its own, and the file of its standard output."""

    process: subprocess.Popen[bytes]
    out: Path


class Home:
    """A data folder whose Redis is read without being started."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data, self._rounds = folder, folder / "data", 0
        folder.mkdir(parents=True)
        path = str(redis_server.socket_path(self.data))
        self._client = redis.Redis(unix_socket_path=path, retry=Retry(NoBackoff(), 0))

    def entries(self) -> tuple[DrawEntry, ...]:
        """The draw log; empty where no server answers."""
        try:
            return tuple(DrawLog(self._client).entries())
        except (redis.ConnectionError, redis.TimeoutError):
            return ()

    def start(self, order: Order) -> Started:
        """Start the command, whatever the caller's own settings."""
        self._rounds += 1
        out = self.folder / f"{self._rounds}.jsonl"
        environ = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
        environ |= {"NAMESAE_HOME": str(self.data), "PYTHONPATH": str(ROOT)}
        environ |= {"NAMESAE_FAKES": "1"} if order.fakes else {}
        command = [sys.executable, *order.options, "-m", "namesae", *order.arguments]
        # Files, not pipes: nobody reads while the process works, and a full pipe would stop it.
        with out.open("wb") as told, out.with_suffix(".log").open("wb") as said:
            process = subprocess.Popen(
                command, env=environ, cwd=self.folder, stdout=told, stderr=said, start_new_session=True
            )
        return Started(process, out)

    def complete(self, order: Order) -> Run:
        """Run the command to its end; RuntimeError where that is no success."""
        began = time.time()
        process, out = self.start(order)
        try:
            code = process.wait(LIMIT_S)
        finally:
            kill(process)
        if code:
            said = out.with_suffix(".log").read_text().strip().splitlines() or ["no reason given"]
            raise RuntimeError(f"The command ended with exit code {code}: {said[-1]}")
        return Run(began, explanations_in(out), self.entries())

    def server_processes(self) -> list[int]:
        """The embedded server and its watcher; none where no server answers."""
        server = redis_server.status(self.data).pid
        last = redis_watch.recorded(redis_server.server_folder(self.data))
        return [server, int(last["watcher"])] if server and str(server) == last.get("pid") else []

    def close(self) -> None:
        """End the server."""
        self._client.close()
        redis_server.stop(self.data)


@contextlib.contextmanager
def home_in(folder: Path) -> Iterator[Home]:
    """A new home whose server ends with the block."""
    home = Home(folder)
    try:
        yield home
    finally:
        home.close()


def kill(process: subprocess.Popen[bytes], *, also: Sequence[int] = ()) -> None:
    """SIGKILL a process with its group, and others before it; nothing where it has ended."""
    for other in also:
        with contextlib.suppress(ProcessLookupError):
            os.kill(other, signal.SIGKILL)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def explanations_in(out: Path) -> tuple[Explanation, ...]:
    """The results on a standard output; a last line cut short was not told."""
    lines = [line for line in out.read_text().splitlines(keepends=True) if line.endswith("\n")]
    records = [json.loads(line) for line in lines]
    return tuple(
        Explanation.model_validate({k: v for k, v in record.items() if k not in ("schema", "type")})
        for record in records
        if record["type"] == "feature"
    )

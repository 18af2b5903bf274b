"""Fixtures of every test: a real Redis, an image store, a clean environment and no network."""

from __future__ import annotations

import errno
import gc
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, settings

# langgraph reads it when it is first imported, which a test may do before it imports ours.
os.environ["LANGGRAPH_STRICT_MSGPACK"] = "true"
# Workers side by side are as many as cores: threads of theirs would only wait for one another.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Examples are the same in every run, and a slow machine is no failure.
settings.register_profile(
    "steady", derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("steady")

FOREIGN_REDIS = os.environ.get("NAMESAE_TEST_REDIS_URL")
"""A server to test against instead of the embedded one. Its database must be empty, and is emptied."""
UNWANTED = (
    *("OPENAI_", "NAMESAE_", "LANGSMITH_", "LANGCHAIN_", "OTEL_", "HF_TOKEN", "REDIS_URL"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"),
)


class RedisServer(NamedTuple):
    """A running server."""

    url: str
    data_dir: Path
    keeper: Any
    """A client that starts the server again where it has gone."""


@pytest.fixture(autouse=True, scope="module")
def an_own_heap() -> None:
    """Python's collector leaves alone what other files' tests left: walking through it takes a second."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def clean_environ(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the developer's settings; state goes to this test's own folder."""
    for name in list(os.environ):
        if name.upper().startswith(UNWANTED):
            monkeypatch.delenv(name)
    monkeypatch.setenv("NAMESAE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(autouse=True)
def no_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine only, as if a cable were pulled; tests marked ``live`` keep the network."""
    if request.node.get_closest_marker("live"):
        return
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def connect_here(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_here(address[0]):
            raise OSError(errno.ENETUNREACH, f"Tests have no network: {address[0]}")
        connect(self, address)

    def look_up_here(host: Any, *arguments: Any, **options: Any) -> Any:
        if host is not None and not _is_here(host):
            raise socket.gaierror(socket.EAI_NONAME, f"Tests have no network: {host}")
        return look_up(host, *arguments, **options)

    monkeypatch.setattr(socket.socket, "connect", connect_here)
    monkeypatch.setattr(socket, "getaddrinfo", look_up_here)


def _is_here(host: Any) -> bool:
    name = host.decode() if isinstance(host, bytes) else str(host)
    return name in ("localhost", "::1", "") or name.startswith("127.")


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One real server for the whole session: the embedded one, unless another was asked for."""
    from tools import redis_client, redis_server

    data_dir = tmp_path_factory.mktemp("server")
    client = redis_client.connect(FOREIGN_REDIS, data_dir, idle_s=5.0)
    if FOREIGN_REDIS and client.dbsize():
        pytest.exit("The database at NAMESAE_TEST_REDIS_URL is not empty: give one that may be flushed.", 2)
    # The open connection keeps the embedded server from leaving.
    url = FOREIGN_REDIS or f"unix://{redis_server.socket_path(data_dir)}"
    yield RedisServer(url, data_dir, keeper=client)
    client.close()
    redis_server.stop(data_dir)


@pytest.fixture
def redis(redis_server: RedisServer) -> Iterator[Any]:
    """A client of an empty database (redis.Redis)."""
    from tools import redis_client

    # A test that cuts every connection cuts this one too, and the server leaves: this starts it again.
    redis_server.keeper.ping()
    client = redis_client.connect(redis_server.url, redis_server.data_dir)
    client.flushdb()
    yield client
    client.flushdb()
    client.close()


@pytest.fixture
def image_store(tmp_path: Path) -> Any:
    """An empty store in this test's folder (tools.image_store.ImageStore)."""
    from tools.image_store import ImageStore

    return ImageStore(tmp_path / "images")

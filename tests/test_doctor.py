"""What doctor checks, and what it says of each fault."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from namesae.doctor import examine, run_doctor
from namesae.settings import load_settings
from tools import redis_server
from tools.redis_client import connect


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NAMESAE_FAKES", "1")


def checks(**settings: Any) -> dict[str, tuple[str, str, int]]:
    return {each.name: (each.state, each.said, each.exit_code) for each in examine(load_settings(**settings))}


def test_every_need_is_checked_and_nothing_is_started() -> None:
    found = checks()
    assert set(found) == {"python", "packages", "device", "home", "disk", "redis", "dictionaries", "proposer"}
    assert {name: state for name, (state, _, _) in found.items() if state == "fault"} == {}
    assert "starts when needed" in found["redis"][1]
    assert "torch 2" in found["packages"][1]
    assert "lexical" in found["proposer"][1] and "no OPENAI_API_KEY is set" in found["proposer"][1]
    assert not load_settings().home.exists()


def test_a_running_server_is_shown_and_stopped(capsys: pytest.CaptureFixture[str]) -> None:
    settings = load_settings()
    client = connect(None, settings.home, idle_s=5.0)
    try:
        status = redis_server.status(settings.home)
        assert f"process {status.pid}" in checks()["redis"][1]
        assert run_doctor(settings, stop=True) == 0
        assert "was stopped" in capsys.readouterr().out
        assert not redis_server.status(settings.home).running
    finally:
        client.close()
    assert run_doctor(settings, stop=True) == 0
    assert "was not running" in capsys.readouterr().out


def test_a_redis_of_ones_own_is_asked_what_it_keeps(redis_server: Any) -> None:
    state, said, _ = checks(redis_url=redis_server.url)["redis"]
    assert state == "ok" and "appendonly True" in said


@pytest.mark.parametrize(
    ("settings", "check", "code", "told"),
    [
        ({"redis_url": "redis://:secret@127.0.0.1:1/0"}, "redis", 3, "could not be reached"),
        ({"redis_url": "nonsense"}, "redis", 2, "REDIS_URL is not the address"),
        ({"home": "/proc/namesae"}, "home", 2, "set NAMESAE_HOME"),
        ({"proposer": "openai"}, "proposer", 2, "OPENAI_API_KEY is not set"),
    ],
)
def test_a_fault_says_how_to_mend_it(settings: dict[str, str], check: str, code: int, told: str) -> None:
    state, said, exit_code = checks(**settings)[check]
    assert (state, exit_code) == ("fault", code)
    assert told in said and "secret" not in said


def test_a_key_is_never_shown(capsys: pytest.CaptureFixture[str]) -> None:
    settings = load_settings(openai_api_key="sk-canary", openai_base_url="http://127.0.0.1:9/v1")
    assert run_doctor(settings) == 0
    shown = capsys.readouterr().out
    assert "canary" not in shown and "a key is set" in shown and "http://127.0.0.1:9/v1" in shown


def test_a_damaged_dictionary_is_a_fault_and_the_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    settings = load_settings()
    folder = settings.home / "dictionaries" / "broken"
    folder.mkdir(parents=True)
    (folder / "dictionary.json").write_text("{}")
    assert run_doctor(settings, as_json=True) == 5
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {each["schema"] for each in records} == {1} and {each["type"] for each in records} == {"check"}
    assert [each["name"] for each in records if each["state"] == "fault"] == ["dictionaries"]

"""Tokens and when none is needed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from namesae.service.access import is_loopback
from namesae.service.app import ServeOptions
from namesae.service.errors import Conflict, NotFound
from namesae.service.tokens import Principal, Tokens
from tests.api_service import OPTIONS, served, settings_at
from tools import keys
from tools.errors import UsageError


def test_a_service_on_loopback_is_open_until_there_is_a_token(
    redis: Any, redis_server: Any, tmp_path: Path
) -> None:
    with served(settings_at(redis_server.url, tmp_path)) as place:
        assert httpx.get(f"{place.url}/api/v1/me", trust_env=False).json() == {
            "name": "local",
            "scope": "admin",
        }
        place.service.tokens.issue("first", "read", days=1e-9)
        # An expired one does not open the door again.
        assert httpx.get(f"{place.url}/api/v1/me", trust_env=False).status_code == 401


def test_a_service_for_others_is_never_open(redis: Any, redis_server: Any, tmp_path: Path) -> None:
    with served(settings_at(redis_server.url, tmp_path), OPTIONS._replace(names=("sae.example",))) as place:
        assert httpx.get(f"{place.url}/api/v1/me", trust_env=False).status_code == 401


def test_loopback_is_what_only_this_machine_reaches() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "example.org", "")))
    assert ServeOptions().local and not ServeOptions(host="0.0.0.0").local
    assert not ServeOptions(names=("sae.example",)).local


def test_tokens_are_stored_as_hashes_and_end(redis: Any) -> None:
    tokens = Tokens(redis)
    secret = tokens.issue("a", "run", days=30)
    assert tokens.check(secret) == Principal("a", "run")
    stored = b"".join(part for pair in redis.hgetall(keys.tokens()).items() for part in pair)
    assert secret.encode() not in stored and secret[8:].encode() not in stored
    with pytest.raises(Conflict, match="exists"):
        tokens.issue("a", "read")
    with pytest.raises(UsageError, match="days"):
        tokens.issue("b", "read", days=0)
    with pytest.raises(UsageError, match="Token name"):
        tokens.issue("b c", "read")
    tokens.issue("b", "read", days=1e-9)
    time.sleep(0.01)
    assert [row.name for row in tokens.list()] == ["a", "b"]
    again = tokens.issue("b", "admin")
    assert tokens.check(again) == Principal("b", "admin") and len(tokens.list()) == 2
    tokens.revoke("b")
    assert tokens.check(again) is None
    with pytest.raises(NotFound):
        tokens.revoke("b")

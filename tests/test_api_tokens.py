"""Tokens, when none is needed, and which hosts and pages may ask at all."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from namesae.service.access import is_loopback, refused_host, refused_origin
from namesae.service.app import ServeOptions
from namesae.service.errors import Conflict, NotFound
from namesae.service.routes_login import own_path
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


def test_hosts_are_addresses_localhost_or_configured() -> None:
    for host in ("localhost", "LOCALHOST:80", "127.0.0.1:1", "[::1]:8765", "10.0.0.7", "sae.example:443"):
        assert refused_host(host, ("sae.example",)) is None, host
    for stranger in ("sae.example.evil", "127.0.0.1.nip.io", "evil", "[evil]", None, ""):
        assert refused_host(stranger, ("sae.example",)) is not None, stranger


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        ({}, True),
        ({"origin": "http://127.0.0.1:1"}, True),
        ({"origin": "http://127.0.0.1:2"}, False),
        ({"origin": "null"}, False),
        ({"origin": "http://evil.example"}, False),
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-origin", "origin": "http://evil.example"}, False),
    ],
)
def test_only_our_own_pages_may_change_something(headers: dict[str, str], passes: bool) -> None:
    told = {"host": "127.0.0.1:1", **headers}
    assert (refused_origin("POST", told.get) is None) is passes
    assert refused_origin("GET", told.get) is None


def test_a_way_on_after_login_stays_here() -> None:
    assert own_path("/d/sandbox?q=1") == "/d/sandbox?q=1"
    for elsewhere in ("//evil.example", "https://evil.example", "/\\evil.example", "", "d", "/a\nb"):
        assert own_path(elsewhere) == "/"

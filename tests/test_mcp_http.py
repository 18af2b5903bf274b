"""MCP over HTTP: tokens, scopes, and what strangers and other people's pages may not do."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from namesae.mcp_server import MCP_PATH
from namesae.mcp_tools import SCOPES
from namesae.service.tokens import SCOPES as LADDER
from namesae.settings import Settings
from tests.api_service import served, settings_at
from tests.mcp_calls import ARGUMENTS, call, check_naming, named_and_traced, over_http, talk, working


@pytest.fixture
def settings(redis: Any, redis_server: Any, tmp_path: Path) -> Settings:
    return settings_at(redis_server.url, tmp_path / "home")


class Secrets(NamedTuple):
    """Tokens by their scope, and one that was never given out."""

    wrong: str
    read: str
    run: str
    admin: str


@contextlib.contextmanager
def guarded(settings: Settings) -> Iterator[tuple[str, Secrets]]:
    """A service that asks for tokens, and these."""
    with served(settings) as place:
        given = [place.service.tokens.issue(f"a-{scope}", scope) for scope in LADDER]
        yield place.url, Secrets("namesae_wrong", *given)


def test_a_program_names_a_feature_over_http(settings: Settings) -> None:
    with guarded(settings) as (url, secrets), working(settings):
        check_naming(*talk(over_http(url, secrets.run), named_and_traced))
        # As clients of the earlier protocol do it, with a handshake.
        told = talk(
            over_http(url, secrets.read),
            lambda client: call(client, "get_feature", feature="fake#0"),
            mode="legacy",
        )
    assert told.answer["name"] == "striped"


def test_every_tool_asks_for_its_scope(settings: Settings) -> None:
    with guarded(settings) as (url, secrets):
        for tool, needed in SCOPES.items():
            for holder in ("none", "wrong"):
                token = None if holder == "none" else secrets.wrong
                refused = post(url, tool, token)
                assert refused.status_code == 401, (tool, holder)
                assert refused.headers["www-authenticate"] == "Bearer"
                assert refused.json()["error"]["code"] == "unauthorized"
            for scope in LADDER:
                say = partial(call, tool=tool, **ARGUMENTS[tool])
                told = talk(over_http(url, getattr(secrets, scope)), say)
                reaches = LADDER.index(scope) >= LADDER.index(needed)
                refusal = f"Token 'a-{scope}' has scope {scope}; {tool} needs {needed}."
                assert (told.error == refusal) is not reaches, (tool, scope, told.error)


def post(url: str, tool: str, token: str | None) -> httpx.Response:
    """A bare request, as anybody could send it."""
    headers = {"accept": "application/json, text/event-stream"}
    headers |= {} if token is None else {"authorization": f"Bearer {token}"}
    params = {"name": tool, "arguments": ARGUMENTS[tool]}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    return httpx.post(f"{url}{MCP_PATH}", json=body, headers=headers, timeout=30)


def test_nobody_lists_or_reads_without_a_token_and_a_revoked_one_is_none(settings: Settings) -> None:
    with served(settings) as place:
        tokens = place.service.tokens
        secret = tokens.issue("soon-gone", "read")
        listed = talk(over_http(place.url, secret), lambda client: client.list_tools())
        assert len(listed.tools) == len(SCOPES)
        talk(over_http(place.url, secret), lambda client: client.read_resource("namesae://dictionaries"))
        tokens.issue("other", "read")
        tokens.revoke("soon-gone")
        for method in ("tools/list", "resources/read", "initialize", "server/discover"):
            body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"uri": "namesae://dictionaries"}}
            for headers in ({}, {"authorization": f"Bearer {secret}"}):
                assert httpx.post(f"{place.url}{MCP_PATH}", json=body, headers=headers).status_code == 401


def test_other_peoples_pages_cannot_use_an_open_service(settings: Settings) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    with served(settings) as place:
        url = f"{place.url}{MCP_PATH}"
        foreign = httpx.post(url, json=body, headers={"origin": "http://evil.example"})
        rebound = httpx.post(url, json=body, headers={"host": "evil.example"})
        listed = talk(over_http(place.url), lambda client: client.list_tools())
    assert foreign.status_code == 403 and rebound.status_code == 400
    assert len(listed.tools) == len(SCOPES)


def test_a_picture_of_a_megabyte_is_taken_and_an_endless_body_is_not(settings: Settings) -> None:
    picture = base64.b64encode(bytes(2 * 2**20)).decode()
    with guarded(settings) as (url, secrets):
        say = partial(call, tool="top_features_for_image", dictionary="fake", image=picture)
        told = talk(over_http(url, secrets.read), say)
        large = httpx.post(f"{url}{MCP_PATH}", content=bytes(30 * 2**20), timeout=30)
    assert told.error is not None and "PNG" in told.error
    assert large.status_code == 413

"""Who may come in: every route and every kind of token, hosts, origins, sessions, sizes."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import pytest
from fastapi.routing import APIRoute

from namesae.service.access import SESSION_COOKIE, Require
from namesae.service.doorway import POLICY
from namesae.service.tokens import SCOPES, Principal
from tests.api_service import Place, served, settings_at
from tools import redis_client

OPEN = {"/healthz", "/readyz", "/login", "/logout"}
SAMPLES = {
    "dictionary": "fake",
    "index": "0",
    "run": "fake-0-abc-0",
    "batch": "b-1",
    "evaluation": "none",
    "name": "nobody",
    "sha256": "0" * 64,
}


class Case(NamedTuple):
    """A route by method and path, and the scope it declares; None is open."""

    method: str
    path: str
    scope: str | None


class Held(NamedTuple):
    """A service and one token of each kind."""

    place: Place
    tokens: dict[str, str | None]


@pytest.fixture(scope="module")
def held(redis_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Held]:
    client = redis_client.connect(redis_server.url, redis_server.data_dir)
    client.flushdb()
    with served(settings_at(redis_server.url, tmp_path_factory.mktemp("home"))) as place:
        tokens = place.service.tokens
        made: dict[str, str | None] = {scope: tokens.issue(scope, scope) for scope in SCOPES}
        made |= {"none": None, "wrong": "namesae_nobody", "revoked": tokens.issue("gone", "admin")}
        made["expired"] = tokens.issue("past", "admin", days=1e-9)
        tokens.revoke("gone")
        time.sleep(0.01)
        yield Held(place, made)
    client.flushdb()
    client.close()


def routes_of(routes: Any) -> Iterator[APIRoute]:
    """All routes, those of included routers too."""
    for route in routes:
        if isinstance(route, APIRoute):
            yield route
        elif hasattr(route, "original_router"):
            yield from routes_of(route.original_router.routes)


def scope_of(route: APIRoute) -> str | None:
    wanted = [each.call.scope for each in route.dependant.dependencies if isinstance(each.call, Require)]
    assert len(wanted) <= 1
    return wanted[0] if wanted else None


def cases(place: Place) -> list[Case]:
    found = []
    for route in routes_of(place.app.routes):
        path = re.sub(r"\{(\w+)(:\w+)?\}", lambda match: SAMPLES.get(match[1], "x"), route.path)
        found += [Case(method, path, scope_of(route)) for method in sorted(route.methods or ())]
    return found


def test_every_route_declares_a_scope_or_is_known_to_be_open(held: Held) -> None:
    found = cases(held.place)
    assert len(found) > 50
    assert {case.path for case in found if case.scope is None} <= OPEN


def test_what_changes_something_asks_for_more_than_reading(held: Held) -> None:
    changing = [case for case in cases(held.place) if case.method != "GET" and case.path not in OPEN]
    looking = {"/api/v1/dictionaries/fake/top-features", "/d/nobody/picture"}
    asking = {"/d/nobody/0/ask"}
    assert {case.path for case in changing if case.scope == "read"} == looking | asking


@pytest.mark.parametrize("kind", ["none", "wrong", "expired", "revoked"])
def test_no_route_lets_a_stranger_in(held: Held, kind: str) -> None:
    for case, answer in answered(held, kind):
        if case.scope is not None:
            assert refused(answer, 401), (kind, case, answer.status_code)


@pytest.mark.parametrize("kind", SCOPES)
def test_every_route_lets_in_whom_it_declares(held: Held, kind: str) -> None:
    for case, answer in answered(held, kind):
        if case.scope is None:
            continue
        enough = Principal("x", kind).reaches(case.scope)  # type: ignore[arg-type]
        assert refused(answer, 403) is not enough, (kind, case, answer.status_code)
        assert not refused(answer, 401), case


def answered(held: Held, kind: str) -> list[tuple[Case, httpx.Response]]:
    token = held.tokens[kind]
    headers: dict[str, str] = {} if token is None else {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=held.place.url, headers=headers, timeout=20, trust_env=False) as client:
        # A session opened by the matrix itself must not let the next request in.
        return [
            (case, client.request(case.method, case.path, cookies=None))
            for case in cases(held.place)
            if case.path not in ("/login", "/logout")
        ]


def refused(answer: httpx.Response, status: int) -> bool:
    """Whether that is a refusal: pages send a browser without a token to the login page."""
    login = status == 401 and answer.headers.get("location", "").startswith("/login")
    return answer.status_code == status or login


def test_refusals_are_one_sentence(held: Held) -> None:
    answer = httpx.get(f"{held.place.url}/api/v1/me", trust_env=False)
    assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
    assert answer.json() == {
        "error": {
            "code": "unauthorized",
            "message": "This needs a token: send it as Authorization: Bearer TOKEN, or log in.",
        }
    }


def test_a_cookie_stands_for_its_token_until_either_ends(held: Held) -> None:
    service, secret = held.place.service, held.place.service.tokens.issue("browser", "read")
    with httpx.Client(base_url=held.place.url, trust_env=False) as browser:
        assert browser.post("/login", data={"token": "namesae_wrong"}).status_code in (303, 401, 422)
        assert SESSION_COOKIE not in browser.cookies
        entered = browser.post("/login", data={"token": secret, "next": "//evil.example"})
        assert (entered.status_code, entered.headers["location"]) == (303, "/")
        cookie = entered.headers["set-cookie"]
        assert all(part in cookie for part in ("HttpOnly", "SameSite=strict", "Max-Age=43200"))
        assert browser.get("/api/v1/me").json() == {"name": "browser", "scope": "read"}
        session = browser.cookies[SESSION_COOKIE]
        stored = service.state.client.keys("*session*")
        assert stored and not any(session in str(key) for key in stored)
        service.tokens.revoke("browser")
        assert browser.get("/api/v1/me").status_code == 401
        service.tokens.issue("browser", "read")
        assert browser.get("/api/v1/me").status_code == 401


def test_logging_out_ends_the_session(held: Held) -> None:
    with httpx.Client(base_url=held.place.url, trust_env=False) as browser:
        browser.post("/login", data={"token": str(held.tokens["read"])})
        session = browser.cookies[SESSION_COOKIE]
        assert browser.post("/logout").status_code == 303
        assert SESSION_COOKIE not in browser.cookies
        browser.cookies.set(SESSION_COOKIE, session)
        assert browser.get("/api/v1/me").status_code == 401


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "evil.example:8765", ""])
def test_a_foreign_host_is_refused(held: Held, host: str) -> None:
    headers = {"Host": host, "Authorization": f"Bearer {held.tokens['admin']}"}
    answer = httpx.get(f"{held.place.url}/api/v1/me", headers=headers, trust_env=False)
    assert answer.status_code == 400


def test_a_request_forged_by_another_site_is_refused(held: Held) -> None:
    for foreign in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        told = {**foreign, "Authorization": f"Bearer {held.tokens['admin']}"}
        answer = httpx.post(f"{held.place.url}/api/v1/tokens", headers=told, json={}, trust_env=False)
        assert answer.status_code == 403, foreign


def test_every_answer_has_the_security_headers(held: Held) -> None:
    for path in ("/healthz", "/api/v1/me", "/nowhere", "/api/v1/nowhere"):
        answer = httpx.get(f"{held.place.url}{path}", trust_env=False)
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert "server" not in answer.headers


def test_bodies_are_bounded(held: Held) -> None:
    headers = {"Authorization": f"Bearer {held.tokens['admin']}"}
    with httpx.Client(base_url=held.place.url, headers=headers, trust_env=False) as client:
        big = client.post("/api/v1/runs", content=b"[" * 1_100_000)
        assert (big.status_code, big.json()["error"]["code"]) == (413, "too_large")
        parts = client.post("/api/v1/runs", content=(b"[" * 65_536 for _ in range(20)))
        assert parts.status_code == 413
        deep = client.post(
            "/api/v1/runs", content=b"[" * 100_000, headers={"Content-Type": "application/json"}
        )
        assert deep.status_code in (400, 422)
        picture = {"image": ("x.png", b"\0" * (26 * 2**20), "image/png")}
        upload = client.post("/api/v1/dictionaries/fake/top-features", files=picture)
        assert upload.status_code == 413


HOSTILE: tuple[Any, ...] = (
    '{"feature": "fake#0\\u0000"}',
    '{"feature": "fake#\\ud800"}',
    '{"feature": "fake#0", "cost_limit": NaN}',
    '{"feature": "fake#0", "cost_limit": 1e999}',
    '{"feature": "fake#0", "seed": 99999999999999999999999}',
    '{"feature": "fake#0", "unknown": 1}',
    '{"feature": "../../etc#0"}',
    '{"feature": "' + "a" * 10_000 + '#0"}',
    '{"feature": ["fake#0"]}',
    "null",
    "[]",
    "",
    "{",
    b"\xff\xfe",
)


@pytest.mark.parametrize("body", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_bodies_are_the_senders_fault(held: Held, body: str | bytes) -> None:
    headers = {"Authorization": f"Bearer {held.tokens['run']}", "Content-Type": "application/json"}
    answer = httpx.post(f"{held.place.url}/api/v1/runs", content=body, headers=headers, trust_env=False)
    assert 400 <= answer.status_code < 500, answer.text
    assert set(answer.json()["error"]) == {"code", "message"}


@pytest.mark.parametrize(
    "path",
    [
        *("/dictionaries/..%2f..%2fetc", "/dictionaries/%2e%2e/features", "/dictionaries/a%00b"),
        *("/runs/%00", "/runs/" + "a" * 10_000, "/runs/..%2f..", "/runs/%ed%a0%80", "/batches/%0a"),
        *("/dictionaries/fake/features/99999999999999999999", "/dictionaries/fake/features/-1"),
        *("/dictionaries/fake/features?limit=1e3", "/dictionaries/fake/features?min_auroc=nan"),
        *("/dictionaries/fake/features?nonsense=1", "/search?q=%00", "/search?q=", "/evals/..%2fpasswd"),
        *("/dictionaries/%2froot", "/dictionaries/" + "d" * 5_000, "/runs?cursor=inf", "/runs?state=odd"),
    ],
)
def test_hostile_paths_are_the_senders_fault(held: Held, path: str) -> None:
    headers = {"Authorization": f"Bearer {held.tokens['read']}"}
    answer = httpx.get(f"{held.place.url}/api/v1{path}", headers=headers, trust_env=False)
    assert 400 <= answer.status_code < 500, answer.text
    assert set(answer.json()["error"]) == {"code", "message"}


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/xml", ""])
def test_a_body_that_is_called_something_else_is_the_senders_fault(held: Held, kind: str) -> None:
    headers = {"Authorization": f"Bearer {held.tokens['run']}", "Content-Type": kind}
    body = b'{"feature": "fake#0"}'
    answer = httpx.post(f"{held.place.url}/api/v1/runs", content=body, headers=headers, trust_env=False)
    assert answer.status_code == 422, answer.text


@pytest.mark.parametrize(
    "body", ['{"feature": "fake#0", "seed": true}', '{"feature": "fake#0", "seed": "1"}']
)
def test_a_number_is_a_number(held: Held, body: str) -> None:
    headers = {"Authorization": f"Bearer {held.tokens['run']}", "Content-Type": "application/json"}
    answer = httpx.post(f"{held.place.url}/api/v1/runs", content=body, headers=headers, trust_env=False)
    assert answer.status_code == 422 and "seed" in answer.json()["error"]["message"]

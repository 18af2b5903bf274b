"""Bearer tokens and browser sessions: who may do what. Only hashes of their secrets are stored."""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple, cast

from pydantic import Field

from namesae.service.errors import Conflict, NotFound
from sae.feature import Frozen
from tools import keys
from tools.errors import UsageError

if TYPE_CHECKING:
    import redis
    from redis.client import Pipeline

Scope = Literal["read", "run", "admin"]
SCOPES: tuple[Scope, ...] = ("read", "run", "admin")
"""Each may do what those before it may: look, spend images and money, rule over tokens."""
NAME = r"^[A-Za-z0-9][A-Za-z0-9._@-]*$"
MOST_NAME = 64
TokenName = Annotated[str, Field(min_length=1, max_length=MOST_NAME, pattern=NAME)]
PREFIX = "namesae_"
SESSION_HOURS = 12
MOST_DAYS = 3650


class Principal(NamedTuple):
    """Who asks."""

    name: str
    scope: Scope

    def reaches(self, scope: Scope) -> bool:
        """Whether it may do what asks for ``scope``."""
        return SCOPES.index(self.scope) >= SCOPES.index(scope)


LOCAL = Principal("local", "admin")
"""Whoever asks a service that listens on this machine alone and has no token."""


class TokenRow(Frozen):
    """A token, without its secret."""

    name: TokenName
    scope: Scope
    created: float
    """Seconds since the epoch."""
    expires: float | None = None
    """Seconds since the epoch; None for one that lasts until it is revoked."""


class Tokens:
    """The tokens of one store. Safe to call from several threads."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def issue(self, name: str, scope: Scope, *, days: float | None = None) -> str:
        """A new token's secret, which cannot be shown again. Conflict where the name is taken."""
        now = time.time()
        if not re.fullmatch(NAME, name) or len(name) > MOST_NAME:
            raise UsageError(f"Token name {name[:80]!r} is not letters, digits, '.', '_', '@' and '-'.")
        row = TokenRow(name=name, scope=scope, created=now, expires=_expiry(now, days=days))
        secret = PREFIX + secrets.token_urlsafe(32)

        def add(pipe: Pipeline) -> None:
            held = cast("dict[bytes, bytes]", pipe.hgetall(keys.tokens()))
            taken = {digest: _row(told) for digest, told in held.items()}
            gone = [digest for digest, each in taken.items() if each.name == name and not _lasts(each)]
            if any(each.name == name and _lasts(each) for each in taken.values()):
                raise Conflict(f"A token {name!r} exists; revoke it first or choose another name.")
            pipe.multi()
            for digest in gone:
                pipe.hdel(keys.tokens(), cast("str", digest))
            pipe.hset(keys.tokens(), _digest(secret), row.model_dump_json())

        self._client.transaction(add, keys.tokens())
        return secret

    def check(self, secret: str) -> Principal | None:
        """Whose token it is; None for one that is unknown, revoked or expired."""
        return self._holder(_digest(secret))

    def revoke(self, name: str) -> None:
        """Make a token, and the sessions opened with it, worthless. NotFound where there is none."""
        held = self._held()
        mine = [digest for digest, row in held.items() if row.name == name]
        if not mine:
            raise NotFound(f"Token {name!r} does not exist; namesae token list shows all.")
        self._client.hdel(keys.tokens(), *cast("list[str]", mine))

    def list(self) -> tuple[TokenRow, ...]:
        """All tokens by name, expired ones included."""
        return tuple(sorted(self._held().values(), key=lambda row: row.name))

    def any(self) -> bool:
        """Whether there is a token at all; expired ones count, so that expiry never opens a service."""
        return bool(self._client.hlen(keys.tokens()))

    def open_session(self, secret: str, *, hours: float = SESSION_HOURS) -> str | None:
        """The secret of a session that stands for a token until it expires; None for a worthless token."""
        digest = _digest(secret)
        if self._holder(digest) is None:
            return None
        session = secrets.token_urlsafe(32)
        self._client.set(keys.session(_digest(session)), digest, ex=max(1, int(hours * 3600)))
        return session

    def check_session(self, session: str) -> Principal | None:
        """Whose session it is; None for one that has ended, or whose token has."""
        digest = cast("bytes | None", self._client.get(keys.session(_digest(session))))
        return None if digest is None else self._holder(digest.decode())

    def close_session(self, session: str) -> None:
        """End a session."""
        self._client.delete(keys.session(_digest(session)))

    def _held(self) -> dict[bytes, TokenRow]:
        held = cast("dict[bytes, bytes]", self._client.hgetall(keys.tokens()))
        return {digest: _row(told) for digest, told in held.items()}

    def _holder(self, digest: str) -> Principal | None:
        told = cast("bytes | None", self._client.hget(keys.tokens(), digest))
        if told is None:
            return None
        row = _row(told)
        return Principal(row.name, row.scope) if _lasts(row) else None


def _digest(secret: str) -> str:
    # The secrets are random and long: a plain hash cannot be searched, and a slow one would only cost time.
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def _row(told: bytes) -> TokenRow:
    return TokenRow.model_validate_json(told)


def _lasts(row: TokenRow) -> bool:
    return row.expires is None or row.expires > time.time()


def _expiry(now: float, *, days: float | None) -> float | None:
    if days is None:
        return None
    if not 0 < days <= MOST_DAYS:
        raise UsageError(f"A token lasts between 0 and {MOST_DAYS} days, not {days:g}.")
    return now + days * 86_400

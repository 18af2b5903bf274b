"""Tokens: who may do what, over the network for those who may rule over it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.responses import Response

from namesae.service import api_examples as examples
from namesae.service.api_records import NewToken, TokenList, TokenRequest, WhoAmI
from namesae.service.api_words import PREFIX, Reader, Ruler, Served, answers, strictly
from namesae.service.errors import Conflict, NotFound
from namesae.service.failures import declared
from namesae.service.tokens import MOST_NAME, NAME, TokenRow

router = APIRouter(prefix=PREFIX, tags=["tokens"])

Name = Annotated[
    str,
    Path(min_length=1, max_length=MOST_NAME, pattern=NAME, examples=["notebook"]),
]


@router.get("/me", responses=answers(examples.ME))
def who_am_i(who: Reader) -> WhoAmI:
    """Who the token stands for, and how far it reaches."""
    return WhoAmI(name=who.name, scope=who.scope)


@router.get("/tokens", responses=answers(examples.TOKENS))
def list_tokens(service: Served, _: Ruler) -> TokenList:
    """All tokens by name, without their secrets."""
    return TokenList(tokens=service.tokens.list())


@router.post("/tokens", status_code=201, responses=answers(examples.NEW_TOKEN, 409, 413, status=201))
def issue_token(
    asked: Annotated[TokenRequest, strictly(TokenRequest)], service: Served, _: Ruler, response: Response
) -> NewToken:
    """Make a token; its secret is shown this once."""
    secret = service.tokens.issue(asked.name, asked.scope, days=asked.days)
    response.headers["Location"] = f"{PREFIX}/tokens/{asked.name}"
    return NewToken(token=_row(service, asked.name), secret=secret)


@router.get("/tokens/{name}", responses=answers(examples.TOKEN, 404))
def get_token(name: Name, service: Served, _: Ruler) -> TokenRow:
    """One token, without its secret."""
    return _row(service, name)


@router.delete("/tokens/{name}", status_code=204, responses=declared(404, 409))
def revoke_token(name: Name, service: Served, who: Ruler) -> None:
    """Make a token, and the sessions opened with it, worthless at once; not the one that asks."""
    if name == who.name:
        raise Conflict(f"Token {name!r} cannot revoke itself; use another, or namesae token revoke.")
    service.tokens.revoke(name)


def _row(service: Served, name: str) -> TokenRow:
    for row in service.tokens.list():
        if row.name == name:
            return row
    raise NotFound(f"Token {name!r} does not exist; GET {PREFIX}/tokens lists all.")

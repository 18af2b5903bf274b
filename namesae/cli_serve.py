"""``namesae serve`` and ``namesae token``: API, pages and MCP over one store, and who may use them."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from namesae.cli_options import AsJson, Debug

if TYPE_CHECKING:
    from collections.abc import Iterator

    from namesae.service.tokens import TokenRow, Tokens

ScopeName = Literal["read", "run", "admin"]
token = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Who may use the service.")
TokenName = Annotated[str, typer.Argument(metavar="NAME", help="Letters, digits, '.', '_', '@' and '-'.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("serve", short_help="Serve the API, the pages and MCP.")(serve)
    app.add_typer(token, name="token", short_help="Make, list and revoke tokens.")


def serve(
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="N", min=0, max=65_535, help="0 takes a free one.")] = 8765,
    name: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST", help="A host name to answer to, beside localhost; may be repeated."),
    ] = None,
    worker: Annotated[
        bool | None,
        typer.Option("--worker/--no-worker", help="Run a worker too. Default: where nobody else comes in."),
    ] = None,
    openapi: Annotated[
        bool, typer.Option("--openapi", help="Print the API's description, and stop.")
    ] = False,
    debug: Debug = False,
) -> int:
    """Serve the API, the pages and MCP over the store. Beyond this machine it needs a token."""
    from namesae.service.app import ServeOptions
    from namesae.service.serving import log_to_stderr, schema_text
    from namesae.service.serving import serve as listen
    from namesae.settings import load_settings

    settings = load_settings()
    if openapi:
        sys.stdout.write(schema_text(settings))
        return 0
    log_to_stderr()
    names = tuple(each.lower() for each in name or ())
    options = ServeOptions(host=host, port=port, names=names, worker=worker)
    return listen(settings, options, say=_say)


@token.command("add", short_help="Make a token.")
def add(
    name: TokenName,
    scope: Annotated[
        ScopeName, typer.Option(help="Look; spend images and money too; rule over tokens too.")
    ] = "read",
    days: Annotated[
        float | None, typer.Option(metavar="N", help="How long it lasts. Default: until revoked.")
    ] = None,
    debug: Debug = False,
) -> int:
    """Make a token and print its secret, which cannot be shown again."""
    with _tokens() as tokens:
        sys.stdout.write(f"{tokens.issue(name, scope, days=days)}\n")
    return 0


@token.command("list", short_help="List the tokens.")
def list_tokens(as_json: AsJson = False, debug: Debug = False) -> int:
    """List the tokens by name, without their secrets."""
    from namesae.reporters import write_json

    with _tokens() as tokens:
        for row in tokens.list():
            if as_json:
                write_json("token", row.model_dump(mode="json"), out=sys.stdout)
            else:
                sys.stdout.write(f"{_line(row)}\n")
    return 0


@token.command("revoke", short_help="Revoke a token.")
def revoke(name: TokenName, debug: Debug = False) -> int:
    """Make a token worthless at once, and log out who logged in with it."""
    with _tokens() as tokens:
        tokens.revoke(name)
    return 0


@contextlib.contextmanager
def _tokens() -> Iterator[Tokens]:
    """The tokens, while the store is open."""
    from namesae.service.tokens import Tokens
    from namesae.settings import load_settings
    from namesae.wiring import open_state

    with open_state(load_settings()) as state:
        yield Tokens(state.client)


def _line(row: TokenRow) -> str:
    from datetime import UTC, datetime

    expires = "until revoked"
    if row.expires is not None:
        expires = f"until {datetime.fromtimestamp(row.expires, UTC).isoformat(timespec='minutes')}"
    return f"{row.name:<24} {row.scope:<6} {expires}"


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()

"""``namesae mcp``: the MCP server over standard input and output."""

from __future__ import annotations

from typing import Annotated

import typer

from namesae.cli_options import Debug


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("mcp", short_help="Serve other programs over MCP.")(mcp)


def mcp(
    worker: Annotated[
        bool,
        typer.Option("--worker/--no-worker", help="Start a worker once a run waits and nobody takes it."),
    ] = True,
    debug: Debug = False,
) -> int:
    """Serve name_feature, get_trace and the other tools over MCP, on standard input and output.

    For MCP clients that start their servers themselves; namesae serve answers at /mcp over HTTP.
    """
    import logging
    import sys

    from namesae.mcp_server import serve_stdio
    from namesae.mcp_worker import WorkerOnDemand
    from namesae.service.service import Service
    from namesae.settings import load_settings
    from namesae.wiring import open_state

    # Standard output holds the protocol and nothing else.
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s"
    )
    settings = load_settings()
    with open_state(settings) as state:
        serve_stdio(Service(settings, state), awaken=WorkerOnDemand() if worker else None)
    return 0

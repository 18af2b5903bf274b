"""``namesae worker``: carries out what was asked of the service."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from namesae.cli_options import Debug, Quiet


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("worker", short_help="Carry out the jobs of the service.")(worker)


def worker(
    once: Annotated[bool, typer.Option("--once", help="Leave when nothing waits.")] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Carry out namings, batches and evaluations that were asked of namesae serve, one at a time.

    Any number of workers share a queue, on any machine that reaches the same REDIS_URL. Ctrl-C or SIGTERM
    lets the step in progress finish and gives the job back; once more stops at once. Nothing is lost.
    """
    from namesae.lines import plain
    from namesae.reporters import tell
    from namesae.settings import load_settings
    from namesae.stopping import Interrupted
    from namesae.worker import leave_with_parent, noted_signals, run_worker

    def say(text: str) -> None:
        if not quiet:
            tell(plain(text), sys.stderr)

    with noted_signals() as stop:
        leave_with_parent()
        try:
            return run_worker(load_settings(), stop=stop, once=once, say=say)
        except Interrupted as interrupted:
            return 128 + interrupted.number

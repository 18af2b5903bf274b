"""``namesae ask``: a question about a feature, answered by a conversation with its tools."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from namesae.cli_options import AsJson, Debug, Generator, Images, Quiet, Yes

Thread = Annotated[
    str | None, typer.Option(metavar="ID", help="Ask on in this conversation; its end printed the id.")
]
MaxImages = Annotated[int | None, typer.Option(metavar="N", help="Pictures for this question. Default: 100.")]
CostLimit = Annotated[float | None, typer.Option(metavar="USD", help="What the LLM may cost. Default: 0.10.")]
MaxCalls = Annotated[int, typer.Option(metavar="N", min=1, help="LLM calls for this question.")]
Seed = Annotated[int | None, typer.Option(metavar="S", help="Of the pictures. Default: 0.")]


def ask(
    feature: Annotated[str, typer.Argument(metavar="DICTIONARY#INDEX")],
    question: Annotated[str, typer.Argument(metavar="QUESTION", help='"Is it the stripes or the zebra?"')],
    thread: Thread = None,
    max_images: MaxImages = None,
    cost_limit: CostLimit = None,
    max_calls: MaxCalls = 24,
    seed: Seed = None,
    generator: Generator = None,
    images: Images = None,
    yes: Yes = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Ask about a feature: an LLM looks, draws and measures with tools, and cites what it answers by."""
    from namesae.ask_reporters import choose_ask_reporter
    from namesae.asking import AskOrder, ask_feature
    from namesae.lines import plain
    from namesae.settings import settings_of_command

    reporter = choose_ask_reporter(as_json=as_json, quiet=quiet)
    settings = settings_of_command(
        max_images=max_images,
        cost_limit=cost_limit,
        seed=seed,
        generator=generator,
        images=images,
        yes=yes,
    )
    order = AskOrder(feature=feature, question=question, thread=thread, max_calls=max_calls)
    summary = ask_feature(order, settings, reporter=reporter, debug=debug)
    if summary.error:
        sys.stderr.write(f"Error: {plain(summary.error)}\n")
    return summary.exit_code

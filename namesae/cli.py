"""The command line. Importing it loads no model, no graph and no Redis: commands import what they need."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from namesae import cli_ask, cli_batch, cli_export, cli_mcp, cli_report, cli_review, cli_serve, cli_worker
from namesae.cli_late import late
from namesae.cli_options import (
    AsJson,
    Chosen,
    CostLimit,
    Debug,
    DryRun,
    Generator,
    Images,
    MaxImages,
    Quiet,
    Yes,
)

if TYPE_CHECKING:
    from namesae.settings import Settings

app = typer.Typer(
    name="namesae",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,  # typer would import all of rich to draw boxes around the help
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="Names the features of vision sparse autoencoders, and shows why the name is right.",
    epilog="A setting is a flag, else NAMESAE_... in the environment or .env, else a line of config.toml.",
)
app.add_typer(
    late(
        "namesae.cli_evals",
        "evals",
        says="Compare ways of naming features on the same features, images and budget, against known truth.",
    ),
    name="evals",
    short_help="Compare ways of naming against known truth.",
)
app.add_typer(
    late(
        "namesae.cli_sae",
        "sae",
        says="From an image folder to a trained, measured, browsable dictionary; and any published one in.",
    ),
    name="sae",
    short_help="Train, load, measure and look into dictionaries.",
)
cli_review.add_to(app)
app.command("ask", short_help="Ask about a feature.")(cli_ask.ask)
app.command("batch", short_help="Name many features of a dictionary.")(cli_batch.batch)
for service in (cli_serve, cli_worker, cli_mcp, cli_report, cli_export):
    service.add_to(app)

Selected = Annotated[
    str,
    typer.Argument(
        metavar="DICTIONARY#FEATURES", help="sandbox#17, sandbox#3,7,10-20 or 'sandbox#truth>=0.8'."
    ),
]
Seed = Annotated[int | None, typer.Option(metavar="S", help="Of sampling, search and judge. Default: 0.")]
Sample = Annotated[int | None, typer.Option(metavar="N", help="Name only N of the features, by seed.")]
Again = Annotated[bool, typer.Option("--again", help="Start a new run although there is a stored answer.")]
Review = Annotated[bool, typer.Option("--review", help="Ask a person before a name is accepted.")]
Replay = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Let a recorded conversation answer for the LLM.")
]
Conversation = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write what was said to the LLM and back, to be replayed.")
]


@app.command(short_help="Name features.")
def name(
    selection: Selected,
    proposer: Chosen = None,
    max_images: MaxImages = None,
    cost_limit: CostLimit = None,
    seed: Seed = None,
    sample: Sample = None,
    generator: Generator = None,
    images: Images = None,
    again: Again = False,
    review: Review = False,
    replay: Replay = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Name features: propose, draw, score, race, and have the winner judged on images it has never seen."""
    from namesae.naming import Order, name_features
    from namesae.reporters import choose_reporter
    from namesae.settings import settings_of_command

    settings = settings_of_command(
        proposer=proposer,
        max_images=max_images,
        cost_limit=cost_limit,
        seed=seed,
        generator=generator,
        images=images,
        yes=yes,
        review=review or None,
        replay=replay,
    )
    order = Order(selection=selection, sample=sample, again=again)
    if dry_run:
        from namesae.dry_run import tell_estimate

        return tell_estimate(order, settings, as_json=as_json)
    asks = cli_review.asker(as_json=as_json) if settings.review else None
    reporter = choose_reporter(as_json=as_json, quiet=quiet, plain=asks is not None)
    summary = name_features(order, settings, reporter=reporter, debug=debug, asks=asks).summary
    if summary.error:
        _tell(summary.error)
    return summary.exit_code


@app.command(short_help="Show what is stored about a feature.")
def show(
    feature: Annotated[str, typer.Argument(metavar="DICTIONARY#INDEX")],
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Show what is stored about a feature: its latest name, figures, rivals, and other runs."""
    from namesae.showing import show_feature

    return show_feature(feature, _settings(), as_json=as_json)


@app.command(short_help="Show how a name was found.")
def trace(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN", help="A run, DICTIONARY#INDEX for its latest, or a thread of namesae ask."
        ),
    ],
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the run as one self-contained page.")
    ] = None,
    conversation: Conversation = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Show how a name was found: prompts, images, activations, rivals, cost, every LLM message."""
    if conversation is not None:
        from namesae.conversations import save_conversation

        save_conversation(run, _settings(), path=conversation)
        return 0
    from namesae.showing import show_trace

    return show_trace(run, _settings(), html=html, as_json=as_json)


@app.command(short_help="List the dictionaries.")
def dictionaries(as_json: AsJson = False, debug: Debug = False) -> int:
    """List the dictionaries that can be named."""
    from namesae.showing import show_dictionaries

    return show_dictionaries(_settings(), as_json=as_json)


@app.command(short_help="Check what naming needs.")
def doctor(
    stop: Annotated[bool, typer.Option("--stop", help="Stop the embedded Redis.")] = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Check what naming needs; every line that is not right says how to mend it."""
    from namesae.doctor import run_doctor

    return run_doctor(_settings(), stop=stop, as_json=as_json)


@app.command(short_help="Name one clear feature; needs nothing.")
def demo(debug: Debug = False) -> int:
    """Name one clear feature of the embedded dictionary and show where to look: no key, GPU or download."""
    from namesae.demo import run_demo

    return run_demo(debug=debug)


def run(arguments: list[str]) -> int:
    """Carry out a command line; its exit code, with SystemExit after one sentence on stderr for an error."""
    try:
        code = app(arguments, standalone_mode=False, prog_name="namesae")
    except Exception as error:
        if "--debug" in arguments:
            import traceback

            traceback.print_exc()
        raise SystemExit(_explain(error)) from error
    return code if isinstance(code, int) else 0


def main() -> None:
    """The ``namesae`` command."""
    sys.exit(run(sys.argv[1:]))


def _settings(**flags: Any) -> Settings:
    from namesae.settings import load_settings

    return load_settings(**flags)


def _tell(sentence: str) -> None:
    from namesae.lines import plain

    print(f"Error: {plain(sentence)}", file=sys.stderr, flush=True)


def _explain(error: Exception) -> int:
    if hasattr(error, "format_message"):
        said = str(error.format_message())
        # Without a command the parser's message is the help.
        if said.startswith("Usage:"):
            print(said, file=sys.stderr)
        else:
            _tell(f"{said.rstrip('.')}; see namesae --help.")
        return 2
    from namesae.faults import fault_of

    sentence, code, _ = fault_of(error)
    _tell(sentence)
    return code


if __name__ == "__main__":
    main()

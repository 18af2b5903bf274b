"""``namesae batch``: many features of one dictionary, each making the next one cheaper."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

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
    from agent.budget import BatchLimits
    from namesae.batch_records import BatchAsk

Which = Annotated[
    str, typer.Argument(metavar="DICTIONARY", help="A dictionary; with --resume a batch's id does as well.")
]
Features = Annotated[
    str | None, typer.Option(metavar="WHICH", help="0-499, 3,7,10-20 or 'truth>=0.8'. Default: all of them.")
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with the batch of this id, as it was asked for.")
]
BatchImages = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Images of the batch, survey and judge included.")
]
BatchCost = Annotated[
    float | None, typer.Option(metavar="USD", min=0.0, help="What the LLM may cost the batch.")
]
BatchSeconds = Annotated[
    float | None, typer.Option(metavar="S", min=0.0, help="What the batch may take, all runs added up.")
]
SurveyImages = Annotated[
    int | None, typer.Option(metavar="N", min=0, help="Images of the survey. Default: about one a feature.")
]
NoSurvey = Annotated[bool, typer.Option("--no-survey", help="Draw nothing before the first feature.")]
Seed = Annotated[int | None, typer.Option(metavar="S", help="Of survey, search and judge. Default: 0.")]


def batch(
    dictionary: Which,
    features: Features = None,
    resume: Resume = False,
    proposer: Chosen = None,
    max_images: MaxImages = None,
    cost_limit: CostLimit = None,
    batch_images: BatchImages = None,
    batch_cost_limit: BatchCost = None,
    batch_seconds: BatchSeconds = None,
    survey_images: SurveyImages = None,
    no_survey: NoSurvey = False,
    dry_run: DryRun = False,
    seed: Seed = None,
    generator: Generator = None,
    images: Images = None,
    yes: Yes = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Name many features: a survey of words for all of them, then each in the order that helps most.

    The same command goes on with a batch that was stopped; two at once share the work.
    """
    from agent.budget import BatchLimits
    from namesae.batch_records import BatchAsk

    limits = BatchLimits(images=batch_images, usd=batch_cost_limit, seconds=batch_seconds)
    ask = BatchAsk(
        selection=f"{dictionary}#{features}" if features else dictionary,
        survey=0 if no_survey else survey_images,
        proposer=proposer,
        max_images=max_images,
        cost_limit=cost_limit,
        seed=seed,
        generator=generator,
        images=None if images is None else str(images),
        yes=yes,
    )
    if dry_run:
        return _dry_run(ask, limits, as_json=as_json)
    return _run(ask, limits, resume=resume, quiet=quiet, as_json=as_json, debug=debug)


def _dry_run(ask: BatchAsk, limits: BatchLimits, *, as_json: bool) -> int:
    from namesae.batch_call import dry_run

    return dry_run(ask, limits, as_json=as_json)


def _run(ask: BatchAsk, limits: BatchLimits, *, resume: bool, quiet: bool, as_json: bool, debug: bool) -> int:
    from namesae.batch_call import recall, run_batch, whole
    from namesae.batch_reporters import choose_batch_reporter
    from namesae.lines import plain

    if resume and "#" not in ask.selection:
        ask, limits = recall(ask, limits)
    reporter = choose_batch_reporter(as_json=as_json, quiet=quiet)
    summary = run_batch(whole(ask), limits, reporter=reporter, debug=debug)
    if summary.error:
        sys.stderr.write(f"Error: {plain(summary.error)}\n")
    return summary.exit_code

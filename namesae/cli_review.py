"""``namesae review`` and ``namesae fork``: rule on names that wait, start again from a step of a run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import typer

from namesae.cli_options import AsJson, Debug, Quiet
from namesae.proposers import ProposerName
from tools.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.records import Explanation, Question
    from namesae.reporters import Reporter
    from namesae.reviewing import Asks, Reply
    from namesae.settings import Settings
    from namesae.wiring import State

Intent = Literal["exploit", "vary", "contradict", "explore", "control"]
Generator = Annotated[
    str | None, typer.Option(metavar="FOLDER|ID", help="The generator the run was started with.")
]
Images = Annotated[
    Path | None, typer.Option(metavar="FOLDER", help="The image folder the run was started with.")
]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("review", short_help="Rule on a name that waits.")(review)
    app.command("fork", short_help="Start again from a step of a run.")(fork)


def review(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="A run id, or DICTIONARY#INDEX for one that waits.")
    ] = None,
    accept: Annotated[bool, typer.Option("--accept", help="Accept the name with its verdict.")] = False,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Test this name instead, on new sealed images.")
    ] = None,
    reject: Annotated[bool, typer.Option("--reject", help="Reject the name: it is not shown.")] = False,
    why: Annotated[str, typer.Option(metavar="TEXT", help="The reason, kept with the decision.")] = "",
    who: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="Who decides. Default: the login name.")
    ] = None,
    turn: Annotated[
        int | None, typer.Option(metavar="N", help="Refuse unless this turn is open, as --json says it.")
    ] = None,
    listing: Annotated[bool, typer.Option("--list", help="Show all names that wait.")] = False,
    generator: Generator = None,
    images: Images = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Rule on a name that waits: accept it, reject it, or have another one tested in its place.

    Without a decision it asks on a terminal, and elsewhere shows what waits.
    """
    from namesae.reviewing import with_images
    from namesae.wiring import open_state

    reply = _reply(accept=accept, name=name, reject=reject, why=why, turn=turn)
    settings = with_images(_settings(user=who), generator=generator, images=images)
    reporter = _reporter(as_json=as_json, quiet=quiet)
    with open_state(settings) as state:
        if run is not None and not listing:
            return _decide(run, reply, Seat(state, settings, reporter, asker(as_json=as_json)))
        if reply is not None:
            raise UsageError(
                "A decision needs the run it is about; give RUN as namesae review --list shows it."
            )
        for question in state.runs.waiting():
            reporter.review(question)
    return 0


def fork(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A run id, or DICTIONARY#INDEX for its latest run.")
    ],
    at: Annotated[int, typer.Option(metavar="STEP", min=0, help="The step, as namesae trace RUN lists it.")],
    seed: Annotated[int | None, typer.Option(metavar="S", min=0, help="Of what follows.")] = None,
    max_images: Annotated[
        int | None, typer.Option(metavar="N", min=8, help="Search images, those before the step included.")
    ] = None,
    cost_limit: Annotated[
        float | None, typer.Option(metavar="USD", min=0, help="Dollars, those before the step included.")
    ] = None,
    proposer: Annotated[ProposerName | None, typer.Option(help="Who has the ideas from there on.")] = None,
    add_prompt: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="Draw this next; may be repeated.")
    ] = None,
    drop_prompt: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="Do not draw this, which the step would draw next."),
    ] = None,
    intent: Annotated[Intent, typer.Option(help="Of the prompts added.")] = "explore",
    with_review: Annotated[
        bool | None, typer.Option("--review/--no-review", help="Ask a person before the name is accepted.")
    ] = None,
    generator: Generator = None,
    images: Images = None,
    again: Annotated[bool, typer.Option("--again", help="A new run although this fork was made.")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Start a new run from a step of another, which stays as it is; what was recorded is not done again."""
    from agent.records import Proposal
    from namesae.forking import ForkOrder, fork_run
    from namesae.reviewing import with_images
    from namesae.wiring import open_state

    order = ForkOrder(
        run=run,
        step=at,
        seed=seed,
        images=max_images,
        usd=cost_limit,
        proposer=proposer,
        review=with_review,
        add=tuple(Proposal(prompt=each, intent=intent) for each in add_prompt or ()),
        drop=tuple(drop_prompt or ()),
        again=again,
    )
    settings = with_images(_settings(), generator=generator, images=images)
    reporter = _reporter(as_json=as_json, quiet=quiet)
    with open_state(settings) as state:
        seat = Seat(state, settings, reporter, asker(as_json=as_json))
        return _told(lambda: fork_run(order, state=state, settings=settings, emit=reporter.event), seat)


def asker(*, as_json: bool) -> Asks | None:
    """How to ask a person; None where nobody sits at a terminal."""
    return None if as_json or not (sys.stdin.isatty() and sys.stderr.isatty()) else ask_person


def ask_person(question: Question) -> Reply | None:
    """Show a name and ask what is to be done with it; None leaves it waiting."""
    from namesae.lines import question_lines
    from namesae.reviewing import Reply

    for line in question_lines(question):
        typer.echo(line, err=True)
    choices = "[a]ccept, [r]eject, [l]eave it waiting"
    if question.retests_left:
        choices = f"[a]ccept, [e]dit and retest ({question.retests_left} left), [r]eject, [l]eave it waiting"
    try:
        chosen = _choice(choices, known="arle" if question.retests_left else "arl")
        if chosen == "l":
            return None
        name = typer.prompt("Name", err=True) if chosen == "e" else None
        why = "" if chosen == "a" else typer.prompt("Why", default="", show_default=False, err=True)
    except typer.Abort:
        return None
    action = {"a": "accept", "e": "retest", "r": "reject"}[chosen]
    return Reply.model_validate({"action": action, "name": name, "why": why, "turn": question.turn})


class Seat(NamedTuple):
    """Where a person is served."""

    state: State
    settings: Settings
    reporter: Reporter
    asks: Asks | None


def _decide(run: str, reply: Reply | None, seat: Seat) -> int:
    from namesae.reviewing import review_run

    state, settings, reporter, _ = seat
    return _told(lambda: review_run(run, reply, state=state, settings=settings, emit=reporter.event), seat)


def _told(work: Callable[[], Explanation], seat: Seat) -> int:
    """Tell the result, or the name that waits where nobody is there to ask; the exit code."""
    from agent.runs import AwaitsReview
    from namesae.reviewing import ask_until_decided, review_run

    state, settings, reporter, asks = seat

    def decide(question: Question, reply: Reply) -> Explanation:
        return review_run(question.run, reply, state=state, settings=settings, emit=reporter.event)

    try:
        explanation = work()
    except AwaitsReview as paused:
        outcome = ask_until_decided(paused.question, asks, decide=decide, say=reporter.say)
        if outcome.explanation is None:
            reporter.review(outcome.question)
            return 1
        explanation = outcome.explanation
    reporter.feature(explanation)
    return int(explanation.verdict in ("failed", "cancelled"))


def _reply(*, accept: bool, reject: bool, name: str | None, why: str, turn: int | None) -> Reply | None:
    from namesae.reviewing import Reply

    chosen = [what for what, given in (("accept", accept), ("reject", reject), ("retest", name)) if given]
    if len(chosen) > 1:
        raise UsageError("A name is accepted, rejected or replaced; give one of --accept, --reject, --name.")
    if not chosen:
        return None
    return Reply.model_validate({"action": chosen[0], "name": name, "why": why, "turn": turn})


def _choice(choices: str, *, known: str) -> str:
    while True:
        told = str(typer.prompt(choices, err=True)).strip().lower()[:1]
        if told and told in known:
            return told


def _settings(**flags: Any) -> Settings:
    from namesae.settings import load_settings

    return load_settings(**flags)


def _reporter(*, as_json: bool, quiet: bool) -> Reporter:
    from namesae.reporters import choose_reporter

    return choose_reporter(as_json=as_json, quiet=quiet, plain=True)

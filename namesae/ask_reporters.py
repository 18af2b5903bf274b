"""How a conversation is told: lines for a person, JSON lines for programs.

Answers go to stdout, everything else to stderr.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TextIO

from namesae.ask_lines import figure_text
from namesae.lines import GAP, event_line, plain
from namesae.reporters import take_stdout, tell, write_json

if TYPE_CHECKING:
    from agent.ask_records import AskAnswer
    from agent.events import Event
    from namesae.asking import AskLaunch, AskSummary

PathOf = Callable[[str], str]
"""Picture id to where it lies."""


class AskReporter:
    """Lines on a terminal or in a file."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet

    def launch(self, launch: AskLaunch) -> None:
        """What is about to be done, by whom and within which limits."""
        limits = launch.limits
        price = "" if limits.usd is None else f", at most ${limits.usd:.2f}"
        self.say(
            f"Asking {launch.model} about {launch.feature}: up to {limits.images} pictures and "
            f"{limits.llm_calls} LLM calls{price}, seed {launch.seed}."
        )

    def say(self, text: str) -> None:
        """A line to stderr, unless quiet."""
        if not self._quiet:
            tell(plain(text), sys.stderr)

    def event(self, event: Event) -> None:
        """A line for what happened, before the answer."""
        if event.what.kind not in ("answered", "asked"):
            self.say(f"  {event_line(event)}")

    def answer(self, answer: AskAnswer, *, path: PathOf) -> None:
        """The answer with what it cites, to stdout."""
        for line in answer_lines(answer, path):
            tell(line, sys.stdout)

    def done(self, summary: AskSummary) -> None:
        """Where the conversation can be taken up again."""
        if summary.thread is not None:
            cost = summary.cost
            price = "price unknown" if cost.usd is None else f"${cost.usd:.4f}"
            spent = f"{summary.images.charged} pictures, {cost.llm_calls} LLM calls, {price}. "
            self.say(f"{spent if cost.llm_calls else ''}To ask on: --thread {summary.thread}")


class AskJsonLines(AskReporter):
    """JSON lines to stdout and nothing else there, whoever prints; progress as plain lines to stderr."""

    def __init__(self, out: TextIO, *, quiet: bool = False) -> None:
        super().__init__(quiet=quiet)
        self._out = out

    def launch(self, launch: AskLaunch) -> None:
        """The launch record."""
        super().launch(launch)
        self._write("launch", launch.model_dump(mode="json"))

    def event(self, event: Event) -> None:
        """A step record for each tool call."""
        super().event(event)
        if event.what.kind == "tool_called":
            self._write("step", event.what.model_dump(mode="json", exclude={"kind"}))

    def answer(self, answer: AskAnswer, *, path: PathOf) -> None:
        """The answer record; its pictures lie at ``paths``, by their ids."""
        pictures = [each.picture for each in answer.cites if each.picture is not None]
        paths = {each.id: path(each.image) for each in pictures}
        self._write("answer", {**answer.model_dump(mode="json"), "paths": paths})

    def done(self, summary: AskSummary) -> None:
        """The last record: its absence means that the process died."""
        self._write("done", summary.model_dump(mode="json"))
        super().done(summary)

    def _write(self, kind: str, record: dict[str, Any]) -> None:
        write_json(kind, record, out=self._out)


def answer_lines(answer: AskAnswer, path: PathOf) -> Iterable[str]:
    """The answer, the numbers in it that nobody measured, and what it cites."""
    if answer.text is None:
        return
    yield from (plain(line) for line in answer.text.splitlines())
    if answer.stored:
        yield f"(stored {answer.created[:10]})"
    if answer.unmeasured:
        yield plain(f"Not measured by any tool: {', '.join(answer.unmeasured)}")
    if answer.cites:
        yield ""
    for each in answer.cites:
        if each.figure is not None:
            yield plain(f"  {each.id:<7}{figure_text(each.figure)}{GAP}{each.figure.meaning}")
        elif each.picture is not None:
            shown = each.picture
            yield plain(f"  {each.id:<7}{shown.activation:.2f}{GAP}{shown.meaning}{GAP}{path(shown.image)}")


def choose_ask_reporter(*, as_json: bool, quiet: bool) -> AskReporter:
    """The reporter that suits where the output goes."""
    return AskJsonLines(take_stdout(), quiet=quiet) if as_json else AskReporter(quiet=quiet)

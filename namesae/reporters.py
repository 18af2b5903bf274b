"""How a batch of namings is told: a bar on a terminal, lines elsewhere, JSON lines for programs.

Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from namesae.lines import event_line, feature_line, launch_line, question_line

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from agent.events import Event
    from agent.records import Explanation, Question
    from namesae.naming import Launch, Summary

SCHEMA = 1


class Reporter(Protocol):
    """Hears what happens, in order."""

    def launch(self, launch: Launch) -> None: ...
    def say(self, text: str) -> None:
        """Something that takes a while, or a warning."""
        ...

    def event(self, event: Event) -> None: ...
    def feature(self, explanation: Explanation) -> None: ...
    def review(self, question: Question) -> None:
        """A name waits for a person, and is left waiting."""
        ...

    def done(self, summary: Summary) -> None: ...


class Lines:
    """Plain lines."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._several = False

    def launch(self, launch: Launch) -> None:
        """Say what is about to be done."""
        self._several = len(launch.features) > 1
        self.say(launch_line(launch))

    def say(self, text: str) -> None:
        """A line to stderr, unless quiet."""
        if not self._quiet:
            tell(text, sys.stderr)

    def event(self, event: Event) -> None:
        """A line for what happened, before the line of its run's end; not for pieces of a reply."""
        if event.what.kind not in ("ended", "streamed"):
            self.say(f"  {event_line(event)}")

    def feature(self, explanation: Explanation) -> None:
        """The result, to stdout."""
        tell(feature_line(explanation, several=self._several), sys.stdout)

    def review(self, question: Question) -> None:
        """The name that waits, to stdout."""
        tell(question_line(question), sys.stdout)

    def done(self, summary: Summary) -> None:
        """What came of it all, where there were several."""
        if self._several:
            self.say(summary.text)


class Bar(Lines):
    """A progress bar on a terminal; results are printed above it."""

    def __init__(self) -> None:
        super().__init__()
        self._progress: Progress | None = None
        self._features: TaskID | None = None
        self._images: TaskID | None = None

    def launch(self, launch: Launch) -> None:
        """Show the bars."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
        from rich.table import Column

        super().launch(launch)
        told = Column(ratio=1, no_wrap=True, overflow="ellipsis")
        columns = (
            TextColumn("{task.fields[unit]}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False, table_column=told),
        )
        self._progress = Progress(*columns, console=Console(stderr=True), transient=True, expand=True)
        if self._several:
            self._features = self._progress.add_task("", unit="features", total=len(launch.features))
        most = launch.limits.images + launch.limits.sealed
        self._images = self._progress.add_task("", unit="images", total=most)
        self._progress.start()

    def say(self, text: str) -> None:
        """A line above the bars."""
        if self._progress is None:
            super().say(text)
        else:
            self._progress.console.print(text, markup=False, highlight=False)

    def event(self, event: Event) -> None:
        """Move the bar of the feature in progress."""
        if self._progress is None or self._images is None:
            return
        what = event.what
        if what.kind == "started":
            self._progress.reset(self._images)
        self._progress.update(self._images, description=event_line(event))
        if what.kind in ("scored", "raced"):
            self._progress.update(self._images, completed=what.search)
        if what.kind == "judged" and what.sealed is not None:
            self._progress.advance(self._images, what.sealed.n_generated)

    def feature(self, explanation: Explanation) -> None:
        """The result, to stdout, with the bars out of its way."""
        if self._progress is None:
            return super().feature(explanation)
        self._progress.stop()
        super().feature(explanation)
        if self._features is not None:
            self._progress.advance(self._features)
        self._progress.start()
        return None

    def review(self, question: Question) -> None:
        """The name that waits, to stdout, with the bars out of its way."""
        if self._progress is not None:
            self._progress.stop()
        super().review(question)
        if self._progress is not None:
            self._progress.start()

    def done(self, summary: Summary) -> None:
        """Take the bars away."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
        super().done(summary)


class JsonLines(Lines):
    """JSON lines to stdout and nothing else there, whoever prints; progress as plain lines to stderr."""

    def __init__(self, out: TextIO, *, quiet: bool = False) -> None:
        super().__init__(quiet=quiet)
        self._out = out

    def launch(self, launch: Launch) -> None:
        """The launch record."""
        super().launch(launch)
        self._write("launch", launch.model_dump(mode="json"))

    def feature(self, explanation: Explanation) -> None:
        """An Explanation."""
        self._write("feature", explanation.model_dump(mode="json"))

    def review(self, question: Question) -> None:
        """A Question."""
        self._write("review", question.model_dump(mode="json"))

    def done(self, summary: Summary) -> None:
        """The last record: its absence means that the process died."""
        self._write("done", summary.model_dump(mode="json"))
        super().done(summary)

    def _write(self, kind: str, record: dict[str, Any]) -> None:
        write_json(kind, record, out=self._out)


def tell(text: str, out: TextIO) -> None:
    """One line, at once."""
    out.write(f"{text}\n")
    out.flush()


def write_json(kind: str, record: dict[str, Any], *, out: TextIO) -> None:
    """One JSON line with its schema and type first."""
    out.write(
        json.dumps({"schema": SCHEMA, "type": kind, **record}, ensure_ascii=False, allow_nan=False) + "\n"
    )
    out.flush()


def take_stdout() -> TextIO:
    """The real stdout, for JSON alone; what anything else prints from now on goes to stderr."""
    sys.stdout.flush()
    private = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return private


def choose_reporter(*, as_json: bool, quiet: bool, plain: bool = False) -> Reporter:
    """The reporter that suits where the output goes; ``plain``: no bars, a person is asked in between."""
    if as_json:
        return JsonLines(take_stdout(), quiet=quiet)
    return Bar() if sys.stderr.isatty() and not quiet and not plain else Lines(quiet=quiet)

"""How a batch is told: one live line on a terminal, lines elsewhere, JSON lines for programs.

Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from namesae.batch_lines import batch_launch_line, progress_line, summary_lines, survey_line
from namesae.lines import event_line, feature_line
from namesae.reporters import take_stdout, tell, write_json

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from agent.events import Event
    from agent.records import Explanation
    from agent.survey import SurveyOutcome
    from namesae.batch_records import BatchLaunch, BatchProgress, BatchSummary

EVERY = 10
"""Features between two lines of progress, where there is no terminal."""


class BatchReporter(Protocol):
    """Hears what happens, in order."""

    def launch(self, launch: BatchLaunch) -> None: ...
    def say(self, text: str) -> None: ...
    def drawn(self, images: int, total: int) -> None:
        """So many images of the survey are there."""
        ...

    def survey(self, survey: SurveyOutcome) -> None: ...
    def event(self, event: Event) -> None: ...
    def feature(self, explanation: Explanation, progress: BatchProgress) -> None: ...
    def done(self, summary: BatchSummary) -> None: ...


class BatchLines:
    """Plain lines."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet

    def launch(self, launch: BatchLaunch) -> None:
        """What is about to be done."""
        self.say(batch_launch_line(launch))

    def say(self, text: str) -> None:
        """A line to stderr, unless quiet."""
        if not self._quiet:
            tell(text, sys.stderr)

    def drawn(self, images: int, total: int) -> None:
        """A line for each chunk of the survey."""
        self.say(f"  survey: {images:,} of {total:,} images")

    def survey(self, survey: SurveyOutcome) -> None:
        """What the survey drew."""
        self.say(survey_line(survey))

    def event(self, event: Event) -> None:
        """Nothing: a trace shows them."""

    def feature(self, explanation: Explanation, progress: BatchProgress) -> None:
        """The result, to stdout, and now and then how far it is."""
        self.result(explanation)
        if progress.done % EVERY == 0 or progress.done == progress.total:
            self.say(f"  {progress_line(progress)}")

    def result(self, explanation: Explanation) -> None:
        """The result, to stdout."""
        tell(feature_line(explanation, several=True), sys.stdout)

    def done(self, summary: BatchSummary) -> None:
        """What came of it all."""
        for line in summary_lines(summary):
            self.say(line)


class BatchBar(BatchLines):
    """A live line on a terminal; results are printed above it."""

    def __init__(self) -> None:
        super().__init__()
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._told = ""

    def launch(self, launch: BatchLaunch) -> None:
        """Show the bar."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        super().launch(launch)
        columns = (
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),
        )
        self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._progress.add_task("", total=launch.features)
        self._progress.start()

    def say(self, text: str) -> None:
        """A line above the bar."""
        if self._progress is None:
            super().say(text)
        else:
            self._progress.console.print(text, markup=False, highlight=False)

    def drawn(self, images: int, total: int) -> None:
        """The bar of the survey."""
        self._show(f"survey: {images:,} of {total:,} images")

    def event(self, event: Event) -> None:
        """What the run in progress does."""
        if event.what.kind != "streamed":
            self._show(f"{self._told}{event_line(event)}")

    def feature(self, explanation: Explanation, progress: BatchProgress) -> None:
        """The result, to stdout, with the bar out of its way."""
        if self._progress is None:
            return super().feature(explanation, progress)
        self._progress.stop()
        self.result(explanation)
        self._told = f"{progress_line(progress)}; "
        self._progress.start()
        self._show(self._told.removesuffix("; "), completed=progress.done)
        return None

    def done(self, summary: BatchSummary) -> None:
        """Take the bar away."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
        super().done(summary)

    def _show(self, text: str, **changes: Any) -> None:
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, description=text, **changes)


class BatchJson(BatchLines):
    """JSON lines to stdout and nothing else there; progress as plain lines to stderr."""

    def __init__(self, out: TextIO, *, quiet: bool = False) -> None:
        super().__init__(quiet=quiet)
        self._out = out

    def launch(self, launch: BatchLaunch) -> None:
        """The launch record."""
        super().launch(launch)
        self._write("launch", launch.model_dump(mode="json"))

    def survey(self, survey: SurveyOutcome) -> None:
        """The survey record."""
        super().survey(survey)
        self._write("survey", survey.model_dump(mode="json"))

    def result(self, explanation: Explanation) -> None:
        """An Explanation."""
        self._write("feature", explanation.model_dump(mode="json"))

    def done(self, summary: BatchSummary) -> None:
        """The last record: its absence means that the process died."""
        self._write("done", summary.model_dump(mode="json"))
        super().done(summary)

    def _write(self, kind: str, record: dict[str, Any]) -> None:
        write_json(kind, record, out=self._out)


def choose_batch_reporter(*, as_json: bool, quiet: bool) -> BatchReporter:
    """The reporter that suits where the output goes."""
    if as_json:
        return BatchJson(take_stdout(), quiet=quiet)
    return BatchBar() if sys.stderr.isatty() and not quiet else BatchLines(quiet=quiet)

"""How far a long command is: bars on a terminal, plain lines now and then elsewhere; all of it on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

from namesae.reporters import tell

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

EVERY_S = 10.0
"""Plain lines of one bar come no more often than this, its last excepted."""


class Mark(NamedTuple):
    """Where one bar stands."""

    name: str
    done: int
    of: int
    note: str = ""


class Meter:
    """Bars, each begun by its first mark; nothing at all where ``quiet``."""

    def __init__(
        self,
        *,
        quiet: bool = False,
        bar: bool | None = None,
        transient: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._quiet, self._transient, self._clock = quiet, transient, clock
        self._wants_bar = sys.stderr.isatty() if bar is None else bar
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._told: dict[str, float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def show(self, mark: Mark, line: str, *, last: bool) -> None:
        """Move the bar to the mark; without bars tell the line, if it is time or the ``last``."""
        if self._quiet:
            return
        if self._wants_bar:
            self._move(mark)
            return
        now = self._clock()
        if now - self._told.setdefault(mark.name, now) >= EVERY_S or last:
            self._told[mark.name] = now
            tell(f"  {line}", sys.stderr)

    def _move(self, mark: Mark) -> None:
        if self._bars is None:
            self._bars = _bars(transient=self._transient)
            self._bars.start()
        if mark.name not in self._tasks:
            self._tasks[mark.name] = self._bars.add_task(mark.name, total=mark.of, note="")
        self._bars.update(self._tasks[mark.name], completed=mark.done, note=mark.note)


def _bars(*, transient: bool) -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    return Progress(*columns, console=Console(stderr=True), transient=transient)

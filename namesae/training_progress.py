"""How a training goes: a bar for each dictionary on a terminal, lines now and then elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from namesae.reporters import tell

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from sae.trainer.run import Seen

EVERY_S = 10.0
"""Plain lines come no more often than this, the last of a dictionary excepted."""


class TrainingProgress:
    """Told what is logged."""

    def __init__(self, *, quiet: bool = False, bar: bool | None = None) -> None:
        self._quiet = quiet
        self._wants_bar = sys.stderr.isatty() if bar is None else bar
        self._bar: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._told: dict[str, float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, seen: Seen) -> None:
        """One logged step of one dictionary."""
        if self._quiet:
            return
        if self._wants_bar:
            self._move(seen)
            return
        now = time.monotonic()
        last = self._told.setdefault(seen.name, now)
        if now - last >= EVERY_S or seen.step == seen.steps:
            self._told[seen.name] = now
            tell(f"  {seen.name}   step {seen.step:,} of {seen.steps:,}   {_figures(seen)}", sys.stderr)

    def _move(self, seen: Seen) -> None:
        if self._bar is None:
            self._bar = _bar()
            self._bar.start()
        if seen.name not in self._tasks:
            self._tasks[seen.name] = self._bar.add_task(seen.name, total=seen.steps, figures="")
        self._bar.update(self._tasks[seen.name], completed=seen.step, figures=_figures(seen))


def _bar() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    return Progress(*columns, console=Console(stderr=True))


def _figures(seen: Seen) -> str:
    return f"FVU {seen.fvu:.3f}   L0 {seen.l0:.1f}   dead {seen.dead:,}   lr {seen.lr:.2g}"

"""How far a command is that reads many images: a bar on a terminal, lines now and then elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from namesae.reporters import tell

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

EVERY_S = 10.0
"""Plain lines say how far it is no more often than this."""


class ImageProgress:
    """Told how many images are done; the first call counts as what was there before."""

    def __init__(self, *, quiet: bool = False, bar: bool | None = None) -> None:
        self._quiet = quiet
        self._wants_bar = sys.stderr.isatty() if bar is None else bar
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._told = 0.0
        self._begun: tuple[float, int] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, done: int, of: int, note: str = "") -> None:
        """So many are done, of so many."""
        if self._quiet:
            return
        if self._wants_bar:
            self._move(done, of, note)
            return
        now = time.monotonic()
        if self._begun is None:
            self._begun, self._told = (now, done), now
        if now - self._told >= EVERY_S or (done == of and done > self._begun[1]):
            self._told = now
            speed = (done - self._begun[1]) / max(now - self._begun[0], 1e-9)
            tell(f"  {done:,} of {of:,} images   {speed:,.0f} a second{note}", sys.stderr)

    def _move(self, done: int, of: int, note: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        if self._bar is None:
            columns = (
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.description}"),
            )
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task("", total=of, completed=done)
            self._bar.start()
        if self._task is not None:
            self._bar.update(self._task, completed=done, description=note.strip())

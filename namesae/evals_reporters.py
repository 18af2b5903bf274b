"""How an evaluation is told while it runs: a bar on a terminal, lines elsewhere, JSON lines for programs."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from namesae.lines import plain
from namesae.reporters import take_stdout, tell, write_json

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from evals.cell import Cell
    from evals.plan import Plan

EVERY_S = 15.0
"""Plain lines say how far it is no more often than this."""


class EvalReporter(Protocol):
    """Hears how an evaluation goes, in order."""

    def begin(self, plan: Plan, *, done: int) -> None: ...
    def cell(self, cell: Cell) -> None: ...
    def say(self, text: str) -> None: ...
    def stop(self) -> None:
        """Nothing more will be told of cells."""
        ...

    def done(self, record: Mapping[str, Any]) -> None: ...


class EvalLines:
    """Plain lines: what is named wrong or failed at once, how far it is now and then."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._cells = self._done = 0
        self._told = 0.0

    def begin(self, plan: Plan, *, done: int) -> None:
        """Say what is to be done."""
        self._cells, self._done = len(plan.jobs_now), done
        there = f", {done} there already" if done else ""
        self.say(
            f"Suite {plan.suite.name}: {len(plan.entries)} features, {len(plan.now)} conditions, "
            f"{self._cells} cells{there}."
        )
        for sentence in plan.missing:
            self.say(sentence)

    def cell(self, cell: Cell) -> None:
        """How far it is, at most every few seconds."""
        self._done += 1
        if self._done == self._cells or time.monotonic() - self._told >= EVERY_S:
            self._told = time.monotonic()
            self.say(f"  {self._done} of {self._cells}  {cell_line(cell)}")

    def say(self, text: str) -> None:
        """A line to stderr, unless quiet."""
        if not self._quiet:
            tell(text, sys.stderr)

    def stop(self) -> None:
        """Nothing to take away."""

    def done(self, record: Mapping[str, Any]) -> None:
        """Where the report lies, to stdout."""
        for line in record["lines"]:
            tell(line, sys.stdout)


class EvalBar(EvalLines):
    """A progress bar on a terminal."""

    def __init__(self) -> None:
        super().__init__()
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def begin(self, plan: Plan, *, done: int) -> None:
        """Show the bar."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        super().begin(plan, done=done)
        columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task("", total=self._cells, completed=done)
        self._bar.start()

    def cell(self, cell: Cell) -> None:
        """One more."""
        if self._bar is not None and self._task is not None:
            from rich.markup import escape

            self._bar.update(self._task, advance=1, description=escape(cell_line(cell)))

    def stop(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()


class EvalJson(EvalLines):
    """JSON lines: ``launch``, a ``cell`` each, ``done``."""

    def __init__(self, out: TextIO, *, quiet: bool = False) -> None:
        super().__init__(quiet=quiet)
        self._out = out

    def begin(self, plan: Plan, *, done: int) -> None:
        """What is to be done."""
        told = {
            "suite": plan.suite.name,
            "features": len(plan.entries),
            "conditions": [name for name in plan.conditions if name in plan.now],
            "cells": len(plan.jobs_now),
            "done": done,
            "missing": list(plan.missing),
        }
        write_json("launch", told, out=self._out)

    def cell(self, cell: Cell) -> None:
        """A cell, without its steps and images."""
        brief = cell.model_dump(
            mode="json", exclude={"answer": {"steps"}, "judged": {"images", "activations"}, "asked": True}
        )
        write_json("cell", brief, out=self._out)

    def done(self, record: Mapping[str, Any]) -> None:
        """What came of it."""
        write_json("done", {name: value for name, value in record.items() if name != "lines"}, out=self._out)


def cell_line(cell: Cell) -> str:
    """What a condition said of a feature, in a few words."""
    marks = {True: "right", False: "wrong", None: "not graded"}
    name = cell.answer.name
    said = f"{plain(name)!r} {marks[cell.grade.right]}" if name else (cell.answer.verdict or "no name")
    return f"{cell.condition} {cell.feature}: {said}"


def choose_listener(*, as_json: bool, quiet: bool) -> EvalReporter:
    """By where the output goes."""
    if as_json:
        return EvalJson(take_stdout(), quiet=quiet)
    return EvalBar() if sys.stderr.isatty() and not quiet else EvalLines(quiet=quiet)

"""What ``namesae evals`` does: suites run with the real models, reports written, results exported."""

from __future__ import annotations

import json
import signal
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from agent.runs import Drained
from evals.cell import Cell
from evals.conditions import CONDITIONS
from evals.results import Results, RunRecord
from evals.suite import Suite, built_in_suites, read_suite
from namesae import __version__
from namesae.evals_reporters import EvalReporter
from namesae.reporters import tell, write_json
from namesae.settings import Settings, load_settings
from namesae.stopping import Interrupted, Stop, stoppable
from namesae.wiring import LIBRARIES, open_state
from tools.errors import UsageError

EXPORTS = ("inspect", "datasets")
LEADERS = 5
"""Lines of the leaderboard that are printed when a run ends."""


class Wanted(NamedTuple):
    """What the person asked for."""

    suite: str
    out: Path
    only: tuple[str, ...] | None = None
    proposer: str | None = None
    yes: bool = False
    debug: bool = False


def run_suite(wanted: Wanted, reporter: EvalReporter) -> int:
    """Run what is missing of a suite and write its report; the exit code."""
    settings = load_settings(yes=wanted.yes or None)
    with stoppable() as stop:
        code = fill(wanted, settings, reporter=reporter, stop=stop)
    if code is None:
        _say_stopped(reporter)
        return 128 + (stop.number or signal.SIGTERM)
    return code


def fill(wanted: Wanted, settings: Settings, *, reporter: EvalReporter, stop: Stop) -> int | None:
    """Run what is missing of a suite and write its report; None where ``stop`` came first.

    What the suite says of proposer, seed and sealed images goes before the settings.
    """
    suite = read_suite(wanted.suite, tuple(CONDITIONS))
    proposer = wanted.proposer or suite.proposer or settings.proposer
    chosen = {"proposer": proposer, "seed": suite.seed, "sealed_images": suite.sealed}
    settings = settings.model_copy(update=chosen)
    try:
        finished = _run(wanted, suite, settings=settings, reporter=reporter, stop=stop)
    except (Interrupted, Drained):
        finished = False
    finally:
        reporter.stop()
    if not finished:
        return None
    cells = _write_report(wanted.out, settings, done=reporter.done)
    return int(any(cell.answer.failed for cell in cells))


def report_on(folder: Path, *, as_json: bool = False) -> int:
    """Write the report of a run, finished or not."""

    def done(record: Mapping[str, Any]) -> None:
        if as_json:
            write_json(
                "done", {name: each for name, each in record.items() if name != "lines"}, out=sys.stdout
            )
        else:
            for line in record["lines"]:
                tell(line, sys.stdout)

    _write_report(folder, load_settings(), done=done)
    return 0


def list_suites(*, as_json: bool = False) -> int:
    """Print the built-in suites and the conditions."""
    suites = [read_suite(name, tuple(CONDITIONS)) for name in built_in_suites()]
    if as_json:
        for suite in suites:
            write_json("suite", suite.model_dump(mode="json"), out=sys.stdout)
        return 0
    for suite in suites:
        tell(f"{suite.name:<16} {suite.description}", sys.stdout)
    tell(f"Conditions: {', '.join(CONDITIONS)}, file:PATH.", sys.stdout)
    return 0


def export_results(folder: Path, to: Path, *, form: str) -> int:
    """Write results for another tool."""
    if form not in EXPORTS:
        raise UsageError(f"Format {form!r} does not exist; there are {', '.join(EXPORTS)}.")
    if to.is_file() or (to.is_dir() and any(to.iterdir())):
        raise UsageError(f"{to} holds files already; give --to a new or empty folder.")
    results = Results(folder)
    record = results.record()
    cells = results.cells(record)
    for path in _exported(cells, record, to=to, form=form):
        tell(str(path), sys.stdout)
    return 0


def _exported(cells: Sequence[Cell], record: RunRecord, *, to: Path, form: str) -> list[Path]:
    from evals.report import board_of

    board = board_of(cells, record)
    if form == "inspect":
        from evals.export_inspect import write_inspect_logs

        return list(write_inspect_logs(cells, board, folder=to, created=datetime.now(UTC)))
    from evals.export_datasets import write_dataset

    return [write_dataset(cells, board, folder=to)]


def _run(wanted: Wanted, suite: Suite, *, settings: Settings, reporter: EvalReporter, stop: Stop) -> bool:
    from evals.plan import plan_evaluation
    from evals.running import Evaluation, Means
    from namesae.workshop import RealWorkshop

    with open_state(settings) as state, warnings.catch_warnings():
        # What libraries say to their callers is not for the person who evaluates names.
        warnings.filterwarnings("ignore", module=LIBRARIES)
        workshop = RealWorkshop(settings, state, say=reporter.say, words=suite.words)
        plan = plan_evaluation(suite, workshop, only=wanted.only)
        usd = None if settings.yes else settings.cost_limit
        means = Means(version=__version__, usd=usd, debug=wanted.debug)
        evaluation = Evaluation(plan, workshop, Results(wanted.out), means=means)
        return evaluation.run(reporter, stopped=lambda: stop.number is not None)


def _write_report(
    folder: Path, settings: Settings, *, done: Callable[[Mapping[str, Any]], None]
) -> list[Cell]:
    from evals.report import board_of, leaders
    from evals.report_files import write_report
    from tools.image_store import ImageStore

    results = Results(folder)
    record = results.record()
    cells = results.cells(record)
    if not cells:
        raise UsageError(f"{folder} holds no cell yet; run the suite first.")
    board = board_of(cells, record, sanity=results.sanity())
    files = write_report(board, cells, folder, picture=ImageStore(settings.image_store).png)
    lines = [*board.missing, *leaders(board, most=LEADERS), str(files.html)]
    done({"report": str(files.html), "totals": json.loads(board.totals.model_dump_json()), "lines": lines})
    return cells


def _say_stopped(reporter: EvalReporter) -> None:
    reporter.say("Stopped by a signal; the cells that are filled are kept, and the same command continues.")

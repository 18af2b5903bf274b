"""One call of ``namesae batch`` from what was asked to the summary and its exit code."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

from agent.budget import BatchLimits
from agent.runs import Drained
from namesae.batch_records import BatchAsk, BatchSummary
from namesae.batch_store import BatchStore, latest_batches
from namesae.batch_summary import summary_of
from namesae.batching import BatchRun
from namesae.dictionaries import find_dictionary
from namesae.faults import fault_of
from namesae.naming import STOPPED
from namesae.selection import parse_selection
from namesae.settings import Settings, load_settings, settings_of_command
from namesae.stopping import Interrupted, Stop, stoppable
from namesae.wiring import Workbench, open_state
from tools.errors import BudgetError, UsageError

if TYPE_CHECKING:
    from namesae.batch_reporters import BatchReporter


def run_batch(
    ask: BatchAsk, limits: BatchLimits, *, reporter: BatchReporter, debug: bool = False
) -> BatchSummary:
    """Carry out a batch, or go on with it, and tell it. With ``debug`` errors are raised."""
    began = time.monotonic()
    settings = settings_of(ask)
    listed = find_dictionary(parse_selection(ask.selection).dictionary, settings)
    with open_state(settings) as state:
        bench = Workbench(settings, state, listed=listed, say=reporter.say)
        run = BatchRun(ask, bench, limits, reporter=reporter)
        with stoppable() as stop:
            code, error = _carried_out(run, stop, debug=debug)
        summary = summary_of(run, code, error=error, began=began)
    reporter.done(summary)
    return summary


def settings_of(ask: BatchAsk) -> Settings:
    """The settings of a batch: flags as they were given, the rest as it is now."""
    return settings_of_command(
        proposer=ask.proposer,
        max_images=ask.max_images,
        cost_limit=ask.cost_limit,
        seed=ask.seed,
        generator=ask.generator,
        images=ask.images,
        yes=ask.yes,
    )


def whole(ask: BatchAsk) -> BatchAsk:
    """The same with all features of the dictionary where none are named."""
    if "#" in ask.selection:
        return ask
    last = find_dictionary(ask.selection, settings_of(ask)).n_features - 1
    return ask.model_copy(update={"selection": f"{ask.selection}#0-{last}"})


def dry_run(ask: BatchAsk, limits: BatchLimits, *, as_json: bool) -> int:
    """Say what a batch would use: its survey, and what earlier runs used, feature by feature."""
    from namesae.batch_survey import most_surveyed
    from namesae.dry_run import tell_estimate
    from namesae.naming import Order

    return tell_estimate(
        Order(selection=whole(ask).selection),
        settings_of(ask),
        as_json=as_json,
        survey=lambda features: most_surveyed(features, images=ask.survey, most=limits.images),
    )


def recall(ask: BatchAsk, limits: BatchLimits) -> tuple[BatchAsk, BatchLimits]:
    """What the batch of this id was asked for, with its own limits where none are given.

    A dictionary's name stands for the batch of all its features. UsageError where it is neither.
    """
    settings = load_settings()
    with open_state(settings) as state:
        store = BatchStore(state.client, ask.selection)
        found, kept = store.ask, store.limits
        latest = latest_batches(state.client)
    if found is not None:
        given = any(value is not None for _, value in limits)
        return found, limits if given or kept is None else kept
    try:
        find_dictionary(ask.selection, settings)
    except UsageError as error:
        known = f"the latest are {', '.join(latest)}" if latest else "there is none yet"
        raise UsageError(f"Batch {ask.selection!r} does not exist; {known}.") from error
    return ask, limits


def _carried_out(run: BatchRun, stop: Stop, *, debug: bool) -> tuple[int, str | None]:
    try:
        run.carry_out(stop=stop, debug=debug)
    except (Interrupted, Drained):
        return 128 + (stop.number or signal.SIGTERM), STOPPED
    except Exception as error:
        if debug:
            raise
        fault = fault_of(error)
        return fault.exit_code, fault.sentence
    return outcome_of(run)


def outcome_of(run: BatchRun) -> tuple[int, str | None]:
    """Exit code and sentence of a batch that was carried out to its end."""
    if run.unasked:
        count = len(run.unasked)
        return BudgetError.exit_code, (
            f"A limit of the batch left {count} feature{'s' if count > 1 else ''} without a run; raise it "
            "and repeat the command."
        )
    if any(each.why.startswith("limit_") for each in run.failures.values()):
        return BudgetError.exit_code, "A limit came before the first image of a feature; raise it and repeat."
    return int(bool(run.failures or run.waiting)), None

"""Everything known of one run: the answer and how it was found."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from agent.events import Event
from agent.records import Explanation
from agent.runs_store import RunRow
from sae.feature import Feature, Frozen
from tools.errors import NamesaeError, UsageError

if TYPE_CHECKING:
    from namesae.settings import Settings
    from namesae.wiring import State


class Trace(Frozen):
    """A run, to be read."""

    run: str
    explanation: Explanation | None = None
    """None while the run is unfinished."""
    events: tuple[Event, ...] = ()
    """Oldest first; a node repeated after a crash may have said a thing twice."""
    control: tuple[float, ...] = ()
    """Activations on the control set; empty where they are not recorded here."""


def read_trace(run: str, state: State, *, settings: Settings) -> Trace:
    """The trace of a run by its id, or of the latest run of DICTIONARY#INDEX; UsageError if there is none."""
    row = find_run(run, state, settings=settings)
    events = tuple(entry.event for entry in state.events.read(row.run))
    return Trace(
        run=row.run,
        explanation=row.explanation,
        events=events,
        control=_control(row, state, settings=settings),
    )


def find_run(run: str, state: State, *, settings: Settings) -> RunRow:
    """The row of a run by its id, or of the latest run of DICTIONARY#INDEX."""
    if "#" in run:
        run = latest_explanation(run, state, settings=settings).run
    row = state.runs.row(run)
    if row is None:
        latest = state.runs.latest()
        near = difflib.get_close_matches(run, latest, n=1)
        hint = (
            f"did you mean {near[0]}?"
            if near
            else f"the latest is {latest[0]}."
            if latest
            else "there is none yet."
        )
        raise UsageError(f"Run {run!r} does not exist; {hint}")
    return row


def latest_explanation(feature: str, state: State, *, settings: Settings) -> Explanation:
    """What was last found of a feature; UsageError where it was never named."""
    wanted = parse_feature(feature, settings)
    found = state.runs.of_feature(str(wanted), count=1)
    if not found:
        raise UsageError(f"Feature {wanted} has not been named yet; run: namesae name {wanted}")
    return found[0]


def parse_feature(text: str, settings: Settings) -> Feature:
    """One feature that exists; UsageError otherwise."""
    from namesae.dictionaries import find_dictionary
    from namesae.selection import choose_features, parse_selection

    selection = parse_selection(text)
    features = choose_features(selection, find_dictionary(selection.dictionary, settings))
    if len(features) != 1:
        raise UsageError(f"{text!r} means {len(features)} features; give one, e.g. {features[0]}.")
    return features[0]


def _control(row: RunRow, state: State, *, settings: Settings) -> tuple[float, ...]:
    """What the control set did, where the models of the run are still the ones that are here."""
    from namesae.wiring import open_workbench

    try:
        bench = open_workbench(row.request.feature.dictionary, settings, state=state)
        if bench.models.fingerprint != row.request.models:
            return ()
        return bench.recorded_control(row.request.feature.index)
    except NamesaeError:
        # A dictionary that has gone takes its control set with it, not its traces.
        return ()

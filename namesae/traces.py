"""Everything known of one run: the answer and how it was found."""

from __future__ import annotations

import difflib
import warnings
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from agent.events import Event, Raced
from agent.forks import Step, steps_of
from agent.plans import Candidate
from agent.records import Explanation, Question
from agent.reward import Scale
from agent.runs_store import RunRow
from agent.state import SCHEMA, RaceRecord
from agent.streaming import settled
from sae.feature import Feature, Frozen
from tools.errors import IntegrityError, NamesaeError, UsageError

if TYPE_CHECKING:
    from namesae.settings import Settings
    from namesae.wiring import State


class Race(Frozen):
    """A race with its pictures, as the run's last checkpoint holds it."""

    candidates: tuple[Candidate, ...]
    """In the proposer's order."""
    record: RaceRecord
    scale: Scale
    """Of the feature: the unit of rewards."""


class Trace(Frozen):
    """A run, to be read."""

    run: str
    explanation: Explanation | None = None
    """None while the run is unfinished."""
    events: tuple[Event, ...] = ()
    """Oldest first; a node repeated after a crash may have said a thing twice."""
    control: tuple[float, ...] = ()
    """Activations on the control set; empty where they are not recorded here."""
    race: Race | None = None
    """None where there was no race, its checkpoint has gone, or it was not asked for."""
    steps: tuple[Step, ...] = ()
    """The run's checkpoints, oldest first: a fork can start at any but the last of a finished run."""
    question: Question | None = None
    """What a person is asked; None where the run does not wait for one."""


def read_trace(run: str, state: State, *, settings: Settings, race: bool = True) -> Trace:
    """The trace of a run by its id, or of the latest run of DICTIONARY#INDEX; UsageError if there is none.

    ``race``: whether to read the pictures of the race, which takes the graph's libraries.
    """
    row = find_run(run, state, settings=settings)
    events = settled(entry.event for entry in state.events.read(row.run))
    raced = race and any(isinstance(event.what, Raced) for event in events)
    return Trace(
        run=row.run,
        explanation=row.explanation,
        events=events,
        control=_control(row, state, settings=settings),
        race=_race(row.run, state) if raced else None,
        steps=_steps(row.run, state),
        question=row.question if row.waits else None,
    )


def find_run(run: str, state: State, *, settings: Settings) -> RunRow:
    """The row of a run by its id, or of the latest run of DICTIONARY#INDEX."""
    if "#" in run:
        run = latest_explanations(run, state, settings=settings, count=1)[0].run
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


def latest_explanations(feature: str, state: State, *, settings: Settings, count: int) -> list[Explanation]:
    """What the last runs of a feature found, latest first; UsageError where it was never named."""
    wanted = parse_feature(feature, settings)
    found = state.runs.of_feature(str(wanted), count=count)
    if not found:
        raise UsageError(f"Feature {wanted} has not been named yet; run: namesae name {wanted}")
    return found


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


def _steps(run: str, state: State) -> tuple[Step, ...]:
    from namesae.wiring import LIBRARIES

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=LIBRARIES)
        from agent.checkpointer import RedisCheckpointer
        from agent.graph import build_graph

        try:
            return steps_of(build_graph(RedisCheckpointer(state.client)), run)
        except IntegrityError:
            # Another version's steps: the run can be read, and not be forked.
            return ()


def _race(run: str, state: State) -> Race | None:
    from namesae.wiring import LIBRARIES

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=LIBRARIES)
        from agent.checkpointer import RedisCheckpointer
        from agent.graph import build_graph

        config: Any = {"configurable": {"thread_id": run}}
        try:
            held = build_graph(RedisCheckpointer(state.client)).get_state(config).values
            if held.get("schema") != SCHEMA:
                return None
            # Validated anew: the checkpointer revives models without validating them.
            race = Race.model_construct(
                candidates=held["candidates"], record=held["raced"], scale=Scale.of(held["facts"])
            )
            return Race.model_validate(race.model_dump(warnings="none"))
        except (KeyError, IntegrityError, ValidationError):
            return None

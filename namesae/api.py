"""Python: the same records as the command line's, which a notebook can show."""

from __future__ import annotations

import atexit
import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import PrivateAttr

from agent.ask_records import Conversation
from agent.events import Event
from agent.records import Explanation, Proposal, Question, RulingAction
from agent.runs import OutOfBudget
from namesae.asking import MAX_CALLS, Asking, AskOrder
from namesae.dictionaries import Listed, TruthRow, find_dictionary, read_truth
from namesae.lines import event_line
from namesae.selection import Selection, choose_features, parse_selection
from namesae.settings import Settings, load_settings
from namesae.traces import Trace, parse_feature, read_trace
from namesae.wiring import State, Workbench, open_state, quiet
from sae.card import DictionaryCard
from sae.feature import Feature
from tools.errors import UsageError

if TYPE_CHECKING:
    from PIL import Image

    from sae.dictionary import SparseDictionary

Say = Callable[[str], None]


class NamedFeature(Explanation):
    """An Explanation that a notebook shows with its pictures."""

    _settings: Settings = PrivateAttr()

    @classmethod
    def of(cls, explanation: Explanation, settings: Settings) -> NamedFeature:
        """The same record; ``settings`` say where its pictures are."""
        made = cls.model_construct(**{name: getattr(explanation, name) for name in Explanation.model_fields})
        made._settings = settings
        return made

    def contact_sheet(self) -> Image.Image:
        """Exemplars, the best prompts' pictures and the judge's, each with its activation under it."""
        from namesae.contact_sheet import draw_contact_sheet

        return draw_contact_sheet(self, _state(self._settings).images)

    def trace(self) -> ShownTrace:
        """How the name was found."""
        return _trace(self.run, self._settings)

    def _repr_html_(self) -> str:
        from namesae.notebook_html import render_summary

        return render_summary(self, _state(self._settings).images)


class ShownTrace(Trace):
    """A Trace that a notebook shows as its page."""

    _settings: Settings = PrivateAttr()

    def save(self, path: Path | str) -> Path:
        """Write the run as one self-contained page."""
        from namesae.trace_html import write_trace_html

        return write_trace_html(self, _state(self._settings).images, path=Path(path))

    def _repr_html_(self) -> str:
        from namesae.notebook_html import render_framed

        return render_framed(self, _state(self._settings).images)


class Dictionary:
    """A dictionary, ready to be named from; its models are loaded once, when first used."""

    def __init__(self, listed: Listed, settings: Settings) -> None:
        self._listed, self._settings = listed, settings

    @property
    def name(self) -> str:
        """What it is called."""
        return self._listed.name

    @property
    def n_features(self) -> int:
        """How many features it has."""
        return self._listed.n_features

    @property
    def card(self) -> DictionaryCard | None:
        """Everything about it but its weights; None for the planted one."""
        return self._listed.card

    @cached_property
    def truth(self) -> tuple[TruthRow, ...]:
        """What its features really stand for, where that is known; UsageError where it is not."""
        return read_truth(self._listed)

    @cached_property
    def weights(self) -> SparseDictionary:
        """Its weights (imports torch)."""
        from sae.dictionary import load_dictionary as load_weights

        if self._listed.folder is None:
            raise UsageError(f"Dictionary {self._listed.name!r} has no weights: its features are planted.")
        return load_weights(self._listed.folder)

    def features(self, which: str, *, sample: int | None = None) -> tuple[Feature, ...]:
        """Features by what stands after the # of a selection: '3,7,10-20' or 'truth>=0.8'."""
        asked = parse_selection(f"{self._listed.name}#{which}")
        selection = Selection(self._listed.name, asked.spans, asked.least_f1)
        return choose_features(selection, self._listed, sample=sample, seed=self._settings.seed)

    def name_features(
        self, which: str | int | Sequence[Feature], *, again: bool = False, say: Say = quiet
    ) -> Iterator[NamedFeature]:
        """Name features one after another, each as it comes; failed where a limit leaves no verdict."""
        features = (
            which if isinstance(which, Sequence) and not isinstance(which, str) else self.features(str(which))
        )
        bench = _bench(self._settings, self._listed)
        for feature in features:
            try:
                yield _named(bench, feature, again=again, say=say)
            except OutOfBudget as error:
                # Each feature has limits of its own, which may suffice for the others.
                yield NamedFeature.of(error.explanation, self._settings)

    def _repr_html_(self) -> str:
        from namesae.notebook_html import render_dictionary

        return render_dictionary(self._listed)

    def __repr__(self) -> str:
        return f"Dictionary({self._listed.name!r}, {self._listed.n_features} features)"


def name(feature: str | Feature, *, again: bool = False, say: Say = quiet, **settings: Any) -> NamedFeature:
    """Name one feature, 'sandbox#17': the stored answer to an equal request, else a run.

    ``say`` hears what happens, line by line. ``settings``: any of namesae.settings.Settings, e.g. proposer,
    max_images, seed. NamesaeErrors say in one sentence what is wrong; an interrupted call can be repeated.
    """
    chosen = load_settings(**settings)
    wanted = parse_feature(str(feature), chosen)
    bench = _bench(chosen, find_dictionary(wanted.dictionary, chosen))
    return _named(bench, wanted, again=again, say=say)


def ask(
    feature: str | Feature,
    question: str,
    *,
    thread: str | None = None,
    max_calls: int = MAX_CALLS,
    say: Say = quiet,
    **settings: Any,
) -> Conversation:
    """Ask an LLM about one feature; it looks, draws and measures, and ``.answer`` cites what it found.

    ``thread``: the conversation that this follows up (``Conversation.thread``). ``max_calls``: LLM calls at
    most; the other limits are settings, as for ``name``. An answer that failed has a code and no text;
    NamesaeErrors say in one sentence what is wrong, and an interrupted call can be repeated.
    """
    chosen = load_settings(**settings)
    wanted = parse_feature(str(feature), chosen)
    asking = Asking(wanted, _bench(chosen, find_dictionary(wanted.dictionary, chosen)))
    order = AskOrder(feature=str(wanted), question=question, thread=thread, max_calls=max_calls)
    return asking.ask(asking.request(order), emit=lambda event: say(event_line(event)))


def review(
    run: str | Feature | Explanation,
    action: RulingAction,
    *,
    name: str | None = None,
    why: str = "",
    **settings: Any,
) -> NamedFeature:
    """Rule on a name that waits: 'accept', 'reject', or 'retest' with another ``name``.

    A retest raises agent.runs.AwaitsReview with the next question, as ``name`` does under ``review=True``.
    ``settings``: any of namesae.settings.Settings; ``user`` says who reviews.
    """
    from namesae.reviewing import Reply, review_run

    chosen = load_settings(**settings)
    reply = Reply(action=action, name=name, why=why)
    told = review_run(_run_id(run), reply, state=_state(chosen), settings=chosen)
    return NamedFeature.of(told, chosen)


def waiting(**settings: Any) -> tuple[Question, ...]:
    """The names that wait for a review, the oldest first."""
    return tuple(_state(load_settings(**settings)).runs.waiting())


def fork(
    run: str | Feature | Explanation,
    *,
    at: int,
    add: Sequence[str | Proposal] = (),
    drop: Sequence[str] = (),
    **settings: Any,
) -> NamedFeature:
    """Start a run from step ``at`` of another, as ``trace(run).steps`` lists them; the other stays as it is.

    ``add``, ``drop``: prompts to draw next, or not. Of ``settings``, seed, max_images, cost_limit, proposer
    and review change what follows; the others are as for ``name``.
    """
    from namesae.forking import ForkOrder, fork_run

    chosen = load_settings(**settings)
    prompts = (Proposal(prompt=each, intent="explore") if isinstance(each, str) else each for each in add)
    order = ForkOrder(
        run=_run_id(run),
        step=at,
        seed=settings.get("seed"),
        images=settings.get("max_images"),
        usd=settings.get("cost_limit"),
        proposer=settings.get("proposer"),
        review=settings.get("review"),
        add=tuple(prompts),
        drop=tuple(drop),
    )
    return NamedFeature.of(fork_run(order, state=_state(chosen), settings=chosen), chosen)


def load_dictionary(dictionary: str, **settings: Any) -> Dictionary:
    """A dictionary by name or folder."""
    chosen = load_settings(**settings)
    return Dictionary(find_dictionary(dictionary, chosen), chosen)


def trace(run: str | Feature | Explanation, **settings: Any) -> ShownTrace:
    """How a name was found: by run id, by feature (its latest run) or by its Explanation."""
    return _trace(_run_id(run), load_settings(**settings))


def _run_id(run: str | Feature | Explanation) -> str:
    return run.run if isinstance(run, Explanation) else str(run)


_STACK = contextlib.ExitStack()


def close() -> None:
    """Let go of Redis and of the models; the next call opens them again."""
    _bench.cache_clear()
    _state.cache_clear()
    _STACK.close()


@lru_cache(maxsize=4)
def _state(settings: Settings) -> State:
    # Kept open for the process: the next call in a notebook must not start a server again.
    atexit.register(_STACK.close)
    return _STACK.enter_context(open_state(settings))


@lru_cache(maxsize=4)
def _bench(settings: Settings, listed: Listed) -> Workbench:
    return Workbench(settings, _state(settings), listed=listed)


def _named(bench: Workbench, feature: Feature, *, again: bool, say: Say) -> NamedFeature:
    def emit(event: Event) -> None:
        if event.what.kind != "streamed":
            say(event_line(event))

    return NamedFeature.of(bench.name(feature.index, again=again, emit=emit), bench.settings)


def _trace(run: str, settings: Settings) -> ShownTrace:
    found = read_trace(run, _state(settings), settings=settings)
    shown = ShownTrace.model_construct(**{name: getattr(found, name) for name in Trace.model_fields})
    shown._settings = settings
    return shown

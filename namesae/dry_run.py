"""``--dry-run``: what naming would use. Draws nothing, asks nobody, loads no model."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from agent.estimate import Estimate, Prospect, Range, estimate
from agent.prices import price_text
from agent.records import Explanation
from namesae.dictionaries import find_dictionary
from namesae.proposers import endpoint_of, own_price
from namesae.reporters import tell, write_json
from namesae.selection import choose_features, parse_selection
from namesae.wiring import State, Workbench, open_state
from sae.feature import Feature
from tools.errors import IntegrityError

if TYPE_CHECKING:
    from namesae.naming import Order
    from namesae.settings import Settings

LATEST = 400
"""Latest runs that are looked through for those by the same proposer."""
UNKNOWN = "unknown"


Surveyed = Callable[[int], int]
"""The images that a survey for so many features may draw."""


def tell_estimate(
    order: Order, settings: Settings, *, as_json: bool, survey: Surveyed = lambda features: 0
) -> int:
    """Print what an order would use; ``survey``: of a batch, which surveys for stored answers too."""
    told = estimate_order(order, settings)
    told = told.model_copy(update={"survey": survey(told.features)})
    if as_json:
        write_json("estimate", told.model_dump(mode="json"), out=sys.stdout)
    else:
        for line in estimate_lines(told, price=_price_text(settings)):
            tell(line, sys.stdout)
    return 0


def estimate_order(order: Order, settings: Settings) -> Estimate:
    """What an order would use; UsageError as the order itself would raise it."""
    selection = parse_selection(order.selection)
    listed = find_dictionary(selection.dictionary, settings)
    features = choose_features(selection, listed, sample=order.sample, seed=settings.seed)
    prospect = prospect_of(settings)
    with open_state(settings) as state:
        bench = Workbench(settings, state, listed=listed)
        stored = 0 if order.again else sum(_is_stored(bench, each) for each in features)
        history = _history(state, prospect.name, features[0].dictionary)
        left = len(features) - stored
        told = estimate(bench.limits, prospect, n_features=left, history=history)
    return told.model_copy(update={"features": len(features), "stored": stored})


def prospect_of(settings: Settings) -> Prospect:
    """Who the settings would ask; needs no key."""
    if settings.replay is not None:
        return Prospect(f"replay of {settings.replay.name}", paid=False)
    if settings.proposer_kind != "openai":
        return Prospect(settings.proposer_kind, paid=False)
    endpoint = endpoint_of(settings)
    return Prospect(f"openai:{endpoint.model}", paid=True, price=endpoint.price)


def estimate_lines(told: Estimate, *, price: str) -> Iterator[str]:
    """The estimate for a person."""
    what = f"{told.features} feature{'s' if told.features != 1 else ''}"
    stored = f", {told.stored} of them stored already" if told.stored else ""
    yield f"Naming {what} with the {told.proposer} proposer{stored} (low, typical, high; from {told.basis}):"
    yield f"  images       {_count(told.images)}"
    if told.survey:
        yield f"  survey       at most {told.survey:,} more images"
    yield f"  LLM calls    {_count(told.llm_calls)}"
    yield f"  tokens       {_count(told.tokens)}"
    yield f"  dollars      {_dollars(told.usd)}" + (f"   {price}" if price else "")
    yield f"  seconds      {_count(told.seconds)}"
    yield "Nothing was drawn and nobody was asked."


def _is_stored(bench: Workbench, feature: Feature) -> bool:
    chosen = bench.settings
    if chosen.proposer_kind == "openai" and chosen.openai_api_key is None and chosen.replay is None:
        # Without a key there is no proposer whose answers could be looked for.
        return False
    return bench.state.runs.find(bench.request(feature.index)) is not None


def _history(state: State, proposer: str, dictionary: str) -> list[Explanation]:
    """Explanations by the same proposer, latest first; only of this dictionary where there are some."""
    found = [each for run in state.runs.latest(count=LATEST) for each in _explained(state, run)]
    same = [each for each in found if each.proposer == proposer]
    here = [each for each in same if each.feature.dictionary == dictionary]
    return here or same


def _explained(state: State, run: str) -> Iterator[Explanation]:
    try:
        row = state.runs.row(run)
    except IntegrityError:
        # Another version's run: it says nothing of what this one uses.
        return
    if row is not None and row.explanation is not None:
        yield row.explanation


def _price_text(settings: Settings) -> str:
    if settings.proposer_kind != "openai" or settings.replay is not None:
        return ""
    return price_text(settings.openai_model, settings.openai_base_url, own=own_price(settings))


def _count(told: Range | None) -> str:
    return UNKNOWN if told is None else f"{told.low:,.0f}   {told.typical:,.0f}   {told.high:,.0f}"


def _dollars(told: Range | None) -> str:
    return UNKNOWN if told is None else f"${told.low:.4f}   ${told.typical:.4f}   ${told.high:.4f}"

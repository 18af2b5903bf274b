"""What an order reaches: dictionaries by their names alone, and the settings that a person may choose."""

from __future__ import annotations

from agent.request import Request
from namesae.dictionaries import Damaged, Listed, list_dictionaries
from namesae.proposers import PROPOSERS
from namesae.service.errors import NotFound
from namesae.service.orders import BatchOrder, NameOrder
from namesae.settings import Settings
from sae.feature import Feature
from tools.errors import IntegrityError, UsageError


def listed_dictionary(name: str, settings: Settings) -> Listed:
    """A dictionary by its name, never by a folder. NotFound; IntegrityError where it is damaged."""
    known = {each.name: each for each in list_dictionaries(settings)}
    found = known.get(name)
    if found is None:
        raise NotFound(f"Dictionary {name!r} does not exist; there are {', '.join(known) or 'none'}.")
    if isinstance(found, Damaged):
        raise IntegrityError(found.reason)
    return found


def listed_feature(text: str, settings: Settings) -> tuple[Listed, Feature]:
    """A feature, DICTIONARY#INDEX, and its dictionary. NotFound where either does not exist."""
    name, _, index = text.rpartition("#")
    listed = listed_dictionary(name, settings)
    if not index.isascii() or not index.isdigit() or int(index) >= listed.n_features:
        last = listed.n_features - 1
        raise NotFound(f"Feature {text!r} does not exist; {listed.name} has features 0 to {last}.")
    return listed, Feature(dictionary=listed.name, index=int(index))


def settings_of_order(order: NameOrder | BatchOrder, settings: Settings) -> Settings:
    """The settings an order is carried out under; None in it leaves them as they are."""
    chosen: dict[str, object] = {
        "proposer": order.proposer or settings.proposer,
        "max_images": order.max_images,
        "cost_limit": order.cost_limit,
        "seed": order.seed,
    }
    if isinstance(order, NameOrder):
        chosen["review"] = order.review
    return settings.model_copy(update=chosen)


def settings_of_request(request: Request, settings: Settings) -> Settings:
    """The settings that an accepted run goes on under. UsageError where its proposer cannot be had here."""
    kind, _, model = request.proposer.partition(":")
    if kind not in PROPOSERS:
        raise UsageError(
            f"The run was made with {request.proposer}, which only a command can use: repeat that command."
        )
    chosen: dict[str, object] = {
        "proposer": kind,
        "seed": request.settings.seed,
        "review": request.settings.review,
        "max_images": request.settings.limits.images,
    }
    if model and f"{kind}_model" in Settings.model_fields:
        chosen[f"{kind}_model"] = model
    return settings.model_copy(update=chosen)

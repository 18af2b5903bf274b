"""The proposers a person can choose, made from their settings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from agent.proposer import Proposer
from namesae.settings import Settings
from tools.errors import UsageError
from tools.protocols import GeneratorCard

if TYPE_CHECKING:
    from namesae.galleries import Shelf
    from tools.ledger import Ledger


class Means(NamedTuple):
    """What a proposer may need."""

    settings: Settings
    card: GeneratorCard
    lexicon: Path | None
    ledger: Ledger
    shelf: Shelf


def make_proposer(means: Means) -> Proposer:
    """The proposer the settings ask for; UsageError where it lacks something."""
    return PROPOSERS[means.settings.proposer_kind](means)


def _lexical(means: Means) -> Proposer:
    from agent.lexical import LexicalProposer
    from agent.lexicon import lexicon_for

    return LexicalProposer(lexicon_for(means.card, means.lexicon))


def _openai(means: Means) -> Proposer:
    from agent.llm import Endpoint
    from agent.openai_proposer import OpenAIProposer
    from agent.prices import SEEING, listed_price

    chosen = means.settings
    if chosen.openai_api_key is None:
        raise UsageError(
            "Proposer openai needs a key and OPENAI_API_KEY is not set; set it, or choose --proposer lexical."
        )
    model, base_url = chosen.openai_model, chosen.openai_base_url
    sees = chosen.openai_sees if chosen.openai_sees is not None else model.startswith(SEEING)
    endpoint = Endpoint(
        model=model,
        base_url=base_url,
        sees=sees,
        price=listed_price(model, base_url),
        timeout_s=chosen.openai_timeout,
    )
    return OpenAIProposer(
        endpoint,
        api_key=chosen.openai_api_key.get_secret_value(),
        ledger=means.ledger,
        png=means.shelf.png,
    )


PROPOSERS: dict[Literal["openai", "lexical"], Callable[[Means], Proposer]] = {
    "openai": _openai,
    "lexical": _lexical,
}

"""The proposers a person can choose: the one list of them. Importing it imports no more than it names."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NamedTuple

from tools.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from agent.proposer import Proposer
    from namesae.galleries import Shelf
    from namesae.settings import Settings
    from tools.ledger import Ledger
    from tools.protocols import GeneratorCard


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


def _lexical(means: Means) -> Proposer:
    from agent.lexical import LexicalProposer
    from agent.lexicon import lexicon_for

    return LexicalProposer(lexicon_for(means.card, means.lexicon))


PROPOSERS: dict[str, Callable[[Means], Proposer]] = {"openai": _openai, "lexical": _lexical}

if TYPE_CHECKING:
    ProposerName = str
else:
    # What the command line offers and the settings accept.
    ProposerName = Literal[tuple(PROPOSERS)]

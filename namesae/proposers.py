"""The proposers a person can choose: the one list of them. Importing it imports no more than it names."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NamedTuple

from tools.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from agent.llm import Endpoint
    from agent.prices import Price
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
    if means.settings.replay is not None:
        return _replayed(means.settings, means.settings.replay)
    return PROPOSERS[means.settings.proposer_kind](means)


def endpoint_of(chosen: Settings) -> Endpoint:
    """The LLM endpoint that the settings name."""
    from agent.llm import Endpoint
    from agent.prices import listed_price, takes_images

    model, base_url, own = chosen.openai_model, chosen.openai_base_url, own_price(chosen)
    return Endpoint(
        model=model,
        base_url=base_url,
        sees=takes_images(model) if chosen.openai_sees is None else chosen.openai_sees,
        price=listed_price(model, base_url) if own is None else own,
        timeout_s=chosen.openai_timeout,
        image_side=chosen.openai_image_side,
        streams=chosen.openai_stream,
    )


def own_price(chosen: Settings) -> Price | None:
    """The price that the person set; None where they set none. UsageError for half of one."""
    from agent.prices import Price

    told = (chosen.openai_price_prompt, chosen.openai_price_completion)
    if told == (None, None):
        return None
    if None in told:
        raise UsageError(
            "A price needs both openai_price_prompt and openai_price_completion; set the other one too, to 0 "
            "for a server of your own."
        )
    return Price.model_validate({"prompt": told[0], "completion": told[1]})


def _openai(means: Means) -> Proposer:
    from agent.llm import Chat
    from agent.llm_ways import WayMemory
    from agent.openai_proposer import OpenAIProposer

    chosen = means.settings
    if chosen.openai_api_key is None:
        raise UsageError(
            "Proposer openai needs a key and OPENAI_API_KEY is not set; set it, or choose --proposer lexical."
        )
    chat = Chat(
        endpoint_of(chosen),
        api_key=chosen.openai_api_key.get_secret_value(),
        png=means.shelf.png,
        memory=WayMemory(means.ledger.client),
    )
    return OpenAIProposer(chat, ledger=means.ledger)


def _replayed(chosen: Settings, path: Path) -> Proposer:
    """The proposer that a recorded conversation answers; UsageError where it is not this run's."""
    from agent.openai_proposer import OpenAIProposer
    from agent.replay import ReplayChat, read_conversation

    if chosen.proposer not in (None, "openai"):
        raise UsageError(f"Proposer {chosen.proposer} holds no conversation; leave it out to replay {path}.")
    conversation = read_conversation(path)
    then = conversation.heading.settings
    pairs = (
        ("--seed", then.seed, chosen.seed),
        ("--max-images", then.limits.images, chosen.max_images),
    )
    for flag, recorded, now in pairs:
        if recorded != now:
            raise UsageError(
                f"{path} was recorded with {flag} {recorded}, not {now}; pass {flag} {recorded}."
            )
    return OpenAIProposer(ReplayChat(conversation, source=path))


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

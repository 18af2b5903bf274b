"""Whether the generator shows what it was asked for, as a witness sees it; for runs that found no name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from agent.recording import figures_of
from agent.records import Sighting
from agent.state import Judgement, NamingState, RaceRecord
from agent.toolbox import Toolbox
from agent.verdict import decide
from tools.cards import unknown_words, words_of
from tools.protocols import Floats, GeneratorCard, Witness
from tools.witness import SHOWS_NOTHING, Presence, shows

UNSURE = ("unexplained", "dense", "weak", "unrenderable")
"""Verdicts that a look may explain or change."""
EXEMPLARS = 24
"""Strongest probe images that are looked at."""
UPPER_HALF = 0.5
"""Quantile of the non-zero activations below which no exemplar is looked at."""
KEPT = 16
"""Sightings that are recorded: those of which the exemplars show most."""


class Asked(NamedTuple):
    """A text, and the images of all prompts that hold its words."""

    text: str
    images: tuple[str, ...] = ()
    refused: bool = False
    """Whether the generator does not know it."""


def look(state: NamingState, toolbox: Toolbox) -> tuple[Sighting, ...]:
    """What the witness sees of the texts the generator was asked for; () without one, or with a sure name."""
    if toolbox.witness is None or decide(figures_of(state)).verdict not in UNSURE:
        return ()
    asked = asked_of(state, toolbox.draw.card)
    index = state["feature"].index
    exemplars = toolbox.exemplars(index, count=EXEMPLARS, low=UPPER_HALF) if asked else []
    if not exemplars:
        return ()
    images = [each.image for each in exemplars]
    return sightings(toolbox.witness, asked, exemplars=images, control=toolbox.control.images)


def sightings(
    witness: Witness, asked: Sequence[Asked], *, exemplars: Sequence[str], control: Sequence[str]
) -> tuple[Sighting, ...]:
    """A sighting of each text, those that the exemplars show most first; at most KEPT.

    Texts that the witness cannot tell apart on exemplars and control set, such as a plural, are one.
    """
    texts = [each.text for each in asked]
    drawn = list(dict.fromkeys(image for each in asked for image in each.images))
    row = {image: at for at, image in enumerate(drawn)}
    in_drawn, in_exemplars, in_control = (witness(part, texts) for part in (drawn, exemplars, control))
    alike: dict[bytes, list[int]] = {}
    for at in range(len(asked)):
        alike.setdefault(in_exemplars[:, at].tobytes() + in_control[:, at].tobytes(), []).append(at)
    found = [
        Sighting(
            text=asked[first].text,
            exemplars=shows(in_exemplars[:, first], in_control[:, first]),
            drawn=_shown(
                in_drawn[sorted({row[image] for at in (first, *rest) for image in asked[at].images}), first],
                in_control[:, first],
            ),
            refused=all(asked[at].refused for at in (first, *rest)),
        )
        for first, *rest in alike.values()
    ]
    return tuple(sorted(found, key=lambda each: -each.exemplars.auroc)[:KEPT])


def asked_of(state: NamingState, card: GeneratorCard) -> tuple[Asked, ...]:
    """Every word the generator was asked for, every prompt of several, and every word it refused."""
    images: dict[str, list[str]] = {}
    for prompt, image in _drawn(state):
        images.setdefault(prompt, [])
        images[prompt] += [] if image is None else [image]
    held = {prompt: _content(prompt) for prompt in images}
    words = dict.fromkeys(word for said in held.values() for word in said)
    phrases = {prompt: said for prompt, said in held.items() if len(said) > 1}
    wanted = {**{word: frozenset((word,)) for word in words}, **phrases}
    asked = [Asked(text, _of_all(said, held, images)) for text, said in wanted.items()]
    refused = (word for each in state.get("refused", ()) for word in unknown_words(card, each.prompt))
    return (*asked, *(Asked(word, refused=True) for word in dict.fromkeys(refused) if word not in wanted))


def _drawn(state: NamingState) -> Iterable[tuple[str, str | None]]:
    """Prompt and image of everything that was drawn, the judge's images included: all is over now."""
    for trial in state.get("trials", ()):
        yield from ((trial.proposal.prompt, image) for image in trial.images)
    shots = (*state.get("raced", RaceRecord()).shots, *state.get("judgement", Judgement()).shots)
    yield from ((shot.prompt, shot.image) for shot in shots if shot.charged)


def _content(prompt: str) -> frozenset[str]:
    return frozenset(words_of(prompt)) - SHOWS_NOTHING


def _of_all(
    words: frozenset[str], held: dict[str, frozenset[str]], images: dict[str, list[str]]
) -> tuple[str, ...]:
    found = (image for prompt, said in held.items() if words <= said for image in images[prompt])
    return tuple(dict.fromkeys(found))


def _shown(drawn: Floats, control: Floats) -> Presence | None:
    return shows(drawn, control) if len(drawn) else None

"""From a view to messages: pure functions; the words lie in prompts/*.md, each with its version."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from string import Template
from typing import Literal

from agent.evidence_lines import evidence_of
from agent.evidence_lines import quoted as quoted
from agent.proposer import View
from agent.reward import Scale
from sae.feature import Exemplar, Frozen
from tools.digest import digest

FILES = ("system", "view", "pictures", "repair")
MAX_WORDS = 400
"""Words of a closed vocabulary that are listed."""
MAX_IMAGES = 8
"""Exemplars that are shown to a model that sees."""

Role = Literal["system", "user", "assistant"]


class Message(Frozen):
    """One message; images follow its text and travel as ids until they are sent."""

    role: Role
    text: str
    images: tuple[str, ...] = ()
    caption: str = ""
    """What introduces the images; sent with them or not at all."""

    def told(self, *, blind: bool = False) -> str:
        """The message as a trace keeps it: image ids, no data; ``blind``: as sent without images."""
        if blind or not self.images:
            return self.text
        caption = [self.caption] if self.caption else []
        return "\n".join([self.text, *caption, *(f"image:{image}" for image in self.images)])


@cache
def _file(name: str) -> tuple[int, str]:
    text = files("agent").joinpath("prompts", f"{name}.md").read_text(encoding="utf-8")
    head, _, body = text.partition("\n\n")
    return int(head.removeprefix("version:")), body


def versions() -> dict[str, int]:
    """The version of each prompt file."""
    return {name: _file(name)[0] for name in FILES}


def fingerprint() -> str:
    """Digest of all prompt files."""
    return digest(prompts={name: _file(name)[1] for name in FILES})


def messages(view: View, *, sees: bool) -> tuple[Message, ...]:
    """System and user message for a view; with the exemplars' images when the model ``sees``."""
    shown = tuple(each.image for each in _spread(view)) if sees else ()
    caption = Template(_file("pictures")[1]).substitute(count=len(shown)).strip() if shown else ""
    user = Message(role="user", text=_view(view), images=shown, caption=caption)
    return (Message(role="system", text=_file("system")[1]), user)


def repair(fault: str) -> Message:
    """The one request to answer again."""
    text = Template(_file("repair")[1]).substitute(fault=quoted(fault, limit=400))
    return Message(role="user", text=text)


def _view(view: View) -> str:
    conclude = "Conclude now: no other action will be heard." if view.must_conclude else ""
    return Template(_file("view")[1]).substitute(
        feature=quoted(str(view.feature)),
        density=f"{view.facts.density:.2%}",
        generator=quoted(view.card.generator),
        size=view.card.size,
        draws=quoted(view.card.draws, limit=400),
        vocabulary=_vocabulary(view),
        fires=f"{Scale.of(view.facts).centre:.2f}",
        evidence=evidence_of(view),
        round=view.round + 1,
        images_left=view.images_left,
        per_prompt=view.images_per_prompt,
        race_left=view.race_left,
        instruction=conclude,
    )


def _vocabulary(view: View) -> str:
    words = view.card.vocabulary
    if words is None:
        return "It knows ordinary English."
    more = f" and {len(words) - MAX_WORDS} more" if len(words) > MAX_WORDS else ""
    return f"It knows only these words: {', '.join(words[:MAX_WORDS])}{more}."


def _spread(view: View) -> tuple[Exemplar, ...]:
    """Up to MAX_IMAGES exemplars over the whole range of activations, strongest first."""
    ordered = sorted(view.exemplars, key=lambda each: -each.activation)
    step = max(1.0, len(ordered) / MAX_IMAGES)
    return tuple(ordered[int(at * step)] for at in range(min(MAX_IMAGES, len(ordered))))

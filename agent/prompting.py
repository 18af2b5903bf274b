"""From a view to messages: pure functions; the words lie in prompts/*.md, each with its version."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from string import Template
from typing import Literal

from agent.proposer import View
from agent.records import Trial
from agent.reward import Scale, reward
from sae.feature import Exemplar, Frozen
from tools.digest import digest
from tools.protocols import Reading

FILES = ("system", "view", "pictures", "repair")
MAX_QUOTED = 200
"""Characters of any text that is quoted in a message."""
MAX_WORDS = 400
"""Words of a closed vocabulary that are listed."""
MAX_IMAGES = 8
"""Exemplars that are shown to a model that sees."""
MAX_TRIALS = 60
MAX_REFUSED = 12
MAX_READINGS = 12

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


def quoted(text: str, *, limit: int = MAX_QUOTED) -> str:
    """Foreign text as one JSON string that cannot end the data block it stands in."""
    safe = json.dumps(text[:limit], ensure_ascii=True)
    return safe.replace("<", "\\u003c").replace(">", "\\u003e")


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
        evidence="\n\n".join(part for part in _evidence(view) if part),
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


def _evidence(view: View) -> Iterable[str]:
    facts = view.facts
    yield _listed("Words seen more in its exemplars than elsewhere (lift):", facts.tags)
    yield _listed("Words nearest its direction (cosine):", facts.vocabulary)
    readings = [(_reading(each), each.f1) for each in facts.readings[:MAX_READINGS]]
    yield _listed(
        "Words that tell on which probe pictures it fires, as another model sees them (F1):", readings
    )
    if view.exemplars:
        levels = ", ".join(f"{each.activation / facts.p99:.2f}" for each in view.exemplars)
        yield f"Activations of its exemplars: {levels}."
    hints = [(hint.prompt, hint.activation / facts.p99) for hint in view.hints]
    yield _listed("Prompts of earlier runs that fired it (mean activation):", hints)
    yield _trials(view)
    refused = [f"- {quoted(each.prompt)}: {quoted(each.why)}" for each in view.refused[-MAX_REFUSED:]]
    yield "\n".join(["Refused, not drawn:", *refused]) if refused else ""


def _reading(reading: Reading) -> str:
    joint = {"and": " and ", "or": " or "}.get(reading.kind, ", ")
    words = joint.join(reading.words)
    return f"not {words}" if reading.kind == "not" else words


def _listed(title: str, rows: Iterable[tuple[str, float]]) -> str:
    lines = [f"- {quoted(text)} {strength:.2f}" for text, strength in rows]
    return "\n".join([title, *lines]) if lines else ""


def _trials(view: View) -> str:
    if not view.trials:
        return "Nothing has been drawn yet."
    scale = Scale.of(view.facts)
    ranked = sorted(view.trials, key=lambda trial: -(_mean(trial) or 0.0))
    lines = [_trial(trial, scale) for trial in ranked[:MAX_TRIALS]]
    return "\n".join(["Drawn so far, strongest first (mean activation, images that fired):", *lines])


def _trial(trial: Trial, scale: Scale) -> str:
    usable = [each for each in trial.activations if each is not None]
    if not usable:
        return f"- nothing usable: {quoted(trial.proposal.prompt)} ({trial.proposal.intent})"
    fired = sum(reward(each, scale) >= 0.5 for each in usable)
    mean = sum(usable) / len(usable) / scale.p99
    return (
        f"- {mean:.2f}, {fired} of {len(usable)}: {quoted(trial.proposal.prompt)} ({trial.proposal.intent})"
    )


def _mean(trial: Trial) -> float | None:
    usable = [each for each in trial.activations if each is not None]
    return sum(usable) / len(usable) if usable else None


def _spread(view: View) -> tuple[Exemplar, ...]:
    """Up to MAX_IMAGES exemplars over the whole range of activations, strongest first."""
    ordered = sorted(view.exemplars, key=lambda each: -each.activation)
    step = max(1.0, len(ordered) / MAX_IMAGES)
    return tuple(ordered[int(at * step)] for at in range(min(MAX_IMAGES, len(ordered))))

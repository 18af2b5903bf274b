"""What the policy server understands of the messages an LLM is sent: the rendered text, read back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Literal, NamedTuple

from agent.budget import Refusal
from agent.proposer import Hint, View
from agent.records import Proposal, Trial
from sae.feature import Feature
from tools.protocols import FeatureFacts, GeneratorCard, Reading

Blank = Literal["", "scores", "failures"]
_TEXT = r'"(?:[^"\\]|\\.)*"'
_MEASURED = re.compile(
    rf"^- (?:nothing usable|score (\S+), mean (\S+), (\S+) of (\d+) fired): ({_TEXT})(.*)$"
)
_LISTED = re.compile(rf"^- ({_TEXT}) (-?[\d.]+)$")
_REFUSED = re.compile(rf"^- ({_TEXT}): ({_TEXT})$")
_HYPOTHESIS = re.compile(rf"^- (open|supported|refuted): ({_TEXT}) ")
_TITLES = {
    "Words seen more": "tags",
    "Words nearest": "vocabulary",
    "Words that tell": "readings",
    "Known of earlier": "known",
    "Drawn, and fired": "drawn",
    "Drawn, and did not": "drawn",
    "Hypotheses, each": "hypotheses",
    "Refused, not": "refused",
}


class Measured(NamedTuple):
    """A prompt and what its pictures did."""

    prompt: str
    images: int
    fired: int | None
    """None where it is blanked, or nothing was usable."""
    mean: float | None
    """Activation in units of the p99."""


class Understanding(NamedTuple):
    """Everything a message says that the policy uses."""

    view: View
    refuted: tuple[str, ...]
    """Hypotheses that the message calls refuted."""


def blanked(text: str, blank: Blank) -> str:
    """A message without a part of its evidence: its scores as '-', or nothing of what did not fire."""
    lines = text.split("\n")
    if blank == "scores":
        lines = [re.sub(r"^- score \S+, mean \S+, \S+ of", "- score -, mean -, - of", line) for line in lines]
        lines = [re.sub(r"^- (supported|refuted|open): (.*) \(should.*$", r"- open: \2 (-)", line)
                 for line in lines]  # fmt: skip
        lines = [re.sub(r"^- [+-]\d+\.\d+ over", "- - over", line) for line in lines]
    if blank == "failures":
        lines = [line for line in lines if not re.match(r"^- (nothing usable|score .*, 0 of|refuted)", line)]
        lines = [line for line in lines if not _REFUSED.match(line)]
    return "\n".join(lines)


def read_message(text: str) -> Understanding:
    """The view behind a message, as far as the message tells it; activations in units of the p99."""
    parts = _parts(text)
    centre = _number(r"from ([\d.]+) up it counts as firing", text)
    view = View(
        feature=_feature(text),
        facts=_facts(text, parts, centre),
        hints=tuple(_hints(_measured(parts["known"]))),
        trials=tuple(map(_trial, _measured(parts["drawn"]))),
        refused=tuple(_refusals(parts["refused"])),
        card=_card(text),
        round=int(_number(r"^Round (\d+)\.", text)) - 1,
        images_per_prompt=int(_number(r"pictures, (\d+) for each prompt", text)),
        images_left=int(_number(r"may still draw (\d+) pictures", text)),
        race_left=int(_number(r"race of the names has\s+(\d+)", text)),
        must_conclude="Conclude now" in text,
    )
    found = [match for line in parts["hypotheses"] if (match := _HYPOTHESIS.match(line))]
    return Understanding(view, tuple(json.loads(each[2]) for each in found if each[1] == "refuted"))


def _parts(text: str) -> dict[str, list[str]]:
    parts: dict[str, list[str]] = {name: [] for name in _TITLES.values()}
    here: list[str] = []
    for line in text.partition("<data>")[2].partition("</data>")[0].split("\n"):
        title = next((name for start, name in _TITLES.items() if line.startswith(start)), None)
        if title is not None:
            here = parts[title]
        elif line.startswith("- "):
            here.append(line)
        elif line:
            here = []
    return parts


def _number(pattern: str, text: str) -> float:
    found = re.search(pattern, text, re.MULTILINE)
    if found is None:
        raise ValueError(f"The message does not say {pattern!r}.")
    return float(found[1])


def _feature(text: str) -> Feature:
    found = re.search(rf"^Feature ({_TEXT})\.", text, re.MULTILINE)
    dictionary, _, index = json.loads(found[1]).rpartition("#") if found else ("", "", "0")
    return Feature(dictionary=dictionary, index=int(index))


def _facts(text: str, parts: dict[str, list[str]], centre: float) -> FeatureFacts:
    return FeatureFacts(
        density=_number(r"active on ([\d.]+)%", text) / 100,
        threshold=0.5,
        p99=1.0,
        tags=tuple(_listed(parts["tags"])),
        vocabulary=tuple(_listed(parts["vocabulary"])),
        readings=tuple(_reading(words, f1, centre) for words, f1 in _listed(parts["readings"])),
    )


def _listed(lines: Iterable[str]) -> Iterable[tuple[str, float]]:
    for line in lines:
        if match := _LISTED.match(line):
            yield json.loads(match[1]), float(match[2])


def _reading(text: str, f1: float, centre: float) -> Reading:
    if text.startswith("not "):
        return Reading(kind="not", words=(text.removeprefix("not "),), f1=f1, cut=centre)
    if " and " in text:
        return Reading(kind="and", words=tuple(text.split(" and ")), f1=f1, cut=centre)
    if " or " in text:
        return Reading(kind="or", words=tuple(text.split(" or ")), f1=f1, cut=centre)
    return Reading(kind="one", words=(text,), f1=f1, cut=centre)


def _measured(lines: Iterable[str]) -> Iterable[Measured]:
    for line in lines:
        if match := _MEASURED.match(line):
            _, mean, fired, images, prompt, _ = match.groups()
            told = fired not in (None, "-")
            yield Measured(
                prompt=json.loads(prompt),
                images=int(images or 0),
                fired=int(fired) if told else None,
                mean=float(mean) if told else None,
            )


def _levels(each: Measured) -> tuple[float, ...]:
    """An activation for each picture, such that as many fire and their mean is as told."""
    if each.fired is None or each.mean is None or not each.images:
        return ()
    if each.fired in (0, each.images):
        return (each.mean,) * each.images
    loud = each.mean * each.images / each.fired
    return (loud,) * each.fired + (0.0,) * (each.images - each.fired)


def _trial(each: Measured) -> Trial:
    levels: tuple[float | None, ...] = _levels(each) or (None,) * each.images
    seeds = tuple(range(len(levels)))
    proposal = Proposal(prompt=each.prompt, intent="explore")
    return Trial(proposal=proposal, images=(None,) * len(levels), seeds=seeds, activations=levels)


def _hints(known: Iterable[Measured]) -> Iterable[Hint]:
    for each in known:
        levels = _levels(each)
        if levels:
            on = tuple(level for level in levels if level > 0)
            yield Hint(prompt=each.prompt, activation=each.mean or 0.0, images=each.images, fired=on)


def _refusals(lines: Iterable[str]) -> Iterable[Refusal]:
    for line in lines:
        if match := _REFUSED.match(line):
            yield Refusal(prompt=json.loads(match[1]), why=json.loads(match[2]))


def _card(text: str) -> GeneratorCard:
    found = re.search(
        rf"^The picture generator \(({_TEXT}), (\d+) x \d+ pixels\): ({_TEXT})$", text, re.MULTILINE
    )
    closed = re.search(r"^It knows only these words: (.*?)(?: and \d+ more)?\.$", text, re.MULTILINE)
    return GeneratorCard(
        generator=json.loads(found[1]) if found else "",
        draws=json.loads(found[3]) if found else "",
        size=int(found[2]) if found else 64,
        vocabulary=tuple(closed[1].split(", ")) if closed else None,
    )

"""What the spans of a run say: numbers always, words of prompts and messages where they are asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from agent.events import Event, Happening
    from agent.proposer import LlmCall

Attribute = str | bool | int | float
Attributes = Mapping[str, Attribute]
MOST = 32_000
"""Characters of one attribute."""
IMAGE = "image:"
"""What stands for a picture in recorded messages, before its sha256."""


class Redactor(NamedTuple):
    """What may be said."""

    captures: bool
    """Whether messages and prompts may leave."""
    secrets: tuple[str, ...] = ()

    def text(self, told: str) -> str:
        """The text without secrets, and not endless."""
        for secret in self.secrets:
            told = told.replace(secret, "[secret]")
        return told[:MOST]

    def json(self, told: Any) -> str:
        """The same as JSON, which stays JSON: texts are cut, not what holds them."""
        return json.dumps(self._cut(told), ensure_ascii=False)

    def _cut(self, told: Any) -> Any:
        if isinstance(told, str):
            return self.text(told)
        if isinstance(told, Mapping):
            return {name: self._cut(each) for name, each in told.items()}
        if isinstance(told, list | tuple):
            return [self._cut(each) for each in told]
        return told


def root_attributes(event: Event, redactor: Redactor) -> Attributes:
    """Of the agent's span, from the events that begin and end a run."""
    what = event.what
    if what.kind == "started":
        told: dict[str, Attribute] = {"namesae.feature": what.feature, "namesae.proposer": what.proposer}
        told |= {"namesae.resumed": what.resumed, "namesae.limit.images": what.images}
        return {**told, **_speaker(what.proposer)}
    if what.kind == "questioned":
        told = {"namesae.feature": what.feature, "namesae.resumed": what.resumed}
        told |= {"gen_ai.provider.name": "openai", "gen_ai.request.model": what.model}
        return told | _said("gen_ai.input.messages", "user", what.question, redactor)
    if what.kind == "forked":
        return {"namesae.forked_from": what.origin.run, "namesae.forked_at": what.origin.step}
    if what.kind == "ended":
        named = {} if what.name is None else {"namesae.name": redactor.text(what.name)}
        return {"namesae.verdict": what.verdict, "namesae.confidence": what.confidence, **named}
    if what.kind == "answered":
        failed = {"error.type": what.answer.code} if what.answer.code else {}
        said = _said("gen_ai.output.messages", "assistant", what.answer.text or "", redactor)
        return {**failed, **said}
    return {}


def tool_name(event: Event) -> str:
    """The node that did it; of a conversation the tool that the LLM called."""
    return event.what.tool if event.what.kind == "tool_called" else event.node


def tool_attributes(event: Event, redactor: Redactor) -> Attributes:
    """Of a step's span."""
    read = _FIGURES.get(event.what.kind)
    figures = {} if read is None else read(event.what)
    told = {name: each for name, each in figures.items() if each is not None}
    if redactor.captures:
        told["gen_ai.tool.call.result"] = redactor.json(event.what.model_dump(mode="json"))
    return {"namesae.round": event.round, **told}


def chat_attributes(call: LlmCall, redactor: Redactor) -> Attributes:
    """Of one exchange. What the ledger answered cost nothing now, and says no tokens."""
    told: dict[str, Attribute] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": call.model,
        "gen_ai.response.model": call.model,
        "gen_ai.output.type": "text" if call.mode == "prompt" else "json",
    }
    if call.recorded:
        told["namesae.recorded"] = True
    else:
        told |= _usage(call)
    if call.fault is not None:
        told["error.type"] = "unusable_reply"
    return told | (_messages(call, redactor) if redactor.captures else {})


def _speaker(proposer: str) -> Attributes:
    kind, _, model = proposer.partition(":")
    return {"gen_ai.provider.name": kind, "gen_ai.request.model": model} if model else {}


def _usage(call: LlmCall) -> dict[str, Attribute]:
    usage = call.usage
    told = {
        "gen_ai.usage.input_tokens": usage.prompt_tokens,
        "gen_ai.usage.output_tokens": usage.completion_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens or None,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens or None,
        "namesae.usd": usage.usd,
    }
    return {name: each for name, each in told.items() if each is not None}


def _messages(call: LlmCall, redactor: Redactor) -> dict[str, Attribute]:
    system = [part for role, text in call.messages if role == "system" for part in _parts(text)]
    others = [
        {"role": role, "parts": _parts(text)} for role, text in call.messages if role not in ("system",)
    ]
    answer = {
        "role": "assistant",
        "parts": [{"type": "text", "content": call.reply}],
        "finish_reason": "error" if call.fault else "stop",
    }
    return {
        "gen_ai.system_instructions": redactor.json(system),
        "gen_ai.input.messages": redactor.json(others),
        "gen_ai.output.messages": redactor.json([answer]),
    }


def _parts(text: str) -> list[dict[str, str]]:
    """Text, and pictures by their hash: never as data."""
    lines = text.split("\n")
    first = next((at for at in range(len(lines), 0, -1) if not lines[at - 1].startswith(IMAGE)), 0)
    said, pictures = "\n".join(lines[:first]), lines[first:]
    parts = [{"type": "text", "content": said}] if said else []
    for line in pictures:
        where = f"namesae://image/{line.removeprefix(IMAGE)}"
        parts.append({"type": "uri", "modality": "image", "mime_type": "image/png", "uri": where})
    return parts


def _said(name: str, role: str, text: str, redactor: Redactor) -> dict[str, Attribute]:
    if not (redactor.captures and text):
        return {}
    return {name: redactor.json([{"role": role, "parts": [{"type": "text", "content": text}]}])}


_Figures = Mapping[str, Attribute | None]


def _observed(what: Happening) -> _Figures:
    assert what.kind == "observed"
    return {
        "namesae.density": what.facts.density,
        "namesae.exemplars": what.exemplars,
        "namesae.hints": what.hints,
    }


def _planned(what: Happening) -> _Figures:
    assert what.kind == "planned"
    return {
        "namesae.plan": what.plan,
        "namesae.prompts.granted": len(what.granted),
        "namesae.prompts.refused": len(what.refused),
    }


def _scored(what: Happening) -> _Figures:
    assert what.kind == "scored"
    drawn = sum(image is not None for trial in what.trials for image in trial.images)
    return {
        "gen_ai.tool.description": "Draw the granted prompts, and score the pictures",
        "namesae.prompts.tried": len(what.trials),
        "namesae.images": drawn,
        "namesae.images.search": what.search,
    }


def _raced(what: Happening) -> _Figures:
    assert what.kind == "raced"
    return {
        "namesae.rivals": len(what.rivals),
        "namesae.decided": what.decided,
        "namesae.images.search": what.search,
    }


def _judged(what: Happening) -> _Figures:
    assert what.kind == "judged"
    sealed = what.sealed
    if sealed is None:
        return {}
    return {
        "gen_ai.evaluation.name": "cosy_auroc",
        "gen_ai.evaluation.score.value": sealed.auroc,
        "namesae.images.sealed": sealed.n_generated,
        "namesae.activation_rate": sealed.activation_rate,
        "namesae.floor": what.floor,
    }


def _ruled(what: Happening) -> _Figures:
    assert what.kind == "reviewed"
    return {"namesae.ruling": what.ruling.action}


def _called(what: Happening) -> _Figures:
    assert what.kind == "tool_called"
    return {
        "namesae.figures": len(what.figures),
        "namesae.images": len(what.pictures),
        "namesae.refused": what.refused is not None,
    }


_FIGURES = {
    "observed": _observed,
    "planned": _planned,
    "scored": _scored,
    "raced": _raced,
    "judged": _judged,
    "reviewed": _ruled,
    "tool_called": _called,
}

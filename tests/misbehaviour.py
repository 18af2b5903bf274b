"""One way for an endpoint to misbehave, how it ends, and the replies that such ways are made of."""

from __future__ import annotations

import json
from typing import Any, Literal, NamedTuple

from tests.fake_openai_server import Body, completion, plan, stream_of
from tests.rough_endpoint import Wire, http

ASKED: Body = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
GOOD = plan("draw", prompts=["a fish"])
Ends = Literal["repaired", "refused", "taken"]
"""repaired: a fault, then a plan; refused: one typed sentence at once; taken: a plan without a fault."""


class Case(NamedTuple):
    """What an endpoint does, and how that ends."""

    script: tuple[Wire, ...]
    ends: Ends = "repaired"
    streams: bool = False
    says: str = ""
    """Part of the fault or of the sentence."""
    requests: int | None = None
    retries: int = 0
    timeout_s: float = 20.0


def whole(told: Any) -> Wire:
    return http(json.dumps(told))


def said(text: Any, **message: Any) -> Wire:
    """A chat completion whose content is ``text``."""
    told = completion(ASKED, text if isinstance(text, str) else "")
    told["choices"][0]["message"] |= {"content": text, **message}
    return whole(told)


def answer(told: Any) -> Wire:
    """A chat completion whose content is ``told`` as JSON."""
    return said(json.dumps(told))


def spoilt(**changes: Any) -> Wire:
    """A good chat completion with other top-level fields."""
    return whole({**completion(ASKED, json.dumps(GOOD)), **changes})


def choice(**changes: Any) -> Wire:
    made = completion(ASKED, json.dumps(GOOD))
    made["choices"][0] |= changes
    return whole(made)


def draws(prompt: Any = "a fish", **changes: Any) -> Wire:
    """A plan with one prompt, whose parts are changed."""
    each = {"prompt": prompt, "intent": "explore", "why": "", **changes}
    return answer({**GOOD, "prompts": [each]})


def names(*given: Body) -> Wire:
    return answer(plan("conclude", names=list(given)))


def bad(number: int, **headers: str) -> Wire:
    reason = json.dumps({"error": {"message": "as told", "type": "t"}})
    return http(reason, status=f"{number} Bad", **headers)


def lines_of(text: str) -> list[str]:
    return stream_of(completion(ASKED, text))


PLAIN = lines_of(json.dumps(GOOD))
TOLD = json.dumps(completion(ASKED, json.dumps(GOOD)))

NO_MODE = (400, 404, 415, 422, 501)

"""What an LLM answers: one flat JSON object, checked, then turned into a typed plan."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, Field, ValidationError

from agent.hypotheses import HypothesisState
from agent.plans import (
    MAX_CANDIDATES,
    MAX_NAME,
    MAX_PROMPT,
    Candidate,
    CandidateKind,
    ConcludePlan,
    ContradictPlan,
    DrawPlan,
    PairPlan,
    Plan,
    ShowPlan,
)
from agent.records import Expectation, Intent, Proposal
from sae.feature import Frozen

MAX_PROMPTS = 12
MAX_PREDICTIONS = 4
HYPOTHESES = (2, 6)
"""Hypotheses a reply that tests some holds at least and at most."""
MAX_CLAIM = 200


class BadReplyError(ValueError):
    """A reply that is no plan; the message goes back to the LLM."""


def _plain(text: str) -> str:
    """One line of ordinary characters: what is drawn, stored and shown must hide nothing."""
    line = " ".join(text.split())
    if not line.isprintable() or any("\ud800" <= each <= "\udfff" for each in line):
        raise ValueError("it holds characters that cannot be printed")
    return line


def _words(text: str) -> str:
    line = _plain(text)
    if not line:
        raise ValueError("it is empty")
    return line


Line = Annotated[str, AfterValidator(_plain)]
Words = Annotated[str, AfterValidator(_words)]
"""A line that is not blank."""


class HypothesisReply(Frozen):
    """One hypothesis, and where its author takes it to stand."""

    claim: Words = Field(max_length=MAX_CLAIM)
    state: HypothesisState
    control: bool
    """Whether it is the alternative that would make the others wrong."""


class PromptReply(Frozen):
    """One prompt to draw. What has a default may be missing from a reply, never from the schema."""

    prompt: Words = Field(max_length=MAX_PROMPT)
    intent: Intent
    why: Line = Field(max_length=400)
    claim: Line = Field(default="", max_length=MAX_CLAIM)
    expects: Expectation = "either"


class NameReply(Frozen):
    """One name to race."""

    name: Words = Field(max_length=MAX_NAME)
    kind: CandidateKind
    parts: list[Annotated[Words, Field(max_length=MAX_NAME)]] = Field(max_length=12)
    level: int = Field(ge=0, le=9)
    fires: list[Annotated[Words, Field(max_length=MAX_PROMPT)]] = Field(max_length=8)
    rests: list[Annotated[Words, Field(max_length=MAX_PROMPT)]] = Field(max_length=8)


class PlanReply(Frozen):
    """The whole answer; every key is required by the schema, whatever the action."""

    thought: str = Field(max_length=4000)
    hypotheses: list[HypothesisReply] = Field(default=[], max_length=HYPOTHESES[1])
    action: Literal["draw", "test", "contradict", "show", "conclude"]
    claim: Line = Field(max_length=400)
    prompts: list[PromptReply] = Field(max_length=MAX_PROMPTS)
    low: float = Field(ge=0.0, le=1.0)
    high: float = Field(ge=0.0, le=1.0)
    names: list[NameReply] = Field(max_length=MAX_CANDIDATES)


class Understood(NamedTuple):
    """What a reply asks for, and what its author holds of the feature."""

    plan: Plan
    beliefs: dict[str, HypothesisState]
    """Claim to the state its author gives it, in order; what is measured decides, not this."""


def reply_schema() -> dict[str, Any]:
    """The answer's JSON schema in the subset that strict endpoints accept: no lengths, no references."""
    schema = PlanReply.model_json_schema()
    definitions = schema.pop("$defs")
    return _strict(schema, definitions)


def plan_of(text: str) -> Plan:
    """The plan in a reply, which may stand in prose or a code fence. BadReplyError says what is wrong."""
    return understood(text).plan


def understood(text: str) -> Understood:
    """The same with the hypotheses of the reply."""
    try:
        reply = PlanReply.model_validate(extract_object(text))
    except ValidationError as error:
        raise BadReplyError(_first_fault(error)) from None
    return Understood(_PLANS[reply.action](reply), _beliefs(reply))


def extract_object(text: str) -> Any:
    """The first whole JSON object of a text. BadReplyError when there is none."""
    decoder = json.JSONDecoder(parse_constant=_no_constant)
    at = text.find("{")
    while at >= 0:
        try:
            return decoder.raw_decode(text, at)[0]
        except json.JSONDecodeError:
            at = text.find("{", at + 1) if text.count("{", 0, at) < 20 else -1
        except BadReplyError:
            raise
        except (ValueError, RecursionError):
            # Too deep, or a number of more digits than Python reads.
            break
    raise BadReplyError("there is no whole JSON object in it")


def _no_constant(name: str) -> float:
    raise BadReplyError(f"{name} is not a number that can be used")


def _first_fault(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "the reply"
    return f"{where}: {first['msg']}"


def _beliefs(reply: PlanReply) -> dict[str, HypothesisState]:
    """Replies to recorded conversations may hold none; one alone, or none that contradicts, is no test."""
    told = {each.claim: each.state for each in reply.hypotheses}
    if reply.action in ("show", "conclude") or not told:
        return told
    if len(told) < HYPOTHESES[0]:
        raise BadReplyError(f'"hypotheses" holds {len(told)} instead of {HYPOTHESES[0]} to {HYPOTHESES[1]}')
    if not any(each.control for each in reply.hypotheses):
        raise BadReplyError('none of the "hypotheses" is a control: add the one that would make them wrong')
    return told


def _proposals(reply: PlanReply) -> tuple[Proposal, ...]:
    if not reply.prompts:
        raise BadReplyError(f'the action is "{reply.action}" but "prompts" is empty')
    spelt = {each.claim.casefold(): each.claim for each in reply.hypotheses}
    return tuple(_proposal(each, reply, spelt=spelt) for each in reply.prompts)


def _proposal(each: PromptReply, reply: PlanReply, *, spelt: Mapping[str, str]) -> Proposal:
    """``spelt``: the hypotheses as they were listed, by their folded text."""
    claim = each.claim or reply.claim
    silent = reply.action == "contradict" and each.expects == "either" and bool(claim)
    return Proposal(
        prompt=each.prompt,
        intent=each.intent,
        rationale=each.why,
        claim=spelt.get(claim.casefold(), claim),
        expects="rests" if silent else each.expects,
    )


def _draw(reply: PlanReply) -> Plan:
    return DrawPlan(proposals=_proposals(reply))


def _contradict(reply: PlanReply) -> Plan:
    return ContradictPlan(claim=reply.claim, proposals=_proposals(reply))


def _pair(reply: PlanReply) -> Plan:
    pair = _proposals(reply)
    if len(pair) != 2:
        raise BadReplyError(f'the action is "test" but there are {len(pair)} prompts instead of two')
    return PairPlan(first=pair[0], second=pair[1])


def _show(reply: PlanReply) -> Plan:
    if reply.low >= reply.high:
        raise BadReplyError(f'the action is "show" but "low" {reply.low} is not below "high" {reply.high}')
    return ShowPlan(low=reply.low, high=reply.high)


def _conclude(reply: PlanReply) -> Plan:
    if not reply.names:
        raise BadReplyError('the action is "conclude" but "names" is empty')
    return ConcludePlan(
        candidates=tuple(_candidate(name) for name in reply.names), reason=reply.thought[:400]
    )


def _candidate(name: NameReply) -> Candidate:
    """A name is drawn as itself; only an OR or NOT is drawn through its parts. So no prompt can flatter
    it."""
    if name.kind in ("or", "not") and len(name.parts) < (2 if name.kind == "or" else 1):
        raise BadReplyError(f'the name "{name.name}" is of kind "{name.kind}" but has too few parts')
    return Candidate(
        name=" or ".join(name.parts)[:MAX_NAME] if name.kind == "or" else name.name,
        kind=name.kind,
        parts=tuple(name.parts) if name.kind in ("and", "or") else (),
        prompts=tuple(name.parts) if name.kind in ("or", "not") else (name.name,),
        against=_excluded(name),
        fires=tuple(name.fires[:MAX_PREDICTIONS]),
        rests=tuple(name.rests[:MAX_PREDICTIONS]),
        level=name.level,
    )


def _excluded(name: NameReply) -> tuple[str, ...]:
    """What a NOT excludes, as its name says it."""
    first, _, rest = name.name.partition(" ")
    return (rest,) if name.kind == "not" and first.casefold() == "not" and rest else ()


_PLANS: dict[str, Callable[[PlanReply], Plan]] = {
    "draw": _draw,
    "test": _pair,
    "contradict": _contradict,
    "show": _show,
    "conclude": _conclude,
}
_KEPT = frozenset({"type", "properties", "items", "enum", "anyOf"})


def _strict(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        return _strict(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    kept = {key: value for key, value in schema.items() if key in _KEPT}
    if "properties" in kept:
        kept["properties"] = {key: _strict(value, definitions) for key, value in kept["properties"].items()}
        kept |= {"required": list(kept["properties"]), "additionalProperties": False}
    if "items" in kept:
        kept["items"] = _strict(kept["items"], definitions)
    return kept

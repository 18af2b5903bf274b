"""The steps of a conversation about a feature, as plain functions: state and desk in, what changed out.

A node may run twice (a crash between its work and its checkpoint): replies, pictures and scores are
recorded, ids are given in order, so a repetition costs nothing and changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from agent import ask_words
from agent.ask_answer import BadAnswerError, Checked, answer_schema, check_answer
from agent.ask_events import Answered
from agent.ask_records import AskAnswer, Call, Said
from agent.ask_state import AskDesk, AskState
from agent.ask_telling import called, cited_in, exchange, tell
from agent.events import Asked
from agent.feature_tools import TOOLS, FeatureKit, RefusedCall, call_tool
from agent.llm import ToolReply
from agent.tool_catalogue import Catalogue
from agent.tool_purse import Purse
from agent.tool_results import Picture, Refused, told
from sae.feature import Frozen

ANSWER = "answer"
GIVEN = '{"given": true}'
SLIPS = 1
"""Replies that are neither a call nor an answer and are let pass, a question."""
REPAIRS = 1
"""Times an answer is sent back, a question."""
MAX_SHOWN = 8
"""Pictures that an LLM that sees is sent after one turn of tools."""


def think(state: AskState, desk: AskDesk) -> AskState:
    """One turn of the LLM: tools to call, an answer, or something that cannot be used."""
    purse, said = Purse(state["limits"], state["spent"]), tuple(state["said"])
    out = purse.spent_out()
    if out is not None:
        # An answer that was sent back keeps its own reason.
        if state["repairs"]:
            return {}
        why = f"The limit of {ask_words.LIMITS[out]} was reached before an answer"
        return {"code": f"limit_{out}", "why": why}
    due = state.get("due") or purse.answer_due()
    if due is not None and state.get("due") is None:
        said = (*said, Said(role="user", text=ask_words.answer_now(due)))
    heard = desk.speaker.turn(_system(state, desk), said, tools=offered(only_answer=due is not None))
    reply = heard.reply
    purse.turn(reply.usage.at("think", seconds=reply.seconds), seconds=reply.seconds)
    asked = exchange(reply, said, desk=desk, again=heard.recorded)
    tell(state, desk, purse, node="think", what=Asked(call=asked))
    calls = _numbered(reply, said)
    changed: AskState = {"due": due, "spent": purse.spent, "calls": calls, "code": None, "why": None}
    if calls:
        return {**changed, "said": (*said, Said(role="assistant", text=reply.text, calls=calls))}
    return {**changed, **_slipped(state, reply, said=said)}


def act(state: AskState, desk: AskDesk) -> AskState:
    """Make the calls that the LLM wants, within the budget."""
    purse = Purse(state["limits"], state["spent"])
    kit = FeatureKit(
        desk.toolbox,
        state["feature"].dictionary,
        purse=purse,
        catalogue=Catalogue(state["pictures"], state["figures"]),
        latest_name=desk.latest_name,
    )
    kit.seed = state["seed"]
    before = desk.toolbox.drawn()
    said, pictures = list(state["said"]), dict[str, Picture]()
    for call in state["calls"]:
        result = _made(call, kit, only_answer=state["due"] is not None)
        if isinstance(result, RefusedCall):
            said.append(_refused(call, str(result)))
        else:
            said.append(Said(role="tool", text=told(result), call=call.id))
            pictures |= {each.id: each for each in cited_in(result, Picture)}
        tell(state, desk, purse, node="act", what=called(call, result, purse=purse))
    if desk.speaker.sees and pictures:
        said.append(_showing(list(pictures.values())[:MAX_SHOWN]))
    return {
        "said": tuple(said),
        "pictures": tuple(kit.catalogue.pictures.values()),
        "figures": tuple(kit.catalogue.figures.values()),
        "spent": purse.spent,
        "drawn": state["drawn"] + desk.toolbox.drawn() - before,
        "calls": (),
    }


def answer(state: AskState, desk: AskDesk) -> AskState:
    """Check the answer; file it, send it back, or file why there is none."""
    call = next((each for each in state["calls"] if each.name == ANSWER), None)
    if call is None:
        return _filed(state, desk, None)
    try:
        checked = check_answer(call.arguments, pictures=state["pictures"], figures=state["figures"])
    except BadAnswerError as error:
        why = f"The answer was sent back: {error}"
        said = _closed(state, told(Refused(refused=why)))
        returned: AskState = {"said": said, "calls": (), "code": error.code, "why": why}
        if state["repairs"] < REPAIRS:
            return {**returned, "repairs": state["repairs"] + 1}
        return {**returned, **_filed({**state, **returned}, desk, None)}
    given: AskState = {"said": _closed(state, GIVEN), "calls": (), "code": None, "why": None}
    return {**given, **_filed(state, desk, checked)}


def after_think(state: AskState) -> str:
    """Answer what is an answer, file what failed, ask again after a slip, else make the calls."""
    if any(each.name == ANSWER for each in state["calls"]):
        return "answer"
    if state["calls"]:
        return "act"
    return "think" if state.get("code") is None else "answer"


def after_answer(state: AskState) -> str:
    """An answer that was sent back is given again."""
    return "end" if state["ended"] else "think"


def offered(*, only_answer: bool) -> list[dict[str, Any]]:
    """The tools as chat.completions takes them."""
    tools = {} if only_answer else TOOLS
    return [
        *(_function(name, tool.does, tool.takes.model_json_schema()) for name, tool in tools.items()),
        _function(ANSWER, "Answer the person's question, citing what shows it.", answer_schema()),
    ]


def _system(state: AskState, desk: AskDesk) -> str:
    card = desk.toolbox.draw.card
    return ask_words.system(state["feature"], card, limits=state["limits"], sees=desk.speaker.sees)


def _function(name: str, does: str, takes: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "description": does, "parameters": takes}}


def _numbered(reply: ToolReply, said: Sequence[Said]) -> tuple[Call, ...]:
    first = 1 + sum(len(each.calls) for each in said)
    return tuple(
        Call(id=f"call-{first + at}", name=each.name, arguments=each.arguments)
        for at, each in enumerate(reply.calls)
    )


def _slipped(state: AskState, reply: ToolReply, *, said: Sequence[Said]) -> AskState:
    """After a reply without a call: a note and another try, then the reason why there is no answer."""
    fault = reply.fault or "it called no tool"
    spoken = [Said(role="assistant", text=reply.text)] if reply.text.strip() else []
    if state["slips"] < SLIPS:
        note = Said(role="user", text=ask_words.nudge(fault))
        return {"said": (*said, *spoken, note), "slips": state["slips"] + 1}
    why = f"The LLM gave {SLIPS + 1} replies that could not be used ({fault})"
    return {"said": (*said, *spoken), "code": "bad_reply" if reply.fault else "no_answer", "why": why}


def _made(call: Call, kit: FeatureKit, *, only_answer: bool) -> Frozen | RefusedCall:
    if only_answer:
        return RefusedCall("Only answer can be called now.")
    try:
        return call_tool(kit, call.name, call.arguments)
    except RefusedCall as refused:
        return refused


def _refused(call: Call, why: str) -> Said:
    return Said(role="tool", text=told(Refused(refused=why)), call=call.id)


def _showing(pictures: Sequence[Picture]) -> Said:
    text = ask_words.shown([each.id for each in pictures])
    return Said(role="user", text=text, pictures=tuple(each.image for each in pictures))


def _closed(state: AskState, text: str) -> tuple[Said, ...]:
    """The transcript with every open call answered: servers reject one that is not."""
    notes = [
        Said(role="tool", text=text, call=call.id)
        if call.name == ANSWER
        else _refused(call, "Not run: an answer came with it.")
        for call in state["calls"]
    ]
    return (*state["said"], *notes)


def _filed(state: AskState, desk: AskDesk, checked: Checked | None) -> AskState:
    spent, code = state["spent"], state.get("code")
    told_now = AskAnswer(
        thread=state["thread"],
        feature=state["feature"],
        question=state["question"],
        text=checked.text if checked else None,
        cites=checked.cites if checked else (),
        unmeasured=checked.unmeasured if checked else (),
        code=None if checked else code or "no_answer",
        why=None if checked else state.get("why"),
        limit=state.get("due"),
        images=spent.images(state["drawn"]),
        cost=spent.cost(),
        model=desk.speaker.model,
        created=datetime.fromtimestamp(desk.toolbox.clock(), UTC).isoformat(timespec="seconds"),
    )
    tell(state, desk, Purse(state["limits"], spent), node="answer", what=Answered(answer=told_now))
    return {"answers": (*state["answers"], told_now), "ended": True}

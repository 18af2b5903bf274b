"""The proposer that asks an LLM: any OpenAI-compatible endpoint. Importing this module imports no openai."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, Protocol, Self

from agent import prompting
from agent.budget import Usage
from agent.hypotheses import believed
from agent.llm import Endpoint, Hear, Reply
from agent.plan_reply import BadReplyError, Understood, reply_schema, understood
from agent.prompting import Message
from agent.proposer import LlmCall, Turn, View
from agent.reward import Scale
from agent.streaming import Voice, hushed
from tools.digest import digest
from tools.errors import DependencyError

TRIES = 2
"""The answer, and one repair."""
MAX_TOLD = 20_000
"""Characters of one message that a trace keeps."""
MAX_REPLY = 100_000
"""Characters of a reply that are looked at, and that a trace keeps: what decided can be replayed."""
NODE = "propose"
"""What its calls are accounted to."""


class Speaks(Protocol):
    """One LLM (agent.llm.Chat, agent.replay.ReplayChat)."""

    @property
    def endpoint(self) -> Endpoint: ...
    @property
    def name(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def sees(self) -> bool: ...
    def ask(
        self, messages: Sequence[Message], schema: dict[str, Any], *, hear: Hear | None = None
    ) -> Reply: ...


class ReplyLedger(Protocol):
    """Where replies are recorded, so that a repeated node pays for none twice (tools/ledger.py)."""

    def get(self, kind: str, key: str) -> bytes | None: ...
    def put(self, kind: str, key: str, outcome: bytes) -> bytes: ...


class OpenAIProposer:
    """Asks for a plan in a schema, checks it, asks once for a repair; implements Proposer.

    A failure is a DependencyError, never another proposer's answer. What failed exchanges cost is kept in the
    ledger and counted when the same question is answered at last.
    """

    paid = True

    def __init__(
        self,
        chat: Speaks,
        *,
        ledger: ReplyLedger | None = None,
        tell: Callable[[LlmCall], None] | None = None,
    ) -> None:
        """``tell`` hears of failed exchanges."""
        self.chat = chat
        self._ledger, self._tell = ledger, tell
        self._voice: Callable[[int], Voice] = hushed
        self.name = chat.name
        self.priced = chat.endpoint.price is not None
        self.fingerprint = digest(
            proposer="openai",
            chat=chat.fingerprint,
            sees=chat.sees,
            prompts=prompting.fingerprint(),
            schema=reply_schema(),
        )

    def heard_by(self, voice: Callable[[int], Voice]) -> Self:
        """The same proposer, whose replies are also heard while they come; ``voice``: by round."""
        other = copy.copy(self)
        other._voice = voice
        return other

    def plan(self, view: View) -> Turn:
        """The LLM's plan for a view, from the ledger where it was answered before."""
        messages = prompting.messages(view, sees=self.chat.sees)
        key = digest(proposer=self.fingerprint, messages=[message.told() for message in messages])
        held = self._ledger.get("llm", key) if self._ledger else None
        if held is None:
            return self._asked(list(messages), key, view=view)
        turn = Turn.model_validate_json(held)
        calls = tuple(call.model_copy(update={"recorded": True}) for call in turn.calls)
        return turn.model_copy(update={"calls": calls})

    def _asked(self, messages: list[Message], key: str, *, view: View) -> Turn:
        calls, voice = self._failed_before(key), self._voice(view.round)
        earlier = len(calls)
        for _ in range(TRIES):
            with voice:
                reply = self.chat.ask(messages, reply_schema(), hear=voice.heard)
            said, fault = _understood(reply)
            calls.append(self._call(messages, reply, fault=fault))
            if said is not None:
                return self._recorded(_turn(said, calls, view=view), key)
            self._record_failed(calls[-1], f"{key}-{len(calls) - 1}")
            answer = Message(role="assistant", text=reply.text[:MAX_TOLD] or "(nothing)")
            messages = [*messages, answer, prompting.repair(fault or "")]
        if self._tell is not None:
            for call in calls[earlier:]:
                self._tell(call)
        raise DependencyError(
            f"The LLM {self.chat.endpoint.model} answered {TRIES} times with something that is no plan "
            f"({calls[-1].fault}); repeat the command to continue the run, or choose another model."
        )

    def _call(self, messages: Sequence[Message], reply: Reply, *, fault: str | None) -> LlmCall:
        return LlmCall(
            model=self.chat.endpoint.model,
            mode=reply.mode,
            messages=told_messages(messages, blind=reply.blind),
            reply=reply.text[:MAX_REPLY],
            usage=reply.usage.at(NODE, seconds=reply.seconds),
            seconds=round(reply.seconds, 3),
            fault=fault,
            blind=reply.blind,
        )

    def _recorded(self, turn: Turn, key: str) -> Turn:
        if self._ledger is not None:
            self._ledger.put("llm", key, turn.model_dump_json().encode())
        return turn

    def _record_failed(self, call: LlmCall, key: str) -> None:
        if self._ledger is not None:
            self._ledger.put("llm_failed", key, call.model_dump_json().encode())

    def _failed_before(self, key: str) -> list[LlmCall]:
        """Failed exchanges about the same messages, of this process or an earlier one: they were paid for."""
        calls: list[LlmCall] = []
        while self._ledger is not None:
            held = self._ledger.get("llm_failed", f"{key}-{len(calls)}")
            if held is None:
                break
            calls.append(LlmCall.model_validate_json(held))
        return calls


def told_messages(messages: Sequence[Message], *, blind: bool = False) -> tuple[tuple[str, str], ...]:
    """Role and text of each message, as a trace keeps them."""
    return tuple((message.role, message.told(blind=blind)[:MAX_TOLD]) for message in messages)


def _turn(said: Understood, calls: Sequence[LlmCall], *, view: View) -> Turn:
    """Where its hypotheses stand is measured, whatever the reply takes them for."""
    return Turn(
        plan=said.plan,
        usage=sum((call.usage for call in calls), Usage()),
        calls=tuple(calls),
        hypotheses=believed(said.beliefs, view.trials, scale=Scale.of(view.facts)),
    )


def _understood(reply: Reply) -> tuple[Understood | None, str | None]:
    """What the reply says, or why that is nothing."""
    if reply.fault is not None and not reply.text:
        return None, reply.fault
    try:
        return understood(reply.text[:MAX_REPLY]), None
    except BadReplyError as error:
        return None, reply.fault or str(error)

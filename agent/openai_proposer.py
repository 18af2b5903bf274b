"""The proposer that asks an LLM: any OpenAI-compatible endpoint. Importing this module imports no openai."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from agent import prompting
from agent.budget import Usage
from agent.llm import Chat, Endpoint, Reply
from agent.plan_reply import BadReplyError, plan_of, reply_schema
from agent.plans import Plan
from agent.prompting import Message
from agent.proposer import LlmCall, Turn, View
from tools.digest import digest
from tools.errors import DependencyError

TRIES = 2
"""The answer, and one repair."""
MAX_TOLD = 20_000
"""Characters of one message or reply that a trace keeps."""


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
        endpoint: Endpoint,
        *,
        api_key: str,
        ledger: ReplyLedger | None = None,
        png: Callable[[str], bytes] | None = None,
        tell: Callable[[LlmCall], None] | None = None,
    ) -> None:
        """``png``: image id to PNG bytes; without it no image is sent. ``tell`` hears of failed exchanges."""
        self.chat = Chat(endpoint, api_key=api_key, png=png)
        self._ledger, self._tell = ledger, tell
        self._sees = endpoint.sees and png is not None
        self.name = f"openai:{endpoint.model}"
        self.priced = endpoint.price is not None
        self.fingerprint = digest(
            proposer="openai",
            model=endpoint.model,
            where=endpoint.base_url,
            sees=self._sees,
            prompts=prompting.fingerprint(),
            schema=reply_schema(),
        )

    def plan(self, view: View) -> Turn:
        """The LLM's plan for a view, from the ledger where it was answered before."""
        messages = prompting.messages(view, sees=self._sees)
        key = digest(proposer=self.fingerprint, messages=[message.told() for message in messages])
        held = self._ledger.get("llm", key) if self._ledger else None
        if held is None:
            return self._asked(list(messages), key)
        turn = Turn.model_validate_json(held)
        calls = tuple(call.model_copy(update={"recorded": True}) for call in turn.calls)
        return turn.model_copy(update={"calls": calls})

    def _asked(self, messages: list[Message], key: str) -> Turn:
        calls = self._failed_before(key)
        earlier = len(calls)
        for _ in range(TRIES):
            reply = self.chat.ask(messages, reply_schema())
            plan, fault = _understood(reply)
            calls.append(self._call(messages, reply, fault=fault))
            if plan is not None:
                usage = sum((call.usage for call in calls), Usage())
                return self._recorded(Turn(plan=plan, usage=usage, calls=tuple(calls)), key)
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
            messages=tuple((message.role, message.told()[:MAX_TOLD]) for message in messages),
            reply=reply.text[:MAX_TOLD],
            usage=reply.usage,
            seconds=round(reply.seconds, 3),
            fault=fault,
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


def _understood(reply: Reply) -> tuple[Plan | None, str | None]:
    """The plan, or why there is none."""
    if reply.fault is not None and not reply.text:
        return None, reply.fault
    try:
        return plan_of(reply.text), None
    except BadReplyError as error:
        return None, f"{reply.fault}: {error}" if reply.fault else str(error)

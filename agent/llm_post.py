"""One request over the network, with its limits; what the network does is told in one sentence."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.llm_reading import Hear, Reader
from agent.llm_said import Said
from agent.llm_ways import Refused
from tools.errors import DependencyError

if TYPE_CHECKING:
    from openai import OpenAI

MAX_TOLD = 2000
"""Characters of an endpoint's error that are looked at."""


class Line(NamedTuple):
    """A line to an endpoint, and how patient to be on it."""

    client: Callable[[], OpenAI]
    name: str
    """The model and where it is, for people."""
    timeout_s: float
    """For a whole reply, each try."""
    retries: int
    max_reply_bytes: int

    def post(self, request: dict[str, Any], *, hear: Hear | None = None) -> Said:
        """What came back. Refused for an error status; DependencyError when there is no answer at all."""
        from openai import APIConnectionError, APIStatusError, APITimeoutError

        try:
            return self._read(request, hear)
        except APITimeoutError as error:
            raise DependencyError(self._silent()) from error
        except APIConnectionError as error:
            raise DependencyError(
                f"The LLM {self.name} could not be reached; check OPENAI_BASE_URL and the network, then "
                "repeat the command to continue the run."
            ) from error
        except APIStatusError as error:
            raise Refused(error.status_code, str(error)[:MAX_TOLD]) from error

    def _read(self, request: dict[str, Any], hear: Hear | None) -> Said:
        import httpx2

        deadline = time.monotonic() + self.timeout_s * (self.retries + 1)
        reader = Reader(self.max_reply_bytes, hear=hear)
        create = self.client().chat.completions.with_streaming_response.create
        with create(**request) as response:
            try:
                for data in response.iter_bytes():
                    if not reader.feed(data):
                        break
                    if time.monotonic() > deadline:
                        raise DependencyError(self._silent())
            except httpx2.TimeoutException as error:
                raise DependencyError(self._silent()) from error
            except httpx2.HTTPError as error:
                raise DependencyError(
                    f"The LLM {self.name} broke off its answer; repeat the command to continue the run."
                ) from error
        return reader.said()

    def _silent(self) -> str:
        return (
            f"The LLM {self.name} gave no whole answer within {self.timeout_s:g} s; repeat the command to "
            "continue the run."
        )


def explained(refusal: Refused, *, name: str, tools: bool = False) -> str:
    """A refusal in one sentence with its remedy; what the endpoint wrote is not repeated."""
    status = refusal.status
    if tools and "tool" in refusal.message.lower():
        return f"The LLM {name} takes no tools (status {status}); choose another with OPENAI_MODEL."
    remedy = _REMEDIES.get(status, "repeat the command to continue the run")
    return f"The LLM {name} answered with status {status}; {remedy}."


_REMEDIES = {
    400: "the model may not take these messages: choose another with OPENAI_MODEL, then continue the run",
    401: "correct OPENAI_API_KEY, then repeat the command to continue the run",
    402: "the account is out of credit: top it up, then repeat the command to continue the run",
    403: "the key may not use this model: choose another with OPENAI_MODEL, then continue the run",
    404: "correct OPENAI_BASE_URL or OPENAI_MODEL, then continue the run",
    413: "the messages are too large for it: lower NAMESAE_OPENAI_IMAGE_SIDE, then continue the run",
    429: "the account is at its limit: wait or raise it, then repeat the command to continue the run",
}

"""One run's events as nested spans: invoke_agent → execute_tool → chat (OpenTelemetry GenAI conventions).

Times are those of the events. The trace id is a hash of the run's, so that what several processes did for one
run stands in one trace.
"""

from __future__ import annotations

import atexit
import contextvars
import hashlib
import logging
import os
import weakref
from typing import TYPE_CHECKING, NamedTuple

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context

from namesae import __version__
from namesae.span_attributes import Redactor, chat_attributes, root_attributes, tool_attributes, tool_name

if TYPE_CHECKING:
    from agent.events import Event
    from agent.proposer import LlmCall
    from namesae.span_attributes import Attributes

_RUN: contextvars.ContextVar[str | None] = contextvars.ContextVar("run", default=None)
_TOLD_BY_STREAM = "streamed"
_LAST = ("ended", "answered")
TIMEOUT, TIMEOUT_S = "OTEL_EXPORTER_OTLP_TIMEOUT", 3.0
"""A batch is tried for so long: what waits is sent at the end, which no absent receiver may delay."""


class _RunIds(RandomIdGenerator):
    """Trace ids that follow from the run."""

    def generate_trace_id(self) -> int:
        """128 bits, never 0."""
        run = _RUN.get()
        if run is None:
            return super().generate_trace_id()
        return int.from_bytes(hashlib.sha256(run.encode()).digest()[:16], "big") or 1


class SpanExport:
    """A provider of our own: the process-wide one, which libraries write to, stays as it is."""

    def __init__(self) -> None:
        named = {SERVICE_NAME: "namesae", "service.version": __version__}
        resource = Resource.create(named).merge(OTELResourceDetector().detect())
        # Its own exit hook would wait half a minute for a receiver that does not answer.
        self.provider = TracerProvider(resource=resource, id_generator=_RunIds(), shutdown_on_exit=False)
        waits = None if TIMEOUT in os.environ else TIMEOUT_S
        self.provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=waits)))
        exporter = logging.getLogger(OTLPSpanExporter.__module__)
        if exporter.level == logging.NOTSET:
            # Not every retry: that a batch was lost is one line.
            exporter.setLevel(logging.ERROR)
        self.tracer = self.provider.get_tracer("namesae", __version__)
        atexit.register(self.close)

    def close(self) -> None:
        """Send what waits."""
        self.provider.shutdown()


class RunSpans:
    """The sink of one run in one process; when it is let go of, an unfinished run's agent span ends."""

    def __init__(self, run: str, export: SpanExport, *, captures: bool, secrets: tuple[str, ...]) -> None:
        self._open = _OpenRun(run, export, Redactor(captures, secrets))
        weakref.finalize(self, self._open.leave)

    def __call__(self, event: Event) -> None:
        """Hear of an event; an event that shows a step's end becomes that step's span."""
        self._open.hear(event)


class _Exchange(NamedTuple):
    call: LlmCall
    at: float


class _OpenRun:
    """What is not a span yet."""

    def __init__(self, run: str, export: SpanExport, redactor: Redactor) -> None:
        self._run, self._export, self._redactor = run, export, redactor
        self._root: Span | None = None
        self._since = 0.0
        """When the step in progress began."""
        self._calls: list[_Exchange] = []
        self._node = ""
        """Of the calls."""
        self._latest = 0.0

    def hear(self, event: Event) -> None:
        """Take an event."""
        kind = event.what.kind
        if self._root is None:
            self._begin(event)
        assert self._root is not None
        self._latest = max(self._latest, event.at)
        if kind in ("started", "questioned", "forked"):
            self._root.set_attributes(root_attributes(event, self._redactor))
            self._since = event.at
        elif event.what.kind == "asked":
            self._settle_calls(other_than=event.node)
            self._calls.append(_Exchange(event.what.call, event.at))
            self._node = event.node
        elif kind != _TOLD_BY_STREAM:
            self._settle_calls(other_than=event.node)
            self._tool(tool_name(event), event.at, tool_attributes(event, self._redactor))
            if kind in _LAST:
                self._root.set_attributes(root_attributes(event, self._redactor))
                self._end(event.at)

    def leave(self) -> None:
        """The run goes on elsewhere, waits for a person, or failed: nobody here will say how it ended."""
        if self._root is not None:
            self._settle_calls(other_than=None)
            self._root.set_attribute("namesae.unfinished", True)
            self._end(self._latest)

    def _begin(self, event: Event) -> None:
        token = _RUN.set(self._run)
        try:
            self._root = self._export.tracer.start_span(
                "invoke_agent namesae",
                context=Context(),
                kind=SpanKind.INTERNAL,
                attributes={
                    "gen_ai.operation.name": "invoke_agent",
                    "gen_ai.agent.name": "namesae",
                    "gen_ai.agent.version": __version__,
                    "gen_ai.provider.name": "namesae",
                    "gen_ai.conversation.id": self._run,
                },
                start_time=_ns(event.at),
            )
        finally:
            _RUN.reset(token)
        self._since = self._latest = event.at

    def _settle_calls(self, *, other_than: str | None) -> None:
        """Calls of a step that no event of its own ended."""
        if self._calls and self._node != other_than:
            self._tool(self._node, self._calls[-1].at, {})

    def _tool(self, name: str, at: float, attributes: Attributes) -> None:
        """The step from the last one's end to ``at``, with the calls that were made in it."""
        assert self._root is not None
        span = self._export.tracer.start_span(
            f"execute_tool {name}",
            context=set_span_in_context(self._root, Context()),
            kind=SpanKind.INTERNAL,
            attributes={
                "gen_ai.operation.name": "execute_tool",
                "gen_ai.tool.name": name,
                "gen_ai.tool.type": "function",
                "gen_ai.conversation.id": self._run,
                **attributes,
            },
            start_time=_ns(min(self._since, at)),
        )
        self._chats(span, since=min(self._since, at))
        span.end(_ns(at))
        self._since, self._calls = at, []

    def _chats(self, parent: Span, *, since: float) -> None:
        """The calls, which are told after the last of them: each ends where the next began."""
        end = self._calls[-1].at if self._calls else since
        for call, _ in reversed(self._calls):
            start = max(since, end - (0.0 if call.recorded else call.seconds))
            span = self._export.tracer.start_span(
                f"chat {call.model}",
                context=set_span_in_context(parent, Context()),
                kind=SpanKind.CLIENT,
                attributes={
                    **chat_attributes(call, self._redactor),
                    "gen_ai.conversation.id": self._run,
                },
                start_time=_ns(start),
            )
            if call.fault is not None:
                span.set_status(Status(StatusCode.ERROR, self._redactor.text(call.fault)))
            span.end(_ns(end))
            end = start

    def _end(self, at: float) -> None:
        assert self._root is not None
        self._root.end(_ns(at))
        self._root = None


def _ns(seconds: float) -> int:
    return int(seconds * 1_000_000_000)

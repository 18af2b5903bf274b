"""Runs as OpenTelemetry GenAI spans, from their own events, to whatever listens at an OTLP endpoint.

On where OTEL_EXPORTER_OTLP_ENDPOINT is set and the ``otel`` extra is installed; opentelemetry is imported
only then.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.events import EventSink
    from namesae.run_spans import SpanExport
    from namesae.settings import Settings

log = logging.getLogger(__name__)

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
"""Opt-in to what LLMs and prompts say: ``true``, or ``span_only`` and ``span_and_event`` of newer tools."""
NEEDED = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
_CAPTURES = ("true", "1", "span_only", "span_and_event")


def spans_of(run: str, settings: Settings) -> tuple[EventSink, ...]:
    """The sink that turns a run's events into spans; none where telemetry is off."""
    endpoint = next((os.environ[name] for name in ENDPOINTS if os.environ.get(name)), None)
    off = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    exported = None if endpoint is None or off else _export(endpoint)
    if exported is None:
        return ()
    from namesae.run_spans import RunSpans

    held = (settings.openai_api_key, settings.redis_url)
    secrets = tuple(each.get_secret_value() for each in held if each is not None)
    captures = os.environ.get(CAPTURE, "").lower() in _CAPTURES
    return (RunSpans(run, exported, captures=captures, secrets=secrets),)


@lru_cache(maxsize=4)
def _export(endpoint: str) -> SpanExport | None:
    """Where spans go, one a process; the exporter reads all else it needs from OTEL_... itself."""
    if not all(_is_installed(name) for name in NEEDED):
        log.warning(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set (%s) and the otel extra is not installed; "
            "pip install 'namesae[otel]' sends the spans, unsetting it silences this.",
            endpoint,
        )
        return None
    from namesae.run_spans import SpanExport

    return SpanExport()


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False

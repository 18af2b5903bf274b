"""What Prometheus is told: requests, their latency, the queue, runs and watchers."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import accumulate

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
Labels = tuple[tuple[str, str], ...]


class Metrics:
    """Counts of one process. Only the event loop's thread writes them."""

    def __init__(self) -> None:
        self._requests: Counter[Labels] = Counter()
        self._buckets: dict[str, list[int]] = {}
        self._seconds: Counter[str] = Counter()

    def request(self, method: str, route: str, *, status: int, seconds: float | None) -> None:
        """Count a request; ``seconds`` None for one that lasts as long as somebody looks on."""
        self._requests[(("method", method), ("route", route), ("status", str(status)))] += 1
        if seconds is None:
            return
        buckets = self._buckets.setdefault(route, [0] * (len(BOUNDS_S) + 1))
        buckets[bisect_left(BOUNDS_S, seconds)] += 1
        self._seconds[route] += seconds  # type: ignore[assignment]

    def text(self, gauges: Mapping[str, Mapping[Labels, float]], help_texts: Mapping[str, str]) -> str:
        """The exposition: counters and histograms of this process, and ``gauges`` by name and labels."""
        lines = [*_family("namesae_requests_total", "counter", "Requests answered.")]
        lines += [_line("namesae_requests_total", labels, n) for labels, n in sorted(self._requests.items())]
        lines += _family("namesae_request_seconds", "histogram", "Seconds until an answer was complete.")
        for route, buckets in sorted(self._buckets.items()):
            lines += _histogram(route, buckets, self._seconds[route])
        for name, values in gauges.items():
            lines += _family(name, "gauge", help_texts[name])
            lines += [_line(name, labels, value) for labels, value in sorted(values.items())]
        return "\n".join(lines) + "\n"


def _histogram(route: str, buckets: list[int], seconds: float) -> Iterable[str]:
    name, of_route = "namesae_request_seconds", ("route", route)
    bounds = [*(f"{bound:g}" for bound in BOUNDS_S), "+Inf"]
    for bound, below in zip(bounds, accumulate(buckets), strict=True):
        yield _line(f"{name}_bucket", (of_route, ("le", bound)), below)
    yield _line(f"{name}_sum", (of_route,), seconds)
    yield _line(f"{name}_count", (of_route,), sum(buckets))


def _family(name: str, kind: str, told: str) -> tuple[str, str]:
    return f"# HELP {name} {told}", f"# TYPE {name} {kind}"


def _line(name: str, labels: Labels, value: float) -> str:
    inside = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels)
    return f"{name}{{{inside}}} {value:g}" if inside else f"{name} {value:g}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

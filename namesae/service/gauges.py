"""What is measured of the store when Prometheus asks: the queue, runs by state."""

from __future__ import annotations

from collections import Counter

from namesae import __version__
from namesae.service.metrics import Labels
from namesae.service.service import Service

HELP = {
    "namesae_info": "The version that runs.",
    "namesae_queue_jobs": "Jobs that wait for a worker.",
    "namesae_runs": "The latest 200 runs by state.",
    "namesae_watchers": "Event streams that are open.",
}
LATEST = 200


def gauges_of(service: Service, watchers: int) -> dict[str, dict[Labels, float]]:
    """The figures by name and labels. Asks Redis."""
    from namesae.service.jobs import Jobs

    states = Counter(run.state for run in service.runs.list(limit=LATEST))
    return {
        "namesae_info": {(("version", __version__),): 1.0},
        "namesae_queue_jobs": {(): float(Jobs(service.state.client).waiting())},
        "namesae_runs": {(("state", state),): float(count) for state, count in states.items()},
        "namesae_watchers": {(): float(watchers)},
    }

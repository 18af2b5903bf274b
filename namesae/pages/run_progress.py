"""What the events of a run say of its nodes: which is at work now, how often each ran, and what it used."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from agent.events import Event, Planned
from agent.usage import Usage
from namesae.pages.figures import seconds
from namesae.pages.run_graph import NODES, REVIEWED, Node, NodeStanding
from namesae.service.job_records import RunStatus

ASKING = "propose"
"""The node that asks an LLM."""


class NodeSpend(NamedTuple):
    """What one node used. Unknown is None, never 0."""

    node: str
    visits: int
    images: int
    """Charged: of the search, or the judge's."""
    calls: int
    read: int | None
    """Tokens."""
    written: int | None
    usd: float | None
    seconds: float
    share: float
    """Of the time of all nodes."""


class _Counts(NamedTuple):
    visits: Counter[str]
    images: Counter[str]
    seconds: defaultdict[str, float]
    usage: Usage


def nodes_of(status: RunStatus, events: Sequence[Event], *, reviewed: bool) -> tuple[Node, ...]:
    """Every node of the run's graph and how it stands."""
    counts = _counted(events)
    now = live_node(events) if status.state in ("running", "waiting", "paused", "stopped", "failed") else None
    now = "review" if status.state == "waiting" else now
    names = REVIEWED if reviewed or counts.visits["review"] or now == "review" else NODES
    standing: NodeStanding = "live" if status.state == "running" else "wait"
    notes = {"live": "now", "wait": {"waiting": "asks you"}.get(status.state, status.state)}
    found = []
    for name in names:
        if name == now:
            found.append(Node(name, standing, counts.visits[name], notes[standing]))
        else:
            spent = seconds(counts.seconds[name]) if counts.seconds[name] else ""
            visits = counts.visits[name]
            found.append(Node(name, "done" if visits else "idle", visits, spent))
    return tuple(found)


def live_node(events: Sequence[Event]) -> str | None:
    """The node that works now, from the last thing that was said; None once the run has ended."""
    for event in reversed(events):
        what = event.what
        if what.kind in ("asked", "streamed"):
            return ASKING
        if isinstance(what, Planned):
            return "race" if what.names else "draw" if what.granted else ASKING
        if what.kind == "judged":
            return "record"
        if what.kind == "reviewed":
            return "review" if what.ruling.action == "retest" else "record"
        follows = {"observed": ASKING, "scored": ASKING, "raced": "judge", "ended": None}
        if what.kind in follows:
            return follows[what.kind]
    return "observe"


def spends_of(events: Sequence[Event]) -> tuple[NodeSpend, ...]:
    """What each node that ran used, in the graph's order."""
    counts = _counted(events)
    total = sum(counts.seconds.values())
    found = []
    for node in REVIEWED:
        visits = counts.visits[node]
        if not visits or node in ("draw", "conclude"):
            continue
        usage = counts.usage if node == ASKING else Usage()
        spent = counts.seconds[node]
        found.append(
            NodeSpend(
                node={"score": "draw, score", "race": "conclude, race"}.get(node, node),
                visits=visits,
                images=counts.images[node],
                calls=usage.calls,
                read=usage.prompt_tokens,
                written=usage.completion_tokens,
                usd=usage.usd,
                seconds=spent,
                share=spent / total if total else 0.0,
            )
        )
    return tuple(found)


def _counted(events: Sequence[Event]) -> _Counts:
    """The time between two events is that of the node which told the later one."""
    visits, images = Counter[str](), Counter[str]()
    spent: defaultdict[str, float] = defaultdict(float)
    usage, before, charged = Usage(), None, 0
    for event in events:
        what = event.what
        node = _node(event)
        if what.kind == "asked":
            usage += what.call.usage
        elif what.kind == "judged" and what.sealed is not None:
            images["judge"] += what.sealed.n_generated
        elif what.kind in ("scored", "raced"):
            images[node or ""] += max(0, what.search - charged)
            charged = max(charged, what.search)
        if node is not None and before is not None and what.kind not in ("started", "forked"):
            spent[node] += max(0.0, event.at - before)
        for each in _visited(event):
            visits[each] += 1
        before = event.at
    return _Counts(visits, images, spent, usage)


def _node(event: Event) -> str | None:
    """The node that an event's time is charged to."""
    kinds = {"observed": "observe", "asked": ASKING, "streamed": ASKING, "planned": ASKING, "scored": "score"}
    kinds |= {"raced": "race", "judged": "judge", "reviewed": "review", "ended": "record"}
    return kinds.get(event.what.kind)


def _visited(event: Event) -> tuple[str, ...]:
    what = event.what
    if isinstance(what, Planned):
        return (ASKING, "conclude") if what.plan == "conclude" else (ASKING,)
    kinds = {"observed": ("observe",), "scored": ("draw", "score"), "raced": ("race",), "judged": ("judge",)}
    kinds |= {"reviewed": ("review",), "ended": ("record",)}
    return kinds.get(what.kind, ())

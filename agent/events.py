"""What a run says while it works: the command line, the web page and the trace all read these.

Importing this module imports no torch and no langgraph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple, cast

from pydantic import Field

from agent.ask_events import Answered, Questioned, ToolCalled
from agent.budget import Refusal
from agent.hypotheses import Hypothesis
from agent.proposer import LlmCall
from agent.records import ForkPoint, Proposal, Rival, Ruling, Trial, VerdictKind
from sae.feature import Frozen
from tools import keys
from tools.protocols import CosyScore, FeatureFacts

if TYPE_CHECKING:
    import redis
    from redis.client import Pipeline

_PAGE = 500


class Started(Frozen):
    """The run begins, or goes on where it was interrupted."""

    kind: Literal["started"] = "started"
    feature: str
    proposer: str
    resumed: bool
    images: int
    """Limit of search images."""


class Observed(Frozen):
    """What was known before any drawing, or one more band of exemplars."""

    kind: Literal["observed"] = "observed"
    facts: FeatureFacts
    exemplars: int
    hints: int
    """Prompts of earlier runs that fire the feature."""


class Planned(Frozen):
    """The proposer's plan and what the budget made of it."""

    kind: Literal["planned"] = "planned"
    plan: str
    """draw, show, test, contradict or conclude."""
    reason: str = ""
    granted: tuple[Proposal, ...] = ()
    refused: tuple[Refusal, ...] = ()
    names: tuple[str, ...] = ()
    hypotheses: tuple[Hypothesis, ...] = ()


class Asked(Frozen):
    """One exchange with an LLM."""

    kind: Literal["asked"] = "asked"
    call: LlmCall


class Streamed(Frozen):
    """A piece of an LLM's reply, told while it comes; the whole of it is in the Asked that follows."""

    kind: Literal["streamed"] = "streamed"
    text: str
    done: bool = False
    """Whether the reply has ended."""


class Scored(Frozen):
    """Prompts drawn and scored."""

    kind: Literal["scored"] = "scored"
    trials: tuple[Trial, ...]
    search: int
    """Search images charged so far."""


class Raced(Frozen):
    """The race's result."""

    kind: Literal["raced"] = "raced"
    rivals: tuple[Rival, ...]
    winner: str | None
    decided: bool
    """Whether the interval decided, and not the order of the proposer."""
    search: int


class Judged(Frozen):
    """The sealed score."""

    kind: Literal["judged"] = "judged"
    name: str
    sealed: CosyScore | None
    floor: float | None
    floor_names: tuple[str, ...] = ()
    """Names whose sealed images gave the floor; none where parts of the control set did."""


class Ruled(Frozen):
    """A person ruled on the name under review."""

    kind: Literal["reviewed"] = "reviewed"
    name: str
    ruling: Ruling


class Forked(Frozen):
    """The run began as a fork; what precedes it happened in the other run."""

    kind: Literal["forked"] = "forked"
    origin: ForkPoint
    changes: tuple[str, ...] = ()
    """What is other than in that run, a phrase each."""


class Ended(Frozen):
    """The verdict."""

    kind: Literal["ended"] = "ended"
    name: str | None
    verdict: VerdictKind
    confidence: float


Happening = Annotated[
    Started
    | Observed
    | Planned
    | Asked
    | Streamed
    | Scored
    | Raced
    | Judged
    | Ended
    | Ruled
    | Forked
    | Questioned
    | ToolCalled
    | Answered,
    Field(discriminator="kind"),
]


class Event(Frozen):
    """Something that happened in a run. A node that is repeated after a crash may say a thing twice."""

    run: str
    at: float
    """Seconds since the epoch."""
    node: str
    round: int = 0
    what: Happening


EventSink = Callable[[Event], None]


def ignore(event: Event) -> None:
    """The sink that keeps nothing."""


def tee(*sinks: EventSink) -> EventSink:
    """One sink that tells several, in order."""

    def tell(event: Event) -> None:
        for sink in sinks:
            sink(event)

    return tell


class EventStream:
    """The events of runs in Redis Streams, one a run; calling it is an EventSink."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._pieces: dict[str, list[bytes]] = {}
        """Entries that the reply they are pieces of will replace, by run."""

    def __call__(self, event: Event) -> None:
        """Append an event to its run's stream; a whole reply takes the place of its pieces."""
        entry = self._client.xadd(keys.events(event.run), {"event": event.model_dump_json()})
        if event.what.kind == "streamed":
            self._pieces.setdefault(event.run, []).append(cast("bytes", entry))
        elif event.what.kind == "asked" and (pieces := self._pieces.pop(event.run, None)):
            self._client.xdel(keys.events(event.run), *pieces)

    def begin_fork(self, event: Event, *, until: float) -> None:
        """Start the stream of a fork: the other run's events up to ``until`` (seconds), then ``event``.

        Nothing where the stream has begun already.
        """
        assert event.what.kind == "forked"
        origin, target = event.what.origin.run, keys.events(event.run)
        told = [each for each in self.read(origin) if int(each.id.partition("-")[0]) <= until * 1000]
        copies = [each.event.model_copy(update={"run": event.run}) for each in told]

        def fill(pipe: Pipeline) -> None:
            begun = pipe.exists(target)
            pipe.multi()
            for each in () if begun else (*copies, event):
                pipe.xadd(target, {"event": each.model_dump_json()})

        self._client.transaction(fill, target)

    def read(self, run: str, *, after: str = "-") -> Iterator[Entry]:
        """The events of a run that are there now, oldest first, from after the entry id ``after``."""
        start = after if after == "-" else f"({after}"
        while page := self._page(run, start):
            yield from page
            start = f"({page[-1].id}"

    def follow(self, run: str, *, after: str = "0", wait_s: float = 1.0) -> list[Entry]:
        """The next events after an entry id, waiting up to ``wait_s`` for one; none when none came."""
        told = self._client.xread({keys.events(run): after}, count=_PAGE, block=max(1, int(wait_s * 1000)))
        if not told:
            return []
        streams = cast("list[tuple[bytes, list[tuple[bytes, dict[bytes, bytes]]]]]", told)
        return [_entry(*line) for line in streams[0][1]]

    def _page(self, run: str, start: str) -> list[Entry]:
        page = self._client.xrange(keys.events(run), start, "+", count=_PAGE)
        return [_entry(*line) for line in cast("list[tuple[bytes, dict[bytes, bytes]]]", page)]


class Entry(NamedTuple):
    """An event and its place in the stream."""

    id: str
    event: Event


def _entry(entry: bytes, fields: dict[bytes, bytes]) -> Entry:
    return Entry(entry.decode(), Event.model_validate_json(fields[b"event"]))

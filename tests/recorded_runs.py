"""A finished run made up for tests of what shows runs."""

from __future__ import annotations

from agent.budget import Refusal, Usage
from agent.events import Asked, Ended, Event, Happening, Judged, Observed, Planned, Raced, Scored, Started
from agent.plans import MAX_NAME, MAX_PROMPT, Candidate
from agent.proposer import LlmCall
from agent.records import Cost, Evidence, Explanation, ImageCount, Proposal, Rival, Trial
from agent.reward import Scale
from agent.state import RaceRecord, Shot
from namesae.traces import Race, Trace
from sae.feature import Exemplar, Feature
from tools.fakes import FakeGenerator
from tools.protocols import CosyScore, DrawRequest, FeatureFacts, Interval, StoresImages

RUN = "fake-0-abc-0"
FACTS = FeatureFacts(
    density=0.2,
    threshold=5.0,
    p99=10.0,
    neighbours=(4, 9),
    vocabulary=(("striped", 0.31), ("red", 0.1)),
    tags=(("striped", 2.5),),
)
SCORE = CosyScore(
    auroc=0.91,
    auroc_ci=Interval(low=0.87, high=0.94),
    ceiling=0.92,
    mad=2.4,
    max_mad=None,
    activation_rate=0.88,
    activation_rate_ci=Interval(low=0.8, high=0.93),
    control_rate=0.09,
    control_rate_ci=Interval(low=0.07, high=0.11),
    n_generated=50,
    n_control=1000,
)


def draw(store: StoresImages, prompt: str, *, count: int = 2) -> tuple[str, ...]:
    """Pictures of a prompt."""
    drawn = FakeGenerator(store, vocabulary=("striped", "fish"))(
        [DrawRequest(prompt=prompt, seed=seed) for seed in range(count)]
    )
    return tuple(each.image for each in drawn if each.image)


def recorded_race(store: StoresImages, *, text: str, rivals: tuple[Rival, ...]) -> Race:
    """A race that ``text`` won over 'fish', on whose own picture nothing fired; another was not drawn."""
    winner = Candidate(
        name=text[:MAX_NAME] or "?", prompts=("striped",), fires=("striped fish",), rests=("fish",)
    )
    loser = Candidate(name="fish", prompts=("fish",), rests=(text[:MAX_PROMPT],), level=1)
    shots = [
        Shot(prompt="striped", seed=4, image=draw(store, "striped")[1], activation=9.75),
        Shot(prompt="fish", seed=4, image=draw(store, "fish")[0], activation=0.5),
        Shot(prompt="fish", seed=5, image=None, fault=f"black {text}"),
        Shot(prompt="striped fish", seed=4, image=draw(store, "fish striped")[0], activation=8.75),
    ]
    record = RaceRecord(shots=tuple(shots), rivals=rivals, winner=winner, decided=True, score=0.93)
    return Race(candidates=(winner, loser), record=record, scale=Scale(p99=10.0))


def recorded_trace(store: StoresImages, *, text: str = "striped", sealed: int = 5) -> Trace:
    """A run in which ``text`` stands wherever an LLM, a caption or a person could have written."""
    pictures = draw(store, "striped")
    proposal = Proposal(prompt=text, intent="vary", rationale=text)
    trial = Trial(proposal=proposal, images=(*pictures, None), seeds=(1, 2, 3), activations=(9.5, 0.25, None))
    unknown = Trial(
        proposal=Proposal(prompt="zebra", intent="explore"), images=(), seeds=(), activations=(), fault=text
    )
    rival = Rival(name=text, auroc=0.93, auroc_ci=Interval(low=0.9, high=0.95), rate=0.9, n_images=8)
    lost = Rival(name="fish", auroc=None, auroc_ci=None, rate=None, n_images=0)
    explanation = Explanation(
        feature=Feature(dictionary="fake", index=0),
        name=text,
        parts=(text, "fish"),
        verdict="named",
        confidence=0.9,
        search_score=0.93,
        sealed=SCORE,
        rivals=(rival, lost),
        evidence=Evidence(
            facts=FACTS.model_copy(update={"tags": ((text, 2.5),)}),
            exemplars=(Exemplar(image=pictures[0], activation=11.0),),
            trials=(trial, unknown),
            sealed_images=draw(store, "fish striped", count=sealed),
            sealed_activations=tuple(10.0 - at for at in range(sealed)),
            floor_auroc=0.5,
            optimism_gap=0.02,
        ),
        images=ImageCount(search=24, sealed=50, charged=74, drawn=70),
        cost=Cost(llm_calls=2, prompt_tokens=100, completion_tokens=20, usd=0.0123, seconds=4.5),
        proposer="openai:gpt-5-mini",
        run=RUN,
        created="2026-11-21T10:00:00+00:00",
    )
    call = LlmCall(
        model="gpt-5-mini",
        mode="json_schema",
        messages=(("system", text), ("user", f"image:{pictures[0]}")),
        reply=text,
        usage=Usage(calls=1, prompt_tokens=10, completion_tokens=2, usd=0.001),
        seconds=1.5,
        fault=text,
    )
    told: tuple[tuple[str, int, Happening], ...] = (
        ("start", 0, Started(feature="fake#0", proposer="openai:gpt-5-mini", resumed=False, images=100)),
        ("observe", 0, Observed(facts=FACTS, exemplars=1, hints=0)),
        ("propose", 0, Asked(call=call)),
        ("propose", 0, Planned(plan="draw", granted=(proposal,), refused=(Refusal(prompt=text, why=text),))),
        ("score", 1, Scored(trials=(trial, unknown), search=3)),
        ("propose", 1, Planned(plan="conclude", reason=text, names=(text, "fish"))),
        ("race", 2, Raced(rivals=(rival, lost), winner=text, decided=True, search=24)),
        ("judge", 2, Judged(name=text, sealed=SCORE, floor=0.5, floor_names=(text,))),
        ("record", 0, Ended(name=text, verdict="named", confidence=0.9)),
    )
    events = tuple(
        Event(run=RUN, at=1.79e9 + at, node=node, round=number, what=what)
        for at, (node, number, what) in enumerate(told)
    )
    return Trace(
        run=RUN,
        explanation=explanation,
        events=events,
        control=(0.0,) * 90 + (6.0,) * 10,
        race=recorded_race(store, text=text, rivals=(rival, lost)),
    )

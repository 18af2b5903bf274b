"""Named features made up for tests of what lists, searches and exports them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import redis as redis_module

from agent.events import EventStream
from agent.records import Cost, Evidence, Explanation, ImageCount
from agent.request import Request, RunSettings
from agent.runs_store import RunStore
from namesae.settings import Settings
from namesae.wiring import State
from sae.feature import Exemplar, Feature
from tools import keys
from tools.image_store import ImageStore
from tools.protocols import CosyScore, FeatureFacts, Interval

ICON = "a" * 64
FACTS = FeatureFacts(density=0.25, threshold=1.5, p99=3.0)


def state_of(client: redis_module.Redis, home: Path) -> State:
    """Where the tests keep what was done."""
    return State(client, RunStore(client), EventStream(client), ImageStore(home / "images"))


def settings_of(home: Path, **more: Any) -> Settings:
    """Settings of a folder of its own, with the planted dictionary."""
    return Settings(home=home, fakes=True, **more)


def score(auroc: float) -> CosyScore:
    """A sealed score."""
    return CosyScore(
        auroc=auroc,
        auroc_ci=Interval(low=auroc - 0.05, high=min(1.0, auroc + 0.03)),
        ceiling=None,
        mad=1.5,
        max_mad=None,
        activation_rate=0.5,
        activation_rate_ci=Interval(low=0.25, high=0.75),
        control_rate=0.1,
        control_rate_ci=Interval(low=0.0, high=0.2),
        n_generated=30,
        n_control=1000,
    )


def told(
    index: int, name: str | None = "fish", *, dictionary: str = "fake", seed: int = 0, **more: Any
) -> Explanation:
    """An explanation; ``more``: any of its fields, and ``auroc``."""
    auroc = more.pop("auroc", 0.9 if name else None)
    given: dict[str, Any] = {
        "feature": Feature(dictionary=dictionary, index=index),
        "name": name,
        "verdict": "named" if name else "unexplained",
        "confidence": 0.5,
        "sealed": None if auroc is None else score(auroc),
        "evidence": Evidence(facts=FACTS, exemplars=(Exemplar(image=ICON, activation=3.5),)),
        "images": ImageCount(search=24),
        "cost": Cost(usd=None),
        "run": f"{dictionary}-{index}-made-{seed}",
        "created": f"2026-11-21T10:{index % 60:02d}:00+00:00",
    }
    return Explanation.model_validate(given | more)


def finish(state: State, *explanations: Explanation, now: float = 1.79e9) -> None:
    """File explanations as runs do when they end."""
    for at, each in enumerate(explanations):
        seed = int(each.run.rpartition("-")[2])
        request = Request(
            feature=each.feature, models="made", proposer="lexical", settings=RunSettings(seed=seed)
        )
        begin(state, each.run, request, now=now + at)
        state.runs.finish(request, each, now=now + at)


def begin(state: State, run: str, request: Request, *, now: float) -> None:
    """Write down that a run of this id was accepted."""
    client = state.client
    client.hset(keys.run(run), mapping={"request": request.model_dump_json(), "accepted": repr(now)})
    client.zadd(keys.runs(), {run: now})

"""What the messages carry, without a model: the policy on planted features of the fake world, over HTTP.

python -m benchmarks.policy_fakes --seeds 1 names twelve features a seed with the lexical proposer and the
policy, whole and with evidence withheld, and prints how many names are right, calls and images a feature.
"""

from __future__ import annotations

import argparse
from typing import Any, NamedTuple, cast

from langgraph.checkpoint.memory import InMemorySaver

from agent.budget import Limits, Spent
from agent.graph import build_graph
from agent.llm import Chat, Endpoint
from agent.openai_proposer import OpenAIProposer
from agent.prices import Price
from agent.proposer import Proposer
from agent.records import Explanation
from agent.request import RunSettings
from agent.state import SCHEMA, NamingState
from benchmarks.policy import Policy
from benchmarks.policy_eval import ARMS
from benchmarks.policy_reading import Blank
from benchmarks.policy_server import server_of
from sae.feature import Feature
from tests.naming_world import RED_BOAT, Workshop, world

FEATURES = (0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12, RED_BOAT)


class Named(NamedTuple):
    """One feature named."""

    truth: str
    told: Explanation

    @property
    def right(self) -> bool:
        """Whether the name has the words of the truth, in any order."""
        return set((self.told.name or "").split()) == set(self.truth.split())


def run_arm(arm: str, *, seeds: int, images: int) -> list[Named]:
    """Name every feature with every seed."""
    if arm == "lexical":
        return [_named(index, seed, images=images) for seed in range(seeds) for index in FEATURES]
    blank = cast(Blank, arm if arm in ("scores", "failures") else "")
    with server_of(Policy(blank=blank)).serve() as url:
        free = Price(prompt=0.0, completion=0.0)
        chat = Chat(Endpoint(model=arm, base_url=url, price=free), api_key="none")
        proposer = OpenAIProposer(chat)
        return [
            _named(index, seed, images=images, proposer=proposer)
            for seed in range(seeds)
            for index in FEATURES
        ]


def _named(index: int, seed: int, *, images: int, proposer: Proposer | None = None) -> Named:
    shop = Workshop(proposer)
    start: NamingState = {
        "schema": SCHEMA,
        "run": f"{index}-{seed}",
        "feature": Feature(dictionary="fake", index=index),
        "settings": RunSettings(seed=seed, limits=Limits.of(images)),
        "spent": Spent(),
        "drawn": 0,
    }
    config: Any = {"configurable": {"thread_id": "t"}, "recursion_limit": 60}
    ended = build_graph(InMemorySaver()).invoke(start, config, context=shop.toolbox)
    return Named(world().features[index].truth, cast(NamingState, ended)["explanation"])


def main() -> None:
    """Print a row an arm."""
    told = argparse.ArgumentParser(description=__doc__)
    told.add_argument("--seeds", type=int, default=2)
    told.add_argument("--images", type=int, default=100, help="search images a feature")
    told.add_argument("--arms", default=",".join(ARMS))
    chosen = told.parse_args()
    print(f"{'arm':<10} {'right':>8} {'calls':>6} {'images':>7}", flush=True)
    for arm in chosen.arms.split(","):
        named = run_arm(arm, seeds=chosen.seeds, images=chosen.images)
        right, count = sum(each.right for each in named), len(named)
        calls = sum(each.told.cost.llm_calls for each in named) / count
        images = sum(each.told.images.search for each in named) / count
        print(f"{arm:<10} {f'{right}/{count}':>8} {calls:>6.1f} {images:>7.1f}", flush=True)


if __name__ == "__main__":
    main()

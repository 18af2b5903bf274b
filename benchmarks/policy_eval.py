"""The openai proposer led by the policy, beside the lexical one: python -m benchmarks.policy_eval --out DIR.

Runs a suite (or a sample of planted features) once with the lexical proposer and once for each way of
withholding evidence from the policy, and prints accuracy, LLM calls and search images a feature.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.policy import Policy, Trust
from benchmarks.policy_reading import Blank
from benchmarks.policy_server import server_of
from evals.cell import Cell
from evals.cell_result import rightly
from evals.results import Results

KINDS = ("mono", "hierarchy", "and", "or", "not")
ARMS = ("lexical", "policy", "scores", "failures")
HEAD = """schema = 1
name = "{name}"
description = "Planted features for the policy server."
seed = {seed}
proposer = "lexical"
images = {images}
sealed = 16
conditions = ["agent"]
"""
GROUP = """
[[features]]
group = "{kind}"
select = "planted{at}#kind={kind}"
sample = {sample}
"""


class Wanted(NamedTuple):
    """What is run."""

    suite: str
    """A name or a file."""
    out: Path
    trust: Trust


class Figures(NamedTuple):
    """How one arm did."""

    arm: str
    features: int
    """With a concept; accuracy is of these."""
    right: int
    abstained: str
    """Rightly abstained of those without a concept."""
    calls: float
    images: float
    failed: int

    def line(self) -> str:
        """One row of the table."""
        accuracy = self.right / self.features if self.features else 0.0
        return (
            f"{self.arm:<10} {accuracy:>8.2f} ({self.right}/{self.features}) {self.abstained:>9} "
            f"{self.calls:>7.1f} {self.images:>7.1f} {self.failed:>7}"
        )


def run_arm(arm: str, wanted: Wanted) -> Figures:
    """Run what is missing of an arm and count."""
    out = wanted.out / arm
    if arm == "lexical":
        _run(wanted.suite, out, proposer="lexical", url=None)
    else:
        blank: Blank = "scores" if arm == "scores" else "failures" if arm == "failures" else ""
        with server_of(Policy(wanted.trust, blank=blank)).serve() as url:
            _run(wanted.suite, out, proposer="openai", url=url, model=f"policy-{arm}-{wanted.trust.told}")
    results = Results(out)
    return figures_of(arm, [cell for cell in results.cells(results.record()) if cell.condition == "agent"])


def figures_of(arm: str, cells: Sequence[Cell]) -> Figures:
    """Count cells of one arm."""
    known = [cell for cell in cells if cell.truth is not None and cell.truth.concept]
    nothing = [cell for cell in cells if cell.truth is not None and not cell.truth.concept]
    count = max(1, len(cells))
    return Figures(
        arm=arm,
        features=len(known),
        right=sum(cell.grade.right is True for cell in known),
        abstained=f"{sum(map(rightly, nothing))}/{len(nothing)}",
        calls=sum(cell.answer.cost.llm_calls for cell in cells) / count,
        images=sum(cell.answer.images for cell in cells) / count,
        failed=sum(cell.answer.failed for cell in cells),
    )


def planted_suite(folder: Path, *, seed: int, sample: int, images: int) -> str:
    """The file of a suite of planted features of every kind, ``sample`` each."""
    at = f"@{seed}" if seed else ""
    groups = "".join(GROUP.format(kind=kind, at=at, sample=sample) for kind in KINDS)
    path = folder / f"planted-{seed}.toml"
    path.write_text(HEAD.format(name=f"policy-planted-{seed}", seed=0, images=images) + groups)
    return str(path)


def _run(suite: str, out: Path, *, proposer: str, url: str | None, model: str = "") -> None:
    told = dict(os.environ)
    if url is not None:
        told |= {"OPENAI_API_KEY": "none", "OPENAI_BASE_URL": url, "OPENAI_MODEL": model}
        told |= {"NAMESAE_OPENAI_PRICE_PROMPT": "0", "NAMESAE_OPENAI_PRICE_COMPLETION": "0"}
    command = [sys.executable, "-m", "namesae", "evals", "run", suite, "--conditions", "agent", "-q"]
    # A cell that failed is counted, not raised.
    subprocess.run(
        [*command, "--proposer", proposer, "--out", str(out)],
        env=told,
        check=False,
        stdout=subprocess.DEVNULL,
    )


def main() -> None:
    """Run the arms and print a table."""
    told = argparse.ArgumentParser(description=__doc__)
    told.add_argument("--out", type=Path, required=True)
    told.add_argument("--suite", default="sandbox-quick")
    told.add_argument("--planted", type=int, metavar="SEED", help="planted features of this seed instead")
    told.add_argument("--sample", type=int, default=4, help="planted features of each kind")
    told.add_argument("--images", type=int, default=60, help="search images a planted feature")
    told.add_argument("--arms", default=",".join(ARMS))
    told.add_argument("--trust", type=float, default=Trust().readings, help="log odds of 1 of F1")
    chosen = told.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    suite = chosen.suite
    if chosen.planted is not None:
        suite = planted_suite(chosen.out, seed=chosen.planted, sample=chosen.sample, images=chosen.images)
    wanted = Wanted(suite, chosen.out, Trust(readings=chosen.trust))
    print(
        f"{'arm':<10} {'accuracy':>14} {'abstained':>9} {'calls':>7} {'images':>7} {'failed':>7}", flush=True
    )
    for arm in chosen.arms.split(","):
        print(run_arm(arm, wanted).line(), flush=True)


if __name__ == "__main__":
    main()

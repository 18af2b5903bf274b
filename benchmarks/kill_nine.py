"""``python benchmarks/kill_nine.py --kills 10 --features 3 --seed 0``: what a naming loses when it is killed.

In one home the features are named undisturbed. In another the same command is killed with SIGKILL at random
moments, every second time together with the embedded Redis, and repeated until it ends. Exit 1 unless both
homes hold the same names, nothing recorded was drawn again and a kill cost at most the batch in flight.

Moments are drawn over the whole length of the undisturbed run and told by what it had drawn by then, so that
the kills strike all over the killed run too, however often it has to start again.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from agent.records import Explanation
from benchmarks.home import LIMIT_S, Home, Order, Run, explanations_in, home_in, kill
from tools.draw_log import DrawEntry, interrupted, redrawn

POLL_S = 0.02
FOLLOWING = 2
"""Batches that follow the one in which the last kill strikes, in a run of more than as many."""


class Mark(NamedTuple):
    """How far a run had come at one line of its draw log."""

    second: float
    """Since the process started."""
    recorded: int
    """Images."""
    drawing: bool


class Moment(NamedTuple):
    """When to kill: so many seconds after the process came as far as the mark, or at the next record."""

    mark: Mark
    wait: float

    @property
    def second(self) -> float:
        """When that was in the undisturbed run."""
        return self.mark.second + self.wait


class Strike(NamedTuple):
    """A kill: when it struck, and what had been acknowledged by then."""

    moment: Moment
    process: int
    seconds: float
    """How long the process had lived."""
    struck: bool
    """False where the process had ended by itself."""
    server: bool
    """Whether the embedded Redis and its watcher were killed too."""
    entries: tuple[DrawEntry, ...]
    explanations: tuple[Explanation, ...]

    def __str__(self) -> str:
        how = ("naming and Redis" if self.server else "naming") if self.struck else "nothing: it had ended"
        at = f"{recorded(self.entries)} images recorded"
        doing = "drawing" if interrupted_by(self.entries, self.process) else "not drawing"
        return f"{how:<22} after {self.seconds:6.1f} s   {at}, {doing}, {len(self.explanations)} names told"


class Result(NamedTuple):
    """Both runs, and the kills of the second."""

    alone: Run
    killed: Run
    strikes: tuple[Strike, ...]


def recorded(entries: Sequence[DrawEntry]) -> int:
    """Images recorded so far."""
    return sum(len(entry.images) for entry in entries if entry.event == "recorded")


def interrupted_by(entries: Sequence[DrawEntry], process: int) -> int:
    """Batches that a process began and did not record."""
    return sum(entry.process.endswith(f":{process}") for entry in interrupted(entries))


def timeline(run: Run) -> list[Mark]:
    """How far an undisturbed run had come at its start and at every line of its draw log."""
    marks = [Mark(0.0, 0, drawing=False)]
    for entry in run.entries:
        more = len(entry.images) if entry.event == "recorded" else 0
        marks.append(Mark(entry.at - run.began, marks[-1].recorded + more, drawing=entry.event == "draw"))
    return marks


def moments(marks: Sequence[Mark], count: int, *, seed: int) -> list[Moment]:
    """One moment at random in each of ``count`` equal parts of a run, up to its last recorded image.

    The last is moved to the beginning of a batch, so that one kill at least strikes while images are drawn.
    None lies later than the last batch that ``FOLLOWING`` others follow, so that none comes after the end.
    """
    rng = random.Random(seed)
    batches = [mark for mark in marks if mark.drawing]
    latest = batches[-1 - FOLLOWING] if len(batches) > FOLLOWING else batches[-1]
    part, found, at = marks[-1].second / count, list[Moment](), 0
    for number in range(count):
        second = part * (number + rng.random())
        at = bisect_right([mark.second for mark in marks], second) - 1
        moment = Moment(marks[at], wait=second - marks[at].second)
        found.append(moment if moment.mark <= latest else Moment(latest, wait=0.0))
    following = next((mark for mark in marks[at:] if mark.drawing), latest)
    return [*found[:-1], Moment(min(following, latest), wait=0.0)]


def strike(order: Order, home: Home, moment: Moment, *, server: bool) -> Strike:
    """Start the command and kill it at a moment; ``server``: its Redis as well."""
    began = time.monotonic()
    process, out = home.start(order)
    victims: list[int] = []
    try:
        while process.poll() is None and not _reached(home.entries(), moment.mark, process=process.pid):
            if time.monotonic() - began > LIMIT_S:
                raise TimeoutError(f"A killed run did not come as far as {moment.mark} in {LIMIT_S:.0f} s.")
            time.sleep(POLL_S)
        reached, until = recorded(home.entries()), time.monotonic() + moment.wait
        # A run that is faster than the undisturbed one was must not wait itself past the end.
        while process.poll() is None and time.monotonic() < until and recorded(home.entries()) <= reached:
            time.sleep(POLL_S)
        victims = home.server_processes() if server and process.poll() is None else []
        seconds, seen = time.monotonic() - began, home.entries()
    finally:
        # The server before its watcher, which would otherwise have it leave in order.
        kill(process, also=victims)
    struck = process.returncode == -signal.SIGKILL
    return Strike(moment, process.pid, seconds, struck, bool(victims), seen, explanations_in(out))


def _reached(entries: Sequence[DrawEntry], mark: Mark, *, process: int) -> bool:
    so_far = recorded(entries)
    if so_far < mark.recorded or not mark.drawing:
        return so_far >= mark.recorded
    has_drawn = any(entry.process.endswith(f":{process}") for entry in entries)
    return interrupted_by(entries, process) > 0 or (so_far > mark.recorded and has_drawn)


def experiment(
    order: Order, folder: Path, *, kills: int, seed: int, tell: Callable[[str], None] = print
) -> Result:
    """Run the command undisturbed in one home, and killed ``kills`` times in another."""
    with home_in(folder / "alone") as home:
        alone = home.complete(order)
    marks = timeline(alone)
    seconds, images = marks[-1].second, marks[-1].recorded
    tell(f"undisturbed: {len(alone.explanations)} names, last of {images} images after {seconds:.0f} s")
    strikes = []
    with home_in(folder / "killed") as home:
        for number, moment in enumerate(moments(marks, kills, seed=seed), 1):
            strikes.append(strike(order, home, moment, server=number % 2 == 0))
            tell(f"kill {number:>2}: {strikes[-1]}")
        killed = home.complete(order)
    return Result(alone, killed, tuple(strikes))


def faults(result: Result) -> list[str]:
    """All that is not as it must be; empty where the kills did no harm."""
    alone, killed, strikes = result
    late = [str(number) for number, each in enumerate(strikes, 1) if not each.struck]
    allowed = {each.process for each in strikes if each.struck}
    left = Counter(int(each.process.rpartition(":")[2]) for each in interrupted(killed.entries))
    final = set(killed.entries)
    many = left.keys() - allowed or max(left.values(), default=0) > 1
    wrong: dict[str, object] = {
        f"kills that came after the end: {', '.join(late)}": late,
        "no image was recorded": not recorded(alone.entries),
        "the results differ": _essence(alone.explanations) != _essence(killed.explanations),
        "other images were drawn": _images(alone.entries) != _images(killed.entries),
        f"recorded images drawn again: {redrawn(killed.entries)}": redrawn(killed.entries),
        f"unrecorded batches by process: {dict(left)}": many,
        "lines of the draw log were lost": any(set(each.entries) - final for each in strikes),
        "a name that had been told was not kept": any(_forgotten(each, killed) for each in strikes),
    }
    return [sentence for sentence, holds in wrong.items() if holds]


def _essence(explanations: Sequence[Explanation]) -> list[object]:
    return [(each.feature, each.name, each.parts, each.verdict, each.sealed) for each in explanations]


def _images(entries: Sequence[DrawEntry]) -> set[str]:
    return {image for entry in entries if entry.event == "recorded" for image in entry.images}


def _forgotten(strike: Strike, killed: Run) -> bool:
    kept = [each.model_copy(update={"stored": True}) for each in killed.explanations]
    return any(each.model_copy(update={"stored": True}) not in kept for each in strike.explanations)


def table(result: Result) -> str:
    """Both runs side by side, feature by feature and image by image."""
    alone, killed, _ = result
    rows: list[tuple[str, ...]] = [("", "undisturbed", "killed")]
    for one, other in zip(alone.explanations, killed.explanations, strict=True):
        rows.append((str(one.feature), *(f"{each.name}, {each.verdict}" for each in (one, other))))
    logs = (alone.entries, killed.entries)
    drawn = [sum(len(each.images) for each in log if each.event == "draw") for log in logs]
    rows += [
        ("images recorded", *(str(recorded(log)) for log in logs)),
        ("images drawn", *(str(count) for count in drawn)),
        ("batches drawn in vain", *(str(len(interrupted(log))) for log in logs)),
        ("recorded images drawn again", *(str(len(redrawn(log))) for log in logs)),
    ]
    return "\n".join(f"{what:<30} {one:<32} {other}" for what, one, other in rows)


def main() -> int:
    """Carry out the experiment on the embedded dictionary; 1 where the kills did harm."""
    parser = argparse.ArgumentParser(prog="python benchmarks/kill_nine.py", description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--features", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0, help="of the moments, the features and the namings")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kill-nine-") as folder:
        order = embedded(args.features, seed=args.seed)
        result = experiment(order, Path(folder), kills=args.kills, seed=args.seed)
    wrong = faults(result)
    print(table(result), *(wrong or ["The kills did no harm."]), sep="\n")
    return 1 if wrong else 0


def embedded(features: int, *, seed: int) -> Order:
    """Features of the embedded dictionary whose truth is known."""
    sample = ("--sample", str(features), "--seed", str(seed))
    return Order(("name", "sandbox#truth>=0.8", *sample, "--json"))


if __name__ == "__main__":
    sys.exit(main())

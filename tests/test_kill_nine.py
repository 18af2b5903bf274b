"""Killed at any moment and repeated, a naming ends with the same names and draws no recorded image again."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.records import Explanation
from benchmarks.home import Order, Run, explanations_in, home_in
from benchmarks.kill_nine import (
    Mark,
    Moment,
    Result,
    Strike,
    embedded,
    experiment,
    faults,
    moments,
    recorded,
    strike,
    table,
    timeline,
)
from sae.feature import Feature
from tools.draw_log import DrawEntry, DrawEvent

PLANTED = Order(("name", "fake#0,4", "--json", "--seed", "5"), fakes=True)


def entry(event: DrawEvent, *images: str, batch: str, process: int = 1, at: float = 0.0) -> DrawEntry:
    return DrawEntry(event=event, batch=batch, images=images, run="r", process=f"here:{process}", at=at)


def batch(*images: str, process: int = 1, at: float = 0.0) -> tuple[DrawEntry, DrawEntry]:
    """Two seconds of drawing."""
    begun = entry("draw", *images, batch=images[0], process=process, at=at)
    return begun, entry("recorded", *images, batch=images[0], process=process, at=at + 2)


def answer(name: str, *, stored: bool = False) -> Explanation:
    feature = Feature(dictionary="fake", index=0)
    return Explanation(feature=feature, name=name, verdict="named", confidence=0.9, run="r", stored=stored)


STRIPED = answer("striped")
ALONE = Run(100.0, (STRIPED,), (*batch("a", "b", at=110), *batch("c", at=113)))
CUT_SHORT = entry("draw", "c", batch="cut", process=7, at=213)


def killed(*entries: DrawEntry, name: str = "striped", seen: Strike | None = None) -> Result:
    """A run of process 8 that goes on where process 7 was killed."""
    start = batch("a", "b", process=7, at=210)
    strike = Strike(Moment(Mark(12.0, 2, drawing=False), 0.5), 7, 12.5, True, False, start, ())
    run = Run(200.0, (answer(name),), (*start, *entries))
    return Result(ALONE, run, (seen or strike,))


LAST = batch("c", process=8, at=215)


def test_moments_lie_in_equal_parts_and_are_told_by_the_work_done() -> None:
    marks = timeline(ALONE)
    assert marks == [
        Mark(0.0, 0, drawing=False),
        Mark(10.0, 0, drawing=True),
        Mark(12.0, 2, drawing=False),
        Mark(13.0, 2, drawing=True),
        Mark(15.0, 3, drawing=False),
    ]
    *found, last = moments(marks, 30, seed=3)
    assert [int(moment.second / 0.5) for moment in found] == list(range(29))
    assert all(moment.mark.recorded < 3 and moment.wait >= 0 for moment in found)
    assert {moment.mark for moment in found} == set(marks[:-1])
    assert last == Moment(marks[3], wait=0.0)
    assert moments(marks, 2, seed=0)[1].mark == marks[3]
    assert [*found, last] == moments(marks, 30, seed=3) != moments(marks, 30, seed=4)


def test_no_moment_lies_later_than_a_batch_that_two_others_follow() -> None:
    marks = timeline(
        Run(100.0, (), tuple(each for at in range(110, 130, 3) for each in batch(str(at), at=at)))
    )
    assert len(marks) == 15
    found = [moment.mark for moment in moments(marks, 40, seed=3)]
    assert max(found) == marks[9]
    assert set(found) == set(marks[:10])


def test_a_batch_in_flight_is_what_a_kill_may_cost() -> None:
    assert faults(killed(*LAST)) == []
    assert faults(killed(CUT_SHORT, *LAST)) == []
    assert "batches drawn in vain          0                                1" in table(
        killed(CUT_SHORT, *LAST)
    )


@pytest.mark.parametrize(
    ("result", "fault"),
    [
        (killed(*LAST, name="dotted"), "results differ"),
        (killed(*batch("d", process=8)), "other images"),
        (killed(entry("draw", "a", batch="again", process=8), *LAST), "drawn again"),
        (killed(CUT_SHORT, entry("draw", "c", batch="2", process=7), *LAST), "unrecorded batches"),
        (killed(entry("draw", "c", batch="2", process=8), *LAST), "unrecorded batches"),
    ],
)
def test_harm_is_seen(result: Result, fault: str) -> None:
    assert [sentence for sentence in faults(result) if fault in sentence]


def test_a_kill_that_struck_nothing_and_a_loss_of_what_was_told_are_seen() -> None:
    (strike,) = killed(*LAST).strikes
    assert faults(killed(*LAST, seen=strike._replace(explanations=(STRIPED,)))) == []
    assert "after the end: 1" in faults(killed(*LAST, seen=strike._replace(struck=False)))[0]
    lost = strike._replace(entries=(CUT_SHORT,), explanations=(answer("dotted"),))
    assert len(faults(killed(*LAST, seen=lost))) == 2
    nothing = Result(Run(0.0, (STRIPED,), ()), Run(0.0, (STRIPED,), ()), ())
    assert faults(nothing) == ["no image was recorded"]


def test_a_line_cut_short_was_not_told(tmp_path: Path) -> None:
    line = f'{{"schema": 1, "type": "feature", {STRIPED.model_dump_json()[1:]}\n'
    (tmp_path / "out").write_text(f'{{"schema": 1, "type": "launch"}}\n{line}{line[:50]}')
    assert explanations_in(tmp_path / "out") == (STRIPED,)


@pytest.mark.timeout(300)
def test_kills_do_no_harm_to_planted_features(tmp_path: Path) -> None:
    result = experiment(PLANTED, tmp_path, kills=2, seed=1)
    assert faults(result) == []
    assert [strike.server for strike in result.strikes] == [False, True]


@pytest.mark.timeout(300)
def test_a_run_faster_than_the_undisturbed_one_is_struck_before_its_end(tmp_path: Path) -> None:
    with home_in(tmp_path / "home") as home:
        seen = strike(PLANTED, home, Moment(Mark(0.0, 0, drawing=False), wait=200.0), server=False)
    assert seen.struck
    assert seen.explanations == ()
    assert recorded(seen.entries) > 0


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_kills_do_no_harm_to_features_of_the_embedded_dictionary(tmp_path: Path) -> None:
    result = experiment(embedded(2, seed=7), tmp_path, kills=4, seed=0)
    assert faults(result) == []
    assert [strike.server for strike in result.strikes] == [False, True, False, True]
    assert recorded(result.strikes[-1].entries) > 0

"""The draw log comes back in order, and its proofs see what they are for."""

from __future__ import annotations

import redis

from tools import draw_log
from tools.draw_log import DrawEntry, DrawEvent, DrawLog, interrupted, redrawn


def entry(event: DrawEvent, *images: str, batch: str = "1") -> DrawEntry:
    return DrawEntry(event=event, batch=batch, images=images, run="r", process="p", at=0.0)


def test_lines_come_back_in_order_over_several_pages(redis: redis.Redis) -> None:
    log = DrawLog(redis)
    count = draw_log._PAGE + 7
    for n in range(count):
        log.add("draw", [f"image{n}", "other"], batch=str(n), run="run")
    entries = list(log.entries())
    assert [line.batch for line in entries] == [str(n) for n in range(count)]
    assert entries[3].images == ("image3", "other") and entries[3].run == "run"
    assert entries[0].at <= entries[-1].at


def test_an_empty_log_has_no_lines(redis: redis.Redis) -> None:
    assert list(DrawLog(redis).entries()) == []


def test_a_recorded_image_drawn_again_is_found() -> None:
    lines = [entry("draw", "a", "b"), entry("recorded", "a", "b"), entry("draw", "b", "c", batch="2")]
    assert redrawn(lines) == ["b"]


def test_a_killed_batch_drawn_again_is_no_repetition() -> None:
    lines = [entry("draw", "a"), entry("draw", "a", batch="2"), entry("recorded", "a", batch="2")]
    assert redrawn(lines) == []
    assert [line.batch for line in interrupted(lines)] == ["1"]


def test_an_image_that_vanished_may_be_drawn_again_once() -> None:
    lines = [entry("recorded", "a"), entry("vanished", "a"), entry("draw", "a"), entry("recorded", "a")]
    assert redrawn(lines) == []
    assert redrawn([*lines, entry("draw", "a")]) == ["a"]

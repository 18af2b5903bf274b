"""How far a command is: lines that are due, bars, and silence."""

from __future__ import annotations

import pytest

from namesae.image_progress import ImageProgress
from namesae.meter import Mark, Meter


def test_lines_come_when_due_and_at_the_end_of_each_bar(capsys: pytest.CaptureFixture[str]) -> None:
    now = iter([100.0, 101.0, 109.9, 110.0, 119.9, 120.0])
    with Meter(bar=False, clock=lambda: next(now)) as shown:
        for name, done in (("a", 1), ("b", 1), ("a", 2), ("a", 3), ("b", 2), ("a", 4)):
            shown.show(Mark(name, done, 4), f"{name} {done}", last=(name, done) == ("a", 4))
    assert capsys.readouterr().err.splitlines() == ["  a 3", "  b 2", "  a 4"]


def test_images_that_were_there_before_are_no_news(capsys: pytest.CaptureFixture[str]) -> None:
    with ImageProgress(bar=False) as progress:
        progress(7, 7)
    assert not capsys.readouterr().err
    with ImageProgress(bar=False) as progress:
        progress(0, 1_007)
        progress(7, 1_007)
        progress(1_007, 1_007, "   2 left out")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("  1,007 of 1,007 images   ") and line.endswith(" a second   2 left out")


def test_a_bar_is_shown_where_it_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with Meter(bar=True) as shown:
        for done in (2, 5):
            shown.show(Mark("dense", done, 5, "FVU 0.2"), "a line", last=False)
    err = capsys.readouterr().err
    assert "dense" in err and "5/5" in err and "FVU 0.2" in err and "a line" not in err


@pytest.mark.parametrize("bar", [True, False])
def test_quiet_shows_nothing(capsys: pytest.CaptureFixture[str], bar: bool) -> None:
    with Meter(quiet=True, bar=bar) as shown:
        shown.show(Mark("dense", 5, 5), "a line", last=True)
    assert not capsys.readouterr().err

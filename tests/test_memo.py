"""What evaluations remember within a process, and what they count."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from evals.memo import Memo, Meter, RememberedDraw
from tests.naming_world import world
from tools.protocols import DrawnImage, DrawRequest


@given(st.lists(st.lists(st.integers(0, 20), max_size=7), max_size=6))
def test_everything_is_asked_once_and_answered_in_order(calls: list[list[int]]) -> None:
    asked: list[int] = []

    def square(wanted: Sequence[int]) -> list[int]:
        assert wanted, "nothing is asked where nothing is missing"
        asked.extend(wanted)
        return [each * each for each in wanted]

    memo = Memo(square)
    assert [memo(call) for call in calls] == [[each * each for each in call] for call in calls]
    assert sorted(asked) == sorted({each for call in calls for each in call})


def test_a_meter_counts_a_search_and_not_a_judge() -> None:
    class Counting:
        """The fake generator, counted."""

        def __init__(self) -> None:
            self.whole = world().draw
            self.card, self.fingerprint, self.requests = self.whole.card, self.whole.fingerprint, 0

        def __call__(self, requests: Sequence[DrawRequest]) -> list[DrawnImage]:
            self.requests += len(requests)
            return self.whole(requests)

    counting = Counting()
    remembered = RememberedDraw(counting)
    wanted = [DrawRequest(prompt="fish", seed=seed) for seed in (0, 1, 2**33)]
    first, second = Meter(remembered), Meter(remembered)
    assert first([*wanted, wanted[0]])[0] == second(wanted)[0]
    assert counting.requests == 3
    assert len(first.images) == len(second.images) == 2 and all(len(each) == 16 for each in first.images)

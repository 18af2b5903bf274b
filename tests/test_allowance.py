"""A batch has limits of its own, kept in one place whatever is killed or runs beside."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest
import redis as redis_module
from hypothesis import given
from hypothesis import strategies as st

from agent.allowance import BatchAllowance
from agent.budget import Allowance, BatchLimits, Limits, Share
from agent.records import Cost, Explanation, ImageCount
from sae.feature import Feature
from tools import keys
from tools.errors import IntegrityError

RUN = Limits(images=100, sealed=50, usd=0.10, llm_calls=24)


def ended(
    *, images: int = 120, usd: float | None = 0.02, stored: bool = False, at: float = 2e9
) -> Explanation:
    return Explanation(
        feature=Feature(dictionary="d", index=1),
        name="fish",
        verdict="named",
        confidence=0.9,
        images=ImageCount(search=images - 50, sealed=50, charged=images),
        cost=Cost(llm_calls=3, prompt_tokens=1000, completion_tokens=100, usd=usd, seconds=9.0),
        created=datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds"),
        stored=stored,
    )


def test_a_run_may_use_the_least_of_its_limits_and_what_is_left() -> None:
    limits = BatchLimits(images=400, usd=0.15, llm_calls=30, tokens=5000, seconds=60.0)
    spent = Share(images=290, llm_calls=10, tokens=2000, usd=0.07, seconds=20.0)
    lowered = Allowance(limits, spent).next_run(RUN)
    assert (lowered.images, lowered.race_images, lowered.sealed) == (60, 21, 50)
    assert (lowered.usd, lowered.llm_calls, lowered.tokens, lowered.seconds) == (0.08, 20, 3000, 40.0)
    assert Allowance(BatchLimits(), spent).next_run(RUN) == RUN


@pytest.mark.parametrize(
    ("limits", "spent", "paid", "stop"),
    [
        (BatchLimits(), Share(images=10**6, usd=99.0), True, None),
        (BatchLimits(images=100), Share(images=42), False, None),
        (BatchLimits(images=100), Share(images=43), False, "images"),
        (BatchLimits(usd=1.0), Share(usd=1.0), True, "usd"),
        (BatchLimits(usd=1.0), Share(usd=1.0), False, None),
        (BatchLimits(usd=0.0), Share(), True, "usd"),
        (BatchLimits(llm_calls=3), Share(llm_calls=3), True, "llm_calls"),
        (BatchLimits(tokens=5), Share(tokens=9), True, "tokens"),
        (BatchLimits(seconds=5.0), Share(seconds=5.0), False, "seconds"),
        (BatchLimits(usd=1.0), Share(usd=None), True, None),
    ],
)
def test_the_limit_that_stops_a_batch_is_named(
    limits: BatchLimits, spent: Share, paid: bool, stop: str | None
) -> None:
    assert Allowance(limits, spent).exhausted(RUN, paid=paid) == stop


@given(st.integers(58, 2000), st.integers(0, 2000), st.floats(0.001, 5), st.floats(0, 5))
def test_no_run_is_ever_granted_more_than_is_left(images: int, used: int, usd: float, paid: float) -> None:
    allowance = Allowance(BatchLimits(images=images, usd=usd), Share(images=used, usd=paid))
    if allowance.exhausted(RUN, paid=True) is None:
        most = Share.most(allowance.next_run(RUN))
        assert most.images + used <= images
        assert (most.usd or 0) + paid <= usd + 1e-6


def test_what_runs_take_is_charged_once_and_the_next_gets_the_rest(redis: redis_module.Redis) -> None:
    batch = BatchAllowance(redis, "b")
    batch.open(BatchLimits(images=320, usd=0.12))
    first = batch.grant("d#1", RUN, paid=True, now=1e9)
    assert first.limits == RUN
    assert batch.allowance().spent == Share.most(RUN)
    for _ in range(2):
        batch.charge("d#1", ended())
    assert batch.allowance().spent == Share(images=120, llm_calls=3, tokens=1100, usd=0.02, seconds=9.0)
    second = batch.grant("d#2", RUN, paid=True, now=1e9)
    assert second.limits is not None and second.limits.usd == 0.10
    third = batch.grant("d#3", RUN, paid=True, now=1e9)
    assert third == (None, "images")
    assert batch.stopped() == {"d#3": "images"}
    batch.open(BatchLimits(images=1000, usd=0.5))
    assert batch.grant("d#3", RUN, paid=True, now=1e9).limits == RUN
    assert batch.stopped() == {}


def test_a_killed_batch_goes_on_with_what_it_had_granted(redis: redis_module.Redis) -> None:
    limits = BatchLimits(images=270)
    first = BatchAllowance(redis, "b")
    first.open(limits)
    first.grant("d#1", RUN, paid=False, now=1e9)
    lowered = first.grant("d#2", RUN, paid=False, now=1e9)
    assert lowered.limits is not None and lowered.limits.images == 70
    again = BatchAllowance(redis, "b")
    again.open(limits)
    assert again.grant("d#2", RUN, paid=False, now=2e9) == lowered
    again.charge("d#1", ended(images=60, stored=True, at=1e9 + 5))
    assert again.allowance().spent.images == 60 + 120
    other = RUN.model_copy(update={"images": 80})
    regranted = again.grant("d#2", other, paid=False, now=2e9)
    assert regranted.limits == other


def test_an_answer_that_is_older_than_the_batch_takes_nothing(redis: redis_module.Redis) -> None:
    batch = BatchAllowance(redis, "b")
    batch.grant("d#1", RUN, paid=True, now=2e9)
    batch.charge("d#1", ended(stored=True, at=1e9))
    assert batch.allowance().spent == Share()
    batch.charge("d#9", ended())
    assert batch.allowance().spent == Share()


def test_what_is_unknown_is_charged_with_all_it_was_granted(redis: redis_module.Redis) -> None:
    batch = BatchAllowance(redis, "b")
    batch.open(BatchLimits(usd=1.0))
    batch.grant("d#1", RUN, paid=True, now=1e9)
    batch.charge("d#1", ended(usd=None))
    assert batch.allowance().spent.usd == 0.10


def test_processes_that_grant_at_once_never_grant_too_much(redis: redis_module.Redis) -> None:
    batch = BatchAllowance(redis, "b")
    batch.open(BatchLimits(images=1000))
    granted: list[int] = []

    def work(worker: int) -> None:
        for at in range(5):
            told = batch.grant(f"d#{worker * 5 + at}", RUN, paid=False, now=1e9).limits
            granted.append(0 if told is None else told.images + told.sealed)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for each in workers:
        each.start()
    for each in workers:
        each.join()
    assert sum(granted) == 1000 == batch.allowance().spent.images
    assert granted.count(0) == 13 == len(batch.stopped())


def test_batches_do_not_share_and_damage_is_told(redis: redis_module.Redis) -> None:
    one, other = BatchAllowance(redis, "a:b"), BatchAllowance(redis, "a")
    one.grant("d#1", RUN, paid=False, now=1e9)
    assert other.allowance().spent == Share()
    redis.hset(keys.allowance("a"), "run:d#1", b"{}")
    with pytest.raises(IntegrityError, match="begin another batch"):
        other.allowance()

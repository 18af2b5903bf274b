"""What one run drew, every later run can ask about; what the judge saw, none can."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.bank_rows import FEATURES, ListBank, assert_same, random_rows, row, same_row
from tools import keys
from tools.bank import SEALED_FROM, Bank
from tools.bank_tail import PAGE
from tools.protocols import SparseCode

FIVE = [
    row("stripes", 1, f3=1.0),
    row("stripes", 2, f3=2.0),
    row("fish", 1, f3=4.0),
    row("fish", 2, f4=9.0),
    row("sky", 1, f4=1.0),
]


@pytest.fixture(params=["tail", "segment"])
def moved(request: pytest.FixtureRequest) -> bool:
    """Whether the rows of a test lie in a segment."""
    return bool(request.param == "segment")


def bank_of(
    client: redis.Redis, folder: Path, *, score: str = "score", compact_from: int | None = None
) -> Bank:
    return Bank(client, score=score, generator="generator", folder=folder, compact_from=compact_from)


def filled(client: redis.Redis, folder: Path, rows: Any, *, moved: bool) -> Bank:
    bank = bank_of(client, folder)
    bank.add(rows)
    if moved:
        assert bank.compact()
        assert bank.describe().tail == 0
    return bank


def test_an_image_comes_back_with_its_prompt_seed_and_code(
    redis: redis.Redis, tmp_path: Path, moved: bool
) -> None:
    kept = row("a red fish\nby the séa", 7, f3=0.5, f70000=1.0000001)
    bank = filled(redis, tmp_path, [kept, *FIVE], moved=moved)
    same_row(bank.row(kept.image), kept)
    same_row(bank_of(redis, tmp_path).row(kept.image), kept)
    assert bank.row("0" * 64) is None


def test_prompts_are_ranked_by_their_mean_over_all_their_images(
    redis: redis.Redis, tmp_path: Path, moved: bool
) -> None:
    bank = filled(redis, tmp_path, FIVE, moved=moved)
    assert bank.prompts_that_fire(3, top=5) == [("fish", 2.0, 2), ("stripes", 1.5, 2)]
    assert bank.prompts_that_fire(3, top=1) == [("fish", 2.0, 2)]
    assert bank.prompts_that_fire(5, top=5) == []


def test_responses_hold_the_activations_and_the_prompts_that_did_not_fire(
    redis: redis.Redis, tmp_path: Path, moved: bool
) -> None:
    bank = filled(redis, tmp_path, FIVE, moved=moved)
    assert bank.responses(3) == [("fish", 2, (4.0,)), ("stripes", 2, (2.0, 1.0)), ("sky", 1, ())]
    assert bank.responses(4, top=1, quiet=1) == [("fish", 2, (9.0,)), ("stripes", 2, ())]
    assert bank.responses(9) == [("fish", 2, ()), ("stripes", 2, ()), ("sky", 1, ())]
    assert bank.responses(9, top=0, quiet=0) == []


def test_prompts_that_tie_are_ordered_by_their_text(redis: redis.Redis, tmp_path: Path, moved: bool) -> None:
    rows = [row(f"prompt {at % 10}{at // 10}", at, f3=1.0) for at in range(50)]
    bank = filled(redis, tmp_path, rows, moved=moved)
    found = [each.prompt for each in bank.responses(3, top=7)]
    assert found == sorted(each.prompt for each in rows)[:7]
    assert [each.prompt for each in bank.responses(4, top=7)] == sorted(each.prompt for each in rows)


def test_of_the_quiet_the_most_drawn_are_chosen_and_then_always_the_same(
    redis: redis.Redis, tmp_path: Path
) -> None:
    rows = [row(f"prompt {at}", seed, f3=1.0) for at in range(400) for seed in range(2 if at > 300 else 1)]
    tailed = filled(redis, tmp_path, rows, moved=False)
    before = [tailed.responses(4, quiet=quiet) for quiet in (50, 99, 130)]
    assert all(each.n == 2 for each in before[1])
    assert [each.n for each in before[2]] == [2] * 99 + [1] * 31
    assert tailed.compact()
    assert [tailed.responses(4, quiet=quiet) for quiet in (50, 99, 130)] == before
    # In whatever order they came, and wherever they lie.
    redis.flushdb()
    other = bank_of(redis, tmp_path)
    other.add(rows[::-1][:250])
    other.compact()
    other.add(rows)
    assert [other.responses(4, quiet=quiet) for quiet in (50, 99, 130)] == before


def test_adding_again_changes_nothing(redis: redis.Redis, tmp_path: Path, moved: bool) -> None:
    rows = [row("stripes", seed, f3=float(seed + 1)) for seed in range(3)]
    bank = filled(redis, tmp_path, rows, moved=moved)
    again = row("stripes", 0, f3=99.0)
    assert bank.add([again, *rows, row("stripes", 9, f3=1.0), row("stripes", 9, f3=1.0)]) == 1
    assert len(bank) == 4
    assert bank.prompts_that_fire(3, top=5) == [("stripes", 1.75, 4)]
    assert bank.add([]) == 0


def test_a_negative_activation_is_told_and_does_not_fire(
    redis: redis.Redis, tmp_path: Path, moved: bool
) -> None:
    bank = filled(redis, tmp_path, [row("stripes", 1, f3=-2.0, f4=1.0), row("sky", 1, f3=0.0)], moved=moved)
    assert bank.prompts_that_fire(3, top=5) == []
    assert bank.responses(3) == [("stripes", 1, (-2.0,)), ("sky", 1, ())]
    assert bank.n_firing(np.zeros(5, np.float32)).tolist() == [0, 0, 0, 0, 1]


def test_another_scorer_sees_another_bank(redis: redis.Redis, tmp_path: Path, moved: bool) -> None:
    filled(redis, tmp_path, FIVE, moved=moved)
    other = bank_of(redis, tmp_path, score="other")
    assert other.responses(3) == [] and len(other) == 0
    assert other.compact() and other.describe() == (0, 0, 0, 0, 0)


@pytest.mark.parametrize("seed", [SEALED_FROM, 2**32, 2**47, -1])
def test_a_sealed_image_is_refused_with_all_its_company(
    redis: redis.Redis, tmp_path: Path, seed: int
) -> None:
    with pytest.raises(ValueError, match="sealed"):
        bank_of(redis, tmp_path).add([row("stripes", 1, f3=1.0), row("stripes", seed, f3=1.0)])
    assert redis.dbsize() == 0


@pytest.mark.parametrize(
    ("indices", "values", "told"),
    [
        ([3, 3], [1.0, 1.0], "ascend"),
        ([4, 3], [1.0, 1.0], "ascend"),
        ([-1, 3], [1.0, 1.0], "ascend"),
        ([3], [1.0, 2.0], "pair"),
        ([3], [np.nan], "non-finite"),
    ],
)
def test_a_code_that_is_none_is_refused(
    redis: redis.Redis, tmp_path: Path, indices: list[int], values: list[float], told: str
) -> None:
    code = SparseCode(np.array(indices, np.int32), np.array(values, np.float32))
    with pytest.raises(ValueError, match=told):
        bank_of(redis, tmp_path).add([FIVE[0], FIVE[1]._replace(code=code)])
    with pytest.raises(ValueError, match="sha256"):
        bank_of(redis, tmp_path).add([FIVE[0]._replace(image="ab")])
    assert redis.dbsize() == 0


def test_n_firing_counts_images_over_each_features_threshold(
    redis: redis.Redis, tmp_path: Path, moved: bool
) -> None:
    bank = filled(redis, tmp_path, FIVE, moved=moved)
    assert bank.n_firing(np.array([0, 0, 0, 1.0, 0], np.float32)).tolist() == [0, 0, 0, 2, 2]
    for threshold, told in ((np.full(5, -1), "-1"), (np.full(5, np.nan), "nan"), (np.zeros(4), "beyond")):
        with pytest.raises(ValueError, match=told):
            bank.n_firing(threshold.astype(np.float32))


def test_others_see_what_is_banked_and_moved_at_once(redis: redis.Redis, tmp_path: Path) -> None:
    one, other = bank_of(redis, tmp_path), bank_of(redis, tmp_path)
    plain = ListBank()
    for batch in range(4):
        rows = random_rows(31, seed=batch)
        assert one.add(rows) == plain.add(rows)
        assert_same(other, plain)
        assert (one if batch % 2 else other).compact()
        assert_same(other, plain)
        assert other.add(rows) == 0


def test_a_bank_without_its_redis_begins_anew(redis: redis.Redis, tmp_path: Path) -> None:
    bank = filled(redis, tmp_path, FIVE, moved=True)
    redis.flushdb()
    assert bank.responses(3) == []
    bank.add(FIVE[:3])
    assert_same(bank, ListBank(FIVE[:3]))


def test_more_than_a_page_is_added_read_and_moved(redis: redis.Redis, tmp_path: Path) -> None:
    rows = [row(f"prompt {at % 99}", at, f3=1.0) for at in range(2 * PAGE + 1)]
    bank = bank_of(redis, tmp_path)
    assert bank.add(rows) == len(rows)
    assert bank_of(redis, tmp_path).responses(3) == bank.responses(3) == ListBank(rows).all_responses(3)
    assert bank.compact()
    assert bank.responses(3) == ListBank(rows).all_responses(3)
    assert bank.describe()[:4] == (len(rows), 0, 99, 1)


def test_the_tail_is_moved_when_it_has_grown(redis: redis.Redis, tmp_path: Path) -> None:
    bank, plain = bank_of(redis, tmp_path, compact_from=50), ListBank()
    for batch in range(20):
        rows = random_rows(27, seed=batch)
        bank.add(rows)
        plain.add(rows)
        assert bank.describe().tail < 50
    assert 1 <= bank.describe().segments < 8
    assert_same(bank, plain)
    left = {key for key in redis.scan_iter() if b":bank:" in key}
    wanted = (keys.bank_manifest, keys.bank_tail, keys.bank_images, keys.bank_retired)
    assert left <= {build("score", "generator").encode() for build in wanted}


def test_a_disk_that_cannot_be_written_stops_no_run(
    redis: redis.Redis, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    bank = bank_of(redis, tmp_path / "file", compact_from=3)
    with caplog.at_level(logging.WARNING, logger="tools.bank"):
        assert bank.add(FIVE) == 5
        assert bank.add([row("sea", 1, f3=1.0)]) == 1
    assert len(caplog.records) == 2 and "safe in Redis" in caplog.text
    assert len(bank) == 6


def test_old_banks_are_left_alone(redis: redis.Redis, tmp_path: Path) -> None:
    old = f"{keys.PREFIX}:bank:score:generator:rows"
    redis.hset(old, "image", "row")
    filled(redis, tmp_path, FIVE, moved=True)
    assert redis.hgetall(old) == {b"image": b"row"}


def test_threads_may_share_a_bank(redis: redis.Redis, tmp_path: Path) -> None:
    bank, plain = bank_of(redis, tmp_path, compact_from=40), ListBank()
    parts = [random_rows(60, seed=seed) for seed in range(4)]
    failed: list[BaseException] = []

    def work(rows: Any) -> None:
        try:
            for start in range(0, len(rows), 7):
                bank.add(rows[start : start + 7])
                bank.responses(FEATURES - 1)
        except BaseException as error:  # noqa: BLE001
            failed.append(error)

    threads = [threading.Thread(target=work, args=(part,)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    for part in parts:
        plain.add(part)
    assert_same(bank, plain)


small_rows = st.builds(
    lambda prompt, seed, fires: row(f"p{prompt}", seed, **{f"f{at}": value / 8 for at, value in fires}),
    prompt=st.integers(0, 5),
    seed=st.integers(0, 30),
    fires=st.lists(st.tuples(st.integers(0, FEATURES - 1), st.integers(-3, 60)), max_size=4),
)
steps = st.one_of(
    st.tuples(st.just("add"), st.lists(small_rows, max_size=25)),
    st.tuples(
        st.sampled_from(["compact", "whole", "reopen", "other adds"]), st.lists(small_rows, max_size=3)
    ),
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=st.lists(steps, max_size=14), checked_often=st.booleans())
def test_whatever_happens_a_bank_answers_as_a_list_would(
    redis: redis.Redis, tmp_path_factory: pytest.TempPathFactory, story: Any, checked_often: bool
) -> None:
    folder = tmp_path_factory.mktemp("bank")
    redis.flushdb()
    bank, other, plain = bank_of(redis, folder), bank_of(redis, folder), ListBank()
    for what, rows in story:
        if what == "add":
            assert bank.add(rows) == plain.add(rows)
        elif what == "other adds":
            assert other.add(rows) == plain.add(rows)
        elif what == "reopen":
            bank = bank_of(redis, folder)
        else:
            assert bank.compact(whole=what == "whole")
        if checked_often:
            assert_same(bank, plain)
    assert_same(bank, plain)
    assert_same(other, plain)

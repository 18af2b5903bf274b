"""Nothing recorded is drawn or scored again: not on repetition, in another process, nor after a kill."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import redis

from tests.conftest import RedisServer
from tools.draw_log import DrawLog, interrupted, redrawn
from tools.errors import ToolError
from tools.fakes import FakeGenerator, fake_world
from tools.image_store import ImageStore
from tools.ledger import Ledger
from tools.ledgered import LedgeredDraw, LedgeredScore
from tools.protocols import DrawnImage, DrawRequest, SparseCode

ROOT = Path(__file__).parent.parent
DRAWER = """
import sys, time
from pathlib import Path
from tools.fakes import FakeGenerator
from tools.image_store import ImageStore
from tools.ledger import Ledger
from tools.ledgered import LedgeredDraw
from tools.protocols import DrawRequest
from tools.redis_client import connect

class Slow(FakeGenerator):
    def __call__(self, requests):
        print(len(requests), flush=True)
        time.sleep(float(sys.argv[3]))
        return super().__call__(requests)

store = ImageStore(sys.argv[2])
draw = LedgeredDraw(Slow(store), Ledger(connect(sys.argv[1], Path())), store=store, batch=3)
draw([DrawRequest(prompt="a red fish", seed=seed) for seed in range(int(sys.argv[4]))])
print("drawn", draw.tally.figures.drawn, flush=True)
"""


def asked(count: int, prompt: str = "a red fish") -> list[DrawRequest]:
    return [DrawRequest(prompt=prompt, seed=seed) for seed in range(count)]


def drawer(url: str, store: Path, *, slow_s: float, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", DRAWER, url, str(store), str(slow_s), str(count)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


class Counting:
    """A scorer that remembers what it was given."""

    def __init__(self, score: object) -> None:
        self.batches: list[list[str]] = []
        self._score = score
        self.dictionary, self.fingerprint = "fake", "fingerprint"

    def __call__(self, images: Sequence[str]) -> list[SparseCode]:
        self.batches.append(list(images))
        codes: list[SparseCode] = self._score(images)  # type: ignore[operator]
        return codes


def test_batches_that_do_not_divide_draw_everything_once_and_in_order(
    redis: redis.Redis, image_store: ImageStore
) -> None:
    generator = FakeGenerator(image_store)
    draw = LedgeredDraw(generator, Ledger(redis), store=image_store, batch=3)
    requests = asked(7)
    first = draw(requests)
    assert [drawn.request for drawn in first] == requests
    assert first == FakeGenerator(image_store)(requests)
    assert draw(list(reversed(requests))) == list(reversed(first))
    assert generator.drawn == requests
    assert [len(line.images) for line in DrawLog(redis).entries() if line.event == "draw"] == [3, 3, 1]


def test_the_tally_tells_asked_from_found_from_drawn(redis: redis.Redis, image_store: ImageStore) -> None:
    draw = LedgeredDraw(FakeGenerator(image_store), Ledger(redis), store=image_store)
    draw(asked(5))
    run = draw.for_run("run-2")
    run([*asked(7), *asked(7)])
    assert run.tally.figures == (7, 5, 2, 0)
    assert draw.tally.figures == (5, 0, 5, 0)
    assert [line.run for line in DrawLog(redis).entries() if line.event == "draw"] == ["", "run-2"]


def test_nothing_asked_is_nothing_drawn(redis: redis.Redis, image_store: ImageStore) -> None:
    assert LedgeredDraw(FakeGenerator(image_store), Ledger(redis), store=image_store)([]) == []
    assert redis.dbsize() == 0


def test_another_generator_shares_nothing(redis: redis.Redis, image_store: ImageStore) -> None:
    ledger = Ledger(redis)
    LedgeredDraw(FakeGenerator(image_store), ledger, store=image_store)(asked(1))
    other = FakeGenerator(image_store, broken=["fish"])
    LedgeredDraw(other, ledger, store=image_store)(asked(1))
    assert len(other.drawn) == 1


def test_an_unusable_picture_is_recorded_and_not_tried_again(
    redis: redis.Redis, image_store: ImageStore
) -> None:
    generator = FakeGenerator(image_store, faulty={"fish": "black"})
    draw = LedgeredDraw(generator, Ledger(redis), store=image_store)
    assert draw(asked(2)) == draw(asked(2))
    assert [drawn.fault for drawn in draw(asked(2))] == ["black", "black"]
    assert len(generator.drawn) == 2


def test_an_unknown_word_is_told_before_anything_is_logged(
    redis: redis.Redis, image_store: ImageStore
) -> None:
    draw = LedgeredDraw(FakeGenerator(image_store), Ledger(redis), store=image_store)
    with pytest.raises(ToolError, match="zebra"):
        draw([*asked(1), *asked(1, "a zebra")])
    assert redis.dbsize() == 0


def test_a_vanished_file_is_drawn_again_and_said_so(
    redis: redis.Redis, image_store: ImageStore, caplog: pytest.LogCaptureFixture
) -> None:
    draw = LedgeredDraw(FakeGenerator(image_store), Ledger(redis), store=image_store)
    images = [drawn.image for drawn in draw(asked(3))]
    Path(image_store.path_or_url(str(images[1]))).unlink()
    with caplog.at_level(logging.WARNING):
        assert [drawn.image for drawn in draw(asked(3))] == images
    assert "vanished" in caplog.text
    assert draw.tally.figures.vanished == 1
    assert redrawn(DrawLog(redis).entries()) == []


def test_a_generator_that_fails_records_nothing_and_gives_its_claims_back(
    redis: redis.Redis, image_store: ImageStore
) -> None:
    class Failing(FakeGenerator):
        def __call__(self, requests: Sequence[DrawRequest]) -> list[DrawnImage]:
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError):
        LedgeredDraw(Failing(image_store), Ledger(redis), store=image_store)(asked(2))
    started = time.monotonic()
    LedgeredDraw(FakeGenerator(image_store), Ledger(redis), store=image_store)(asked(2))
    assert time.monotonic() - started < 5
    assert len(interrupted(DrawLog(redis).entries())) == 1


def test_threads_that_want_the_same_draw_it_once(redis: redis.Redis, image_store: ImageStore) -> None:
    class Slow(FakeGenerator):
        def __call__(self, requests: Sequence[DrawRequest]) -> list[DrawnImage]:
            time.sleep(0.2)
            return super().__call__(requests)

    generator, results = Slow(image_store), []
    draws = [LedgeredDraw(generator, Ledger(redis), store=image_store, batch=3) for _ in range(3)]
    threads = [threading.Thread(target=lambda draw=draw: results.append(draw(asked(5)))) for draw in draws]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(request.seed for request in generator.drawn) == [0, 1, 2, 3, 4]
    assert results[0] == results[1] == results[2]
    assert sum(draw.tally.figures.drawn for draw in draws) == 5


def test_processes_that_want_the_same_draw_it_once(
    redis: redis.Redis, redis_server: RedisServer, tmp_path: Path
) -> None:
    drawers = [drawer(redis_server.url, tmp_path, slow_s=0.3, count=5) for _ in range(2)]
    told = [process.communicate()[0].splitlines()[-1] for process in drawers]
    assert sum(int(line.split()[1]) for line in told) == 5
    assert redrawn(DrawLog(redis).entries()) == [] and interrupted(DrawLog(redis).entries()) == []


def test_a_kill_costs_its_batch_and_repeats_nothing_recorded(
    redis: redis.Redis, redis_server: RedisServer, tmp_path: Path
) -> None:
    killed = drawer(redis_server.url, tmp_path, slow_s=0.3, count=8)
    assert killed.stdout is not None
    # The third batch has begun, so two are recorded.
    assert [killed.stdout.readline() for _ in range(3)] == ["3\n", "3\n", "2\n"]
    killed.kill()
    killed.communicate()
    again = drawer(redis_server.url, tmp_path, slow_s=0.0, count=8)
    assert again.communicate()[0].splitlines() == ["2", "drawn 2"]
    entries = list(DrawLog(redis).entries())
    assert redrawn(entries) == []
    assert [len(line.images) for line in interrupted(entries)] == [2]


def test_scores_are_computed_once_in_batches_that_need_not_divide(redis: redis.Redis) -> None:
    world = fake_world()
    images, counting = list(world.control.images[:7]), Counting(world.score)
    score = LedgeredScore(counting, Ledger(redis), batch=3)
    first = score([*images, images[0]])
    assert [len(batch) for batch in counting.batches] == [3, 3, 1]
    for code, expected in zip(first, world.score([*images, images[0]]), strict=True):
        np.testing.assert_array_equal(code.indices, expected.indices)
        np.testing.assert_array_equal(code.values, expected.values)
    again = score(images[::-1])
    assert len(counting.batches) == 3
    assert [code.values.tobytes() for code in again] == [code.values.tobytes() for code in first[6::-1]]


def test_a_missing_image_is_named_and_nothing_recorded(redis: redis.Redis) -> None:
    score = LedgeredScore(fake_world().score, Ledger(redis))
    with pytest.raises(KeyError):
        score(["0" * 64])
    assert redis.dbsize() == 0

"""A claim is one holder's, lasts as long as its work, and ends with its holder."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import redis

from tests.conftest import RedisServer
from tools import keys
from tools.claims import Claims

ROOT = Path(__file__).parent.parent
HOLDER = """
import sys, time
from pathlib import Path
from tools.claims import Claims
from tools.redis_client import connect
with Claims(connect(sys.argv[1], Path()), "draw").taken(["a", "b"]) as ours:
    print(*ours, flush=True)
    time.sleep(60)
"""


def test_what_one_holds_another_does_not_get(redis: redis.Redis) -> None:
    claims = Claims(redis, "draw")
    with claims.taken(["a", "b"]) as first, claims.taken(["b", "c"]) as second:
        assert (first, second) == (["a", "b"], ["c"])
    with claims.taken(["a", "b", "c"]) as later:
        assert later == ["a", "b", "c"]


def test_kinds_do_not_meet(redis: redis.Redis) -> None:
    with Claims(redis, "draw").taken(["a"]) as drawing, Claims(redis, "ask").taken(["a"]) as asking:
        assert drawing == asking == ["a"]


def test_a_claim_is_given_back_when_the_work_fails(redis: redis.Redis) -> None:
    claims = Claims(redis, "draw")
    try:
        with claims.taken(["a"]):
            raise RuntimeError
    except RuntimeError:
        pass
    assert redis.dbsize() == 0


def test_a_claim_is_renewed_while_its_work_lasts(redis: redis.Redis) -> None:
    claims = Claims(redis, "draw", ttl_s=1.5)
    with claims.taken(["a"]):
        time.sleep(2.5)
        with claims.taken(["a"]) as others:
            assert others == []


def test_a_claim_that_lapsed_is_not_taken_from_its_next_holder(redis: redis.Redis) -> None:
    claims = Claims(redis, "draw")
    with claims.taken(["a"]):
        redis.set(keys.claim("draw", "a"), "another|1||token")
    assert redis.get(keys.claim("draw", "a")) == b"another|1||token"


def test_a_holder_elsewhere_is_waited_for_and_its_claim_expires(redis: redis.Redis) -> None:
    redis.set(keys.claim("draw", "a"), "another-machine|1||token", px=1500)
    claims = Claims(redis, "draw")
    with claims.taken(["a"]) as ours:
        assert ours == []
    time.sleep(1.7)
    with claims.taken(["a"]) as ours:
        assert ours == ["a"]


def test_a_killed_holder_is_inherited_from_at_once(redis: redis.Redis, redis_server: RedisServer) -> None:
    command = [sys.executable, "-c", HOLDER, redis_server.url]
    holder = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "a b\n"
    claims = Claims(redis, "draw")
    with claims.taken(["a"]) as ours:
        assert ours == []
    holder.kill()
    holder.communicate()
    with claims.taken(["a", "b"]) as ours:
        assert ours == ["a", "b"]


def test_what_a_zombie_held_is_free(redis: redis.Redis, redis_server: RedisServer) -> None:
    command = [sys.executable, "-c", HOLDER, redis_server.url]
    claims = Claims(redis, "draw")
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "a b\n"
        assert claims.held(["a", "b", "c"]) == {"a", "b"}
        holder.kill()
        until = time.monotonic() + 5
        while claims.held(["a", "b"]) and time.monotonic() < until:
            time.sleep(0.01)
        # Nobody has waited for it.
        with claims.taken(["a"]) as ours:
            assert ours == ["a"]

"""Whoever is killed while he compacts, and whoever else is at it, the bank holds each image once."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest
import redis as redis_package

from tests.bank_rows import ListBank, assert_same, random_rows
from tools import keys
from tools.bank import Bank
from tools.bank_manifest import FAN
from tools.bank_tail import GRACE_S
from tools.claims import Claims

ROOT = Path(__file__).parent.parent
BATCH = 23
COMPACTING = """
import os, signal, sys
from pathlib import Path
from tools.bank import Bank
from tools.redis_client import connect

client = connect(sys.argv[1], Path())

def mortal(function, left, after):
    left = [left]
    def call(*given, **named):
        left[0] -= 1
        if left[0] < 0 and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        told = function(*given, **named)
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return told
    return call

where, left, after = sys.argv[3], int(sys.argv[4]), sys.argv[5] == "after"
if where == "fsync":
    os.fsync = mortal(os.fsync, left, after)
elif where == "rename":
    Path.rename = mortal(Path.rename, left, after)
else:
    client.eval = mortal(client.eval, left, after)
Bank(client, score="score", generator="generator", folder=sys.argv[2], compact_from=None).compact()
"""
ADDING = """
import sys
from pathlib import Path
from tests.bank_rows import random_rows
from tools.bank import Bank
from tools.redis_client import connect

client = connect(sys.argv[1], Path())
bank = Bank(client, score="score", generator="generator", folder=sys.argv[2], compact_from=60)
new = 0
for seed in range(12):
    rows = random_rows(17, seed=seed)
    new += bank.add(rows if int(sys.argv[3]) % 2 else rows[::-1])
    bank.responses(seed % 9)
    if seed == int(sys.argv[3]):
        bank.compact(whole=True)
print(new)
"""


class Killed(BaseException):
    """Nothing handles it."""


class Mortal(redis_package.Redis):
    """A client whose process is killed before or after one of its commands."""

    left, after = 0, False

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Count down."""
        self.left -= 1
        if self.left == 0 and not self.after:
            raise Killed
        told = super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        if self.left == 0:
            raise Killed
        return told


class Repeating(redis_package.Redis):
    """A client that never hears the first answer."""

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Twice."""
        super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]


def bank_of(client: redis_package.Redis, folder: Path) -> Bank:
    return Bank(client, score="score", generator="generator", folder=folder, compact_from=None)


class Kept(NamedTuple):
    """A bank's folder and keys, to be put back as often as is wanted."""

    folder: Path
    keys: dict[bytes, bytes]
    plain: ListBank

    def put_back(self, client: redis_package.Redis, folder: Path) -> ListBank:
        """Redis and a new folder as they were."""
        client.flushdb()
        for key, dumped in self.keys.items():
            client.restore(key, 0, dumped)
        shutil.copytree(self.folder, folder)
        return ListBank(self.plain.rows.values())


@pytest.fixture
def almost_due(redis: redis_package.Redis, tmp_path: Path) -> Kept:
    """A bank whose next compaction moves the tail, merges, and deletes what an earlier one left."""
    bank, plain = bank_of(redis, tmp_path / "kept"), ListBank()
    for seed in range(FAN):
        rows = random_rows(BATCH, seed=seed)
        bank.add(rows)
        plain.add(rows)
        if seed < FAN - 1:
            bank.compact()
    redis.zadd(keys.bank_retired("score", "generator"), {"a" * 64: 0})
    dumped = {key: cast("bytes", redis.dump(key)) for key in redis.scan_iter()}
    return Kept(tmp_path / "kept", dumped, plain)


def sound_after_all(client: redis_package.Redis, folder: Path, plain: ListBank) -> None:
    """The bank is right as it was left, while it is used, and once it is compacted."""
    bank = bank_of(client, folder)
    assert_same(bank, plain)
    more = random_rows(BATCH, seed=99)
    assert bank.add([*more, *plain.rows.values()]) == plain.add(more)
    assert bank.compact(whole=True)
    assert bank.describe()[:2] == (len(plain.rows), 0) and bank.describe().segments == 1
    assert_same(bank, plain)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_kill_at_any_command_loses_and_doubles_nothing(
    redis: redis_package.Redis, tmp_path: Path, almost_due: Kept, after: bool
) -> None:
    mortal, ended = Mortal(connection_pool=redis.connection_pool), False
    for at in range(1, 99):
        plain = almost_due.put_back(redis, tmp_path / str(at))
        mortal.left, mortal.after = at, after
        try:
            ended = bank_of(mortal, tmp_path / str(at)).compact()
        except Killed:
            sound_after_all(redis, tmp_path / str(at), plain)
        else:
            break
    assert ended and at > 15


@pytest.mark.parametrize(("owner", "call", "step"), [(os, "fsync", 5), (Path, "rename", 1)])
def test_a_file_that_is_not_written_loses_and_doubles_nothing(
    redis: redis_package.Redis,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    almost_due: Kept,
    owner: Any,
    call: str,
    step: int,
) -> None:
    original, ended, kills = getattr(owner, call), False, 0
    for at in range(0, 99, step):
        folder, left = tmp_path / str(at), iter(range(at, -99, -1))
        plain = almost_due.put_back(redis, folder)

        def failing(*given: Any, left: Iterator[int] = left) -> Any:
            if next(left) == 0:
                raise Killed
            return original(*given)

        with monkeypatch.context() as patch:
            patch.setattr(owner, call, failing)
            try:
                ended = bank_of(redis, folder).compact()
            except Killed:
                kills += 1
        if ended:
            break
        sound_after_all(redis, folder, plain)
        assert not list(folder.rglob(".draft-*"))
    assert ended and kills >= 2


def test_an_answer_that_was_lost_is_no_failure(
    redis: redis_package.Redis, tmp_path: Path, almost_due: Kept
) -> None:
    tmp_path /= "bank"
    plain = almost_due.put_back(redis, tmp_path)
    repeating = Repeating(connection_pool=redis.connection_pool)
    assert bank_of(repeating, tmp_path).compact()
    assert bank_of(redis, tmp_path).describe()[1:4:2] == (0, 1)
    sound_after_all(redis, tmp_path, plain)


@pytest.mark.parametrize(
    ("where", "left", "after"),
    [
        ("fsync", 14, "before"),
        ("rename", 0, "before"),
        ("rename", 1, "after"),
        # Of its scripts the first reads, the second makes the tail's segment live, the fourth the merged one.
        ("eval", 1, "before"),
        ("eval", 1, "after"),
        ("eval", 3, "after"),
    ],
)
def test_a_killed_process_loses_and_doubles_nothing(
    redis: redis_package.Redis, redis_server: Any, almost_due: Kept, where: str, left: int, after: str
) -> None:
    folder = almost_due.folder
    command = [sys.executable, "-c", COMPACTING, redis_server.url, str(folder), where, str(left), after]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -signal.SIGKILL
    sound_after_all(redis, folder, almost_due.plain)


def test_processes_that_add_and_compact_at_once_bank_each_image_once(
    redis: redis_package.Redis, redis_server: Any, tmp_path: Path
) -> None:
    commands = [[sys.executable, "-c", ADDING, redis_server.url, str(tmp_path), str(at)] for at in range(3)]
    started = [subprocess.Popen(each, cwd=ROOT, stdout=subprocess.PIPE, text=True) for each in commands]
    told = [process.communicate(timeout=100)[0] for process in started]
    plain = ListBank()
    for seed in range(12):
        plain.add(random_rows(17, seed=seed))
    assert [process.returncode for process in started] == [0, 0, 0]
    assert sum(map(int, told)) == len(plain.rows)
    assert_same(bank_of(redis, tmp_path), plain)
    sound_after_all(redis, tmp_path, plain)


def test_who_comes_second_compacts_nothing(redis: redis_package.Redis, tmp_path: Path) -> None:
    bank = bank_of(redis, tmp_path)
    bank.add(random_rows(BATCH, seed=0))
    with Claims(redis, "bank").taken([bank.name]):
        assert not bank.compact()
        assert bank.describe().tail == BATCH
    assert bank.compact()


def test_replaced_segments_are_deleted_when_nobody_can_need_them(
    redis: redis_package.Redis, tmp_path: Path, almost_due: Kept
) -> None:
    tmp_path /= "bank"
    plain = almost_due.put_back(redis, tmp_path)
    reader = bank_of(redis, tmp_path)
    assert_same(reader, plain)
    assert bank_of(redis, tmp_path).compact()
    folder = tmp_path / reader.name
    assert len(list(folder.iterdir())) == FAN + 1
    retired = keys.bank_retired("score", "generator")
    for name in cast("list[bytes]", redis.zrange(retired, 0, -1)):
        redis.zincrby(retired, -GRACE_S, name)
    stranger = folder / ("b" * 64)
    stranger.mkdir()
    held = reader._view()
    assert bank_of(redis, tmp_path).compact()
    assert len(list(folder.iterdir())) == 2 and stranger.exists() and not redis.exists(retired)
    # What it has open stays readable.
    assert held.responses(3, top=9, quiet=9) == reader.responses(3, top=9, quiet=9)
    assert_same(reader, plain)
    assert_same(bank_of(redis, tmp_path), plain)

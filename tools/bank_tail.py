"""The bank's part in Redis: the manifest, and the rows no segment holds yet. Each change is one script.

A row is acknowledged when it is here. It leaves in the same step that makes its segment live, so whoever is
killed at whatever moment, it is in one of the two and never in both.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from tools import keys
from tools.bank_manifest import Manifest, SegmentEntry, entries_as_json, entries_from_json
from tools.bank_row import IMAGE_BYTES

if TYPE_CHECKING:
    import redis

PAGE = 4000
"""Rows read or added at once: Redis serves nobody else meanwhile."""

_ADD = f"""
local held = redis.call('HGET', KEYS[1], 'generation')
if (held or '') ~= ARGV[1] then return false end
if not held then
  redis.call('HSET', KEYS[1], 'generation', ARGV[2], 'origin', ARGV[2], 'segments', '[]')
end
local new = 0
for at = 3, #ARGV do
  if redis.call('SADD', KEYS[3], string.sub(ARGV[at], 1, {IMAGE_BYTES})) == 1 then
    redis.call('RPUSH', KEYS[2], ARGV[at])
    new = new + 1
  end
end
return {{new, redis.call('LLEN', KEYS[2])}}
"""
_READ = """
local held = redis.call('HMGET', KEYS[1], 'generation', 'origin', 'segments')
local start = 0
if held[1] == ARGV[1] then start = tonumber(ARGV[2]) end
local rows = redis.call('LRANGE', KEYS[2], start, start + ARGV[3] - 1)
return {held[1] or '', held[2] or '', held[3] or '[]', rows}
"""
# A segment whose announcement is old may be being deleted: it must not become live.
_SWAP = f"""
if redis.call('HGET', KEYS[1], 'generation') ~= ARGV[1] then return 0 end
local announced = redis.call('ZSCORE', KEYS[4], ARGV[4])
if not announced or tonumber(announced) < tonumber(ARGV[7]) then return 0 end
redis.call('HSET', KEYS[1], 'generation', ARGV[2], 'segments', ARGV[3])
redis.call('ZREM', KEYS[4], ARGV[4])
local taken = tonumber(ARGV[5])
if taken > 0 then
  for _, row in ipairs(redis.call('LRANGE', KEYS[2], 0, taken - 1)) do
    redis.call('SREM', KEYS[3], string.sub(row, 1, {IMAGE_BYTES}))
  end
  redis.call('LTRIM', KEYS[2], taken, -1)
end
for at = 8, #ARGV do redis.call('ZADD', KEYS[4], ARGV[6], ARGV[at]) end
return 1
"""

GRACE_S = 3600.0
"""Segments that are not live are deleted after this long: readers of an older manifest are done with them,
and no power cut takes the manifest back so far."""


class Added(NamedTuple):
    """What adding did."""

    new: int
    tail: int
    """Rows in the tail now."""


class Page(NamedTuple):
    """The manifest, and rows of the tail that belong to it."""

    manifest: Manifest
    rows: list[bytes]


class Swap(NamedTuple):
    """A new segment in the place of rows of the tail, or of other segments."""

    before: Manifest
    entry: SegmentEntry
    replaced: slice
    """Of the entries; empty at the end for rows of the tail."""
    taken: int = 0
    """Rows from the start of the tail."""


class Tail:
    """Rows by the order they came, and the manifest they follow."""

    def __init__(self, client: redis.Redis, *, score: str, generator: str) -> None:
        self.client = client
        builders = (keys.bank_manifest, keys.bank_tail, keys.bank_images, keys.bank_retired)
        self._keys = [build(score, generator) for build in builders]

    @property
    def manifest_key(self) -> str:
        """Where the manifest is."""
        return self._keys[0]

    def add(self, generation: str, rows: Sequence[bytes]) -> Added | None:
        """Append packed rows that are not in the tail; None, and nothing done, in another generation."""
        told = self._run(_ADD, generation, secrets.token_hex(16), *rows)
        return None if told is None else Added(*told)

    def read(self, generation: str, have: int, *, most: int = PAGE) -> Page:
        """Rows of the tail from ``have`` on, or from its start where the generation is another by now."""
        current, origin, segments, rows = self._run(_READ, generation, have, most)
        return Page(Manifest(current.decode(), origin.decode(), entries_from_json(segments)), rows)

    def announce(self, name: str) -> None:
        """Say that a segment is about to be made live: it is deleted some day if it is not."""
        self.client.zadd(self._keys[3], {name: self._now()})

    def swap(self, change: Swap) -> bool:
        """Make an announced segment live in one step; False, and nothing done, if others came first."""
        before, entry, replaced, taken = change
        entries = list(before.entries)
        retired = [old.name for old in entries[replaced]]
        entries[replaced] = [entry]
        now, generation = self._now(), secrets.token_hex(16)
        told = (before.generation, generation, entries_as_json(entries), entry.name, taken)
        if self._run(_SWAP, *told, now, now - GRACE_S / 2, *retired):
            return True
        # The answer to our own command may have been lost and the command repeated.
        return any(live.name == entry.name for live in self.read("", 0, most=1).manifest.entries)

    def retired(self) -> list[str]:
        """Segments that nobody can need any more."""
        found = self.client.zrangebyscore(self._keys[3], "-inf", self._now() - GRACE_S)
        return [name.decode() for name in cast("list[bytes]", found)]

    def forget(self, names: Sequence[str]) -> None:
        """Retired segments whose files are deleted."""
        if names:
            self.client.zrem(self._keys[3], *names)

    def _now(self) -> float:
        seconds, microseconds = self.client.time()
        return seconds + microseconds / 1e6

    def _run(self, script: str, *arguments: str | bytes | float) -> Any:
        return self.client.eval(script, len(self._keys), *self._keys, *cast("Any", arguments))

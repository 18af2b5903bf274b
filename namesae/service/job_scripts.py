"""What changes a job in Redis, each in one step that happens as a whole or not at all."""

from __future__ import annotations

PUT = """
local kept = ARGV[7] ~= '' and redis.call('get', KEYS[4])
if kept then return {'kept', kept} end
local state, said = redis.call('hget', KEYS[1], 'state'), 'joined'
if not state or string.find(ARGV[6], ' ' .. state .. ' ', 1, true) then
  local waiting = redis.call('llen', KEYS[2])
  if waiting >= tonumber(ARGV[5]) then return {'full', tostring(waiting)} end
  redis.call('hset', KEYS[1], 'order', ARGV[2], 'who', ARGV[3], 'asked', ARGV[4], 'state', 'queued',
             'tries', 0)
  redis.call('hdel', KEYS[1], 'began', 'ended', 'halt', 'error', 'exit_code', 'worker', 'lease')
  redis.call('rpush', KEYS[2], ARGV[1])
  redis.call('zadd', KEYS[3], ARGV[4], ARGV[1])
  said = 'queued'
end
if ARGV[7] ~= '' then redis.call('set', KEYS[4], ARGV[7], 'ex', ARGV[8]) end
return {said, ''}
"""
"""KEYS job, queue, jobs, idempotency; ARGV id, order, who, now, most waiting, states to queue again from,
answer under the key ('' without a key), its seconds. Says kept, full, joined or queued."""

TAKE = """
if redis.call('hget', KEYS[1], 'lease') == ARGV[3] then return 1 end
if redis.call('lindex', KEYS[3], 0) ~= ARGV[1] then return 0 end
redis.call('lpop', KEYS[3])
if redis.call('hget', KEYS[1], 'state') ~= 'queued' then return 0 end
redis.call('set', KEYS[2], ARGV[3], 'px', ARGV[4])
redis.call('hset', KEYS[1], 'state', 'running', 'worker', ARGV[2], 'began', ARGV[5], 'lease', ARGV[3])
redis.call('zadd', KEYS[4], ARGV[5], ARGV[1])
return 1
"""
"""KEYS job, claim, queue, taken; ARGV id, worker, lease, its milliseconds, now. 1: it is ours; also where the
answer to the same command was lost."""

BEAT = """
if redis.call('hget', KEYS[1], 'lease') ~= ARGV[1] then return false end
redis.call('set', KEYS[2], ARGV[1], 'px', ARGV[2])
return redis.call('hget', KEYS[1], 'halt') or ''
"""
"""KEYS job, claim; ARGV lease, its milliseconds. What the job is asked to do; nil where it is not ours."""

LEAVE = """
if redis.call('hget', KEYS[1], 'lease') ~= ARGV[2] then return 0 end
redis.call('hset', KEYS[1], 'state', ARGV[3])
redis.call('hdel', KEYS[1], 'lease')
redis.call('del', KEYS[2])
redis.call('zrem', KEYS[3], ARGV[1])
if ARGV[3] == 'queued' then
  redis.call('lpush', KEYS[4], ARGV[1])
else
  redis.call('hset', KEYS[1], 'ended', ARGV[4])
  redis.call('hdel', KEYS[1], 'halt')
end
if ARGV[5] ~= '' then redis.call('hset', KEYS[1], 'error', ARGV[5]) end
if ARGV[6] ~= '' then redis.call('hset', KEYS[1], 'exit_code', ARGV[6]) end
return 1
"""
"""KEYS job, claim, taken, queue; ARGV id, lease, state, now, error, exit code. 0: the job is not ours."""

LOSE = """
local holder = redis.call('get', KEYS[2])
if holder and holder ~= ARGV[2] then return 0 end
redis.call('zrem', KEYS[3], ARGV[1])
if redis.call('hget', KEYS[1], 'state') ~= 'running' then return 0 end
redis.call('del', KEYS[2])
redis.call('hdel', KEYS[1], 'lease')
if redis.call('hincrby', KEYS[1], 'tries', 1) < tonumber(ARGV[3]) then
  redis.call('hset', KEYS[1], 'state', 'queued')
  redis.call('lpush', KEYS[4], ARGV[1])
else
  redis.call('hset', KEYS[1], 'state', 'failed', 'ended', ARGV[4], 'error', ARGV[5], 'exit_code', 1)
  redis.call('hdel', KEYS[1], 'halt')
end
return 1
"""
"""KEYS job, claim, taken, queue; ARGV id, the dead holder ('' where the claim ran out), most tries, now,
sentence. 1: the job went back to the head of the queue, or failed for good."""

HALT = """
local state, asked = redis.call('hget', KEYS[1], 'state'), ARGV[2]
local stopped = asked == 'cancel' and 'cancelled' or 'paused'
local idle = asked == 'cancel' and ' queued waiting paused failed ' or ' queued '
if state == 'running' then
  if redis.call('hget', KEYS[1], 'halt') ~= 'cancel' then redis.call('hset', KEYS[1], 'halt', asked) end
  return 1
end
if state == stopped then return 1 end
if state and string.find(idle, ' ' .. state .. ' ', 1, true) then
  redis.call('lrem', KEYS[2], 0, ARGV[1])
  redis.call('hset', KEYS[1], 'state', stopped, 'ended', ARGV[3])
  redis.call('hdel', KEYS[1], 'halt')
  return 1
end
return 0
"""
"""KEYS job, queue; ARGV id, pause or cancel, now. 0: there is nothing to stop."""

RESUME = """
local state = redis.call('hget', KEYS[1], 'state')
if state == 'queued' then return 1 end
if state == 'running' and redis.call('hget', KEYS[1], 'halt') ~= 'cancel' then
  redis.call('hdel', KEYS[1], 'halt')
  return 1
end
if not state or not string.find(ARGV[3], ' ' .. state .. ' ', 1, true) then return 0 end
local waiting = redis.call('llen', KEYS[2])
if waiting >= tonumber(ARGV[2]) then return -1 end
redis.call('hset', KEYS[1], 'state', 'queued', 'tries', 0)
redis.call('hdel', KEYS[1], 'ended', 'halt', 'error', 'exit_code', 'worker')
redis.call('rpush', KEYS[2], ARGV[1])
return 1
"""
"""KEYS job, queue; ARGV id, most waiting, states to resume from. 0: it is in none; -1: the queue is full."""

MOVED_ON = """
if redis.call('hget', KEYS[1], 'lease') ~= ARGV[1] then return 0 end
redis.call('hset', KEYS[1], 'tries', 0)
return 1
"""
"""KEYS job; ARGV lease. The job came further than where its last worker died."""

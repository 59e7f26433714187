-- Move waiting tasks to other lanes, and delayed ones to other members of the timers, in one step.
--
-- KEYS  1 timers (sorted set), then for each waiting task: its lane (stream), its new lane (stream)
-- ARGV  1 number of delayed tasks, then for each: its member, its new member;
--       then for each waiting task: consumer group, entry id, its new entry
-- Returns the number of tasks moved. A task that a consumer holds, or that is gone, stays as it is.
local moved, at = 0, 2
for _ = 1, tonumber(ARGV[1]) do
  local due = redis.call("ZSCORE", KEYS[1], ARGV[at])
  if due then
    redis.call("ZREM", KEYS[1], ARGV[at])
    redis.call("ZADD", KEYS[1], due, ARGV[at + 1])
    moved = moved + 1
  end
  at = at + 2
end
for i = 2, #KEYS, 2 do
  local lane, group, id = KEYS[i], ARGV[at], ARGV[at + 1]
  local pending = redis.call("XPENDING", lane, group, id, id, 1)
  if #pending == 0 and redis.call("XDEL", lane, id) == 1 then
    redis.call("XADD", KEYS[i + 1], "*", "b", ARGV[at + 2])
    moved = moved + 1
  end
  at = at + 3
end
return moved

-- Put the tasks of dispatched events in lanes or timers, and acknowledge the events, in one step.
-- An event that is not pending for this consumer was dispatched by another one: its tasks are skipped.
--
-- KEYS  1 log (stream), then the lanes (streams) and timers (sorted set) of the tasks
-- ARGV  1 consumer group   2 consumer   3 number of events, then for each:
--         id, number of tasks, then for each task: index into KEYS,
--         due time in ms for the timers, "" for a lane, and the entry
-- Returns the number of tasks added.
local at, added = 4, 0
for _ = 1, tonumber(ARGV[3]) do
  local id, tasks = ARGV[at], tonumber(ARGV[at + 1])
  at = at + 2
  local pending = redis.call("XPENDING", KEYS[1], ARGV[1], id, id, 1)
  local is_held = #pending == 1 and pending[1][2] == ARGV[2]
  for _ = 1, tasks do
    if is_held then
      local key, due, entry = KEYS[tonumber(ARGV[at])], ARGV[at + 1], ARGV[at + 2]
      if due == "" then
        redis.call("XADD", key, "*", "b", entry)
      else
        redis.call("ZADD", key, due, entry)
      end
      added = added + 1
    end
    at = at + 3
  end
  if is_held then
    redis.call("XACK", KEYS[1], ARGV[1], id)
  end
end
return added

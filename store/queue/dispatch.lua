-- Put the tasks of dispatched events in lanes or timers, and acknowledge the events, in one step.
-- An event that is not pending for this consumer was dispatched by another one: its tasks are skipped.
--
-- KEYS  1 log (stream), then the lanes (streams) and timers (sorted set) of the tasks
-- ARGV  1 consumer group   2 consumer   3 number of events, then for each, in order of their ids:
--         id, number of tasks, then for each task: index into KEYS,
--         due time in ms for the timers, "" for a lane, and the entry
-- Returns the number of tasks added.
local ACKNOWLEDGED = 1000
local count, at, added, ids = tonumber(ARGV[3]), 4, 0, {}
local starts = {}
for i = 1, count do
  starts[i] = at
  at = at + 2 + 3 * tonumber(ARGV[at + 1])
end
local is_held = {}
if count > 0 then
  local pending = redis.call(
    "XPENDING", KEYS[1], ARGV[1], ARGV[starts[1]], ARGV[starts[count]], 2 ^ 31, ARGV[2])
  for _, each in ipairs(pending) do
    is_held[each[1]] = true
  end
end
for i = 1, count do
  at = starts[i]
  local id = ARGV[at]
  if is_held[id] then
    is_held[id] = false
    for task = at + 2, at - 1 + 3 * tonumber(ARGV[at + 1]), 3 do
      local key, due, entry = KEYS[tonumber(ARGV[task])], ARGV[task + 1], ARGV[task + 2]
      if due == "" then
        redis.call("XADD", key, "*", "b", entry)
      else
        redis.call("ZADD", key, due, entry)
      end
      added = added + 1
    end
    ids[#ids + 1] = id
  end
end
for first = 1, #ids, ACKNOWLEDGED do
  redis.call("XACK", KEYS[1], ARGV[1], unpack(ids, first, math.min(#ids, first + ACKNOWLEDGED - 1)))
end
return added

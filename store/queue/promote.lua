-- Move due tasks from the timers to their lanes, one small batch.
-- Only the server's clock decides what is due.
--
-- KEYS  1 timers (sorted set), 2 losses (sorted set), then the lanes (streams)
-- ARGV  1 maximum number to move, 2 "1" to also move tasks that are not due,
--       3 number of members to skip, 4 the member that always stays,
--       then the name of each lane: <stage>:<lane>
-- Returns {number moved, milliseconds until the next one is due or -1, number of members that the
--          next batch must skip or -1 at the end, number of invalid members removed}.
-- A member of the timers is its lane's name, a colon and the task.
local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lanes = {}
for i = 3, #KEYS do
  lanes[ARGV[i + 2]] = KEYS[i]
end
local limit, passed = tonumber(ARGV[1]), tonumber(ARGV[3])
local upto, page = ARGV[2] == "1" and "+inf" or now, 1000
local members = redis.call("ZRANGEBYSCORE", KEYS[1], "-inf", upto, "LIMIT", passed, page)
local moved, removed, ended = 0, 0, #members < page
for _, member in ipairs(members) do
  local stage, lane, body = string.match(member, "^([^:]*):([^:]*):(.*)$")
  local key = stage and lanes[stage .. ":" .. lane]
  if member == ARGV[4] then
    passed = passed + 1
  elseif not stage then
    -- It may have replaced a task.
    redis.call("ZADD", KEYS[2], 0, "timers:" .. now)
    redis.call("ZREM", KEYS[1], member)
    removed = removed + 1
  elseif not key then
    -- The caller does not know the stage; another worker may.
    passed = passed + 1
  elseif moved < limit then
    redis.call("XADD", key, "*", "b", body)
    redis.call("ZREM", KEYS[1], member)
    moved = moved + 1
  else
    ended = false
    break
  end
end
local later = redis.call(
  "ZRANGEBYSCORE", KEYS[1], "(" .. now, "+inf", "WITHSCORES", "LIMIT", 0, 1)
local next_ms = -1
if #later > 0 and later[1] ~= ARGV[4] then
  next_ms = math.ceil(tonumber(later[2]) - now)
end
return { moved, next_ms, ended and -1 or passed, removed }

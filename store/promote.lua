-- Move tasks whose time has come from the timers to their lanes, in small batches.
-- The server's clock decides, so that no worker's clock does.
--
-- KEYS  1 timers (sorted set), then the lanes (streams)
-- ARGV  1 how many at most, 2 "1" to move tasks that are not due yet too,
--       then the name of each lane: <stage>:<lane>
-- Returns {moved, milliseconds until the next is due or -1}.
-- A member of the timers is its lane's name, a colon and the task.
local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lanes = {}
for i = 2, #KEYS do
  lanes[ARGV[i + 1]] = KEYS[i]
end
local moved, limit = 0, tonumber(ARGV[1])
-- Tasks of stages that the caller does not name stay, and do not keep others from moving.
local all, from, page = ARGV[2] == "1", 0, 10 * limit
local upto = all and "+inf" or now
repeat
  local members = redis.call("ZRANGEBYSCORE", KEYS[1], "-inf", upto, "LIMIT", from, page)
  for _, member in ipairs(members) do
    local stage, lane, body = string.match(member, "^([^:]*):([^:]*):(.*)$")
    local key = stage and lanes[stage .. ":" .. lane]
    if not key then
      from = from + 1
    elseif moved < limit then
      redis.call("XADD", key, "*", "b", body)
      redis.call("ZREM", KEYS[1], member)
      moved = moved + 1
    end
  end
until not all or #members < page or moved >= limit
local first = redis.call("ZRANGE", KEYS[1], 0, 0, "WITHSCORES")
return { moved, #first == 0 and -1 or math.max(0, tonumber(first[2]) - now) }

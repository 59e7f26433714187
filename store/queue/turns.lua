-- Look whether the turns of lanes are those of the tasks in them; where they are not, have all that
-- waits let in again by the next claim.
--
-- KEYS  of each lane: itself (stream), its turns, its tasks; then the accounts (sorted sets)
-- ARGV  the consumer group of each lane
-- Returns how many lanes are let in again. Where very many have not been let in yet, nothing is
-- counted: there is a next time.
local OUTSIDE = 1000

local function spoilt(key)
  local kind = redis.call("TYPE", key).ok
  if kind ~= "none" and kind ~= "zset" then
    redis.call("PEXPIRE", key, 0)
    return true
  end
  return false
end

for i = 3 * #ARGV + 1, #KEYS do
  spoilt(KEYS[i])
end
local again = 0
for i, group in ipairs(ARGV) do
  local lane, turns, tasks = KEYS[3 * i - 2], KEYS[3 * i - 1], KEYS[3 * i]
  local wrong = spoilt(turns)
  wrong = spoilt(tasks) or wrong
  for _, each in ipairs(redis.call("XINFO", "GROUPS", lane)) do
    local said = {}
    for j = 1, #each, 2 do
      said[each[j]] = each[j + 1]
    end
    if said["name"] == group then
      local after = "(" .. said["last-delivered-id"]
      local outside = #redis.call("XRANGE", lane, after, "+", "COUNT", OUTSIDE)
      local waiting = redis.call("XLEN", lane) - said["pending"] - outside
      local known, clients = redis.call("ZCARD", tasks), redis.call("ZCARD", turns)
      wrong = wrong or (outside < OUTSIDE and known < waiting)
      if wrong or (known > 0 and clients == 0) then
        redis.call("PEXPIRE", turns, 0)
        redis.call("PEXPIRE", tasks, 0)
        redis.call("XGROUP", "SETID", lane, group, "0")
        again = again + 1
      end
    end
  end
end
return again

-- Check that the turns of lanes match the tasks in them. Where they do not, delete them, so that the
-- next claim admits all waiting entries again.
--
-- KEYS  for each lane: the lane (stream), its turns, its tasks; then the accounts (sorted sets)
-- ARGV  the consumer group of each lane
-- Returns the number of lanes that are admitted again. A lane with very many entries that are not
-- admitted yet is not checked this time.
local OUTSIDE = 1000

local function delete_if_spoiled(key)
  local kind = redis.call("TYPE", key).ok
  if kind ~= "none" and kind ~= "zset" then
    redis.call("PEXPIRE", key, 0)
    return true
  end
  return false
end

for i = 3 * #ARGV + 1, #KEYS do
  delete_if_spoiled(KEYS[i])
end
local again = 0
for i, group in ipairs(ARGV) do
  local lane, turns, tasks = KEYS[3 * i - 2], KEYS[3 * i - 1], KEYS[3 * i]
  local wrong = delete_if_spoiled(turns)
  wrong = delete_if_spoiled(tasks) or wrong
  for _, each in ipairs(redis.call("XINFO", "GROUPS", lane)) do
    local info = {}
    for j = 1, #each, 2 do
      info[each[j]] = each[j + 1]
    end
    if info["name"] == group then
      local after = "(" .. info["last-delivered-id"]
      local outside = #redis.call("XRANGE", lane, after, "+", "COUNT", OUTSIDE)
      -- Kept tasks are pending before a claim has passed them: subtract them once.
      local kept = #redis.call("XPENDING", lane, group, after, "+", OUTSIDE)
      local waiting = redis.call("XLEN", lane) - info["pending"] - outside + kept
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

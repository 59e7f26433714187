-- Put back a lost or damaged state, folded from the log, unless the log has moved on.
--
-- KEYS  1 log (stream)   2 state (hash v, d, p, s)
-- ARGV  1 id of the last entry that was folded   2 version   3 digest   4 id of its last event
--       5 state
-- Returns 1 if the state is there now, even if another caller put it there; 0 if there are more
-- entries to fold.
if redis.call("TYPE", KEYS[2]).ok == "hash" then
  local known = redis.call("HMGET", KEYS[2], "v", "d", "p", "s")
  if known[1] == ARGV[2] and known[2] == ARGV[3] and known[3] == ARGV[4] and known[4] == ARGV[5] then
    return 1
  end
end
local last = redis.call("XREVRANGE", KEYS[1], "+", "-", "COUNT", 1)
if #last == 0 or last[1][1] ~= ARGV[1] then
  return 0
end
redis.call("PEXPIRE", KEYS[2], 0)
redis.call("HSET", KEYS[2], "v", ARGV[2], "d", ARGV[3], "p", ARGV[4], "s", ARGV[5])
return 1

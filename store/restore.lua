-- Put back a state that was lost, folded from the log, if the log has not moved on since.
--
-- KEYS  1 log (stream)   2 state (hash v, d, p, s)
-- ARGV  1 id of the last entry that was folded   2 version   3 digest   4 id of its last event
--       5 state
-- Returns 1 if the state is there now, whoever put it there; 0 if there are entries to fold yet.
if redis.call("EXISTS", KEYS[2]) == 1 then
  return 1
end
local last = redis.call("XREVRANGE", KEYS[1], "+", "-", "COUNT", 1)
if #last == 0 or last[1][1] ~= ARGV[1] then
  return 0
end
redis.call("HSET", KEYS[2], "v", ARGV[2], "d", ARGV[3], "p", ARGV[4], "s", ARGV[5])
return 1

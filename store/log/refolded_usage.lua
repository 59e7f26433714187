-- Put a client's usage, folded from the log, in place of the one that is there, unless the log has
-- moved on.
--
-- KEYS  1 log (stream)   2 usage of the client (hash)
-- ARGV  1 id of the last entry that was folded   2 photos   3 bytes   4 jobs
-- Returns 1, or 0 if there are more entries to fold.
local last = redis.call("XREVRANGE", KEYS[1], "+", "-", "COUNT", 1)
if #last > 0 and last[1][1] ~= ARGV[1] then
  return 0
end
redis.call("PEXPIRE", KEYS[2], 0)
redis.call("HSET", KEYS[2], "", "", "photos", ARGV[2], "bytes", ARGV[3], "jobs", ARGV[4])
return 1

-- Remove entries that the archive has from the stream, and record up to where.
--
-- KEYS  1 log (stream)   2 trimmed (string)   3 id of the log (string)
-- ARGV  1 id of the log   2 id of the first entry to remove   3 first id to keep
--       4 position of the last entry to remove
-- Returns how many were removed; -1 if this is another log, if the stream begins elsewhere, or if
-- its last entry would go.
if redis.call("GET", KEYS[3]) ~= ARGV[1] then
  return -1
end
local first = redis.call("XRANGE", KEYS[1], "-", "+", "COUNT", 1)
local kept = redis.call("XREVRANGE", KEYS[1], "+", ARGV[3], "COUNT", 1)
if #first == 0 or first[1][1] ~= ARGV[2] or #kept == 0 then
  return -1
end
redis.call("SET", KEYS[2], ARGV[4])
return redis.call("XTRIM", KEYS[1], "MINID", ARGV[3])

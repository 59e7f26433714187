-- Create the log, unless its name is taken.
--
-- KEYS  1 meta (hash: id, partitions, …)
-- ARGV  1 id   2 number of partitions
-- Returns {id, partitions, mark of a recovery} of the log that is there now; other values if the
-- key is not a log's. A log that is being recovered has no id.
local kind = redis.call("TYPE", KEYS[1]).ok
if kind == "none" then
  redis.call("HSET", KEYS[1], "id", ARGV[1], "partitions", ARGV[2])
elseif kind ~= "hash" then
  return {}
end
return redis.call("HMGET", KEYS[1], "id", "partitions", "recovering")

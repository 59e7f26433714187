-- Create the log, if nothing is there under its name.
--
-- KEYS  1 meta (hash: id, partitions)
-- ARGV  1 id   2 number of partitions
-- Returns {id, partitions} of the log that is there now; of what is not ours, whatever it has.
local kind = redis.call("TYPE", KEYS[1]).ok
if kind == "none" then
  redis.call("HSET", KEYS[1], "id", ARGV[1], "partitions", ARGV[2])
elseif kind ~= "hash" then
  return {}
end
return redis.call("HMGET", KEYS[1], "id", "partitions")

-- Begin the recovery of a log, or end it: change fields of its meta key in one step.
--
-- KEYS  1 meta (hash)
-- ARGV  1 number of fields to remove, then each; then for each field to write: field, value
local removed = tonumber(ARGV[1])
if redis.call("TYPE", KEYS[1]).ok ~= "hash" then
  redis.call("PEXPIRE", KEYS[1], 0)
end
redis.call("HSET", KEYS[1], unpack(ARGV, removed + 2))
for i = 2, removed + 1 do
  redis.call("HDEL", KEYS[1], ARGV[i])
end
return 1

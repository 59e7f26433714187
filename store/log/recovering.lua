-- Begin the recovery of a log, or end it: change fields of its meta key in one step.
--
-- KEYS  1 meta (hash)
-- ARGV  1 a field that must not be there, or nothing   2 number of fields to remove, then each; then
--       for each field to write: field, value
-- Returns 1 if they were changed; 0 if the field is there.
local removed = tonumber(ARGV[2])
if redis.call("TYPE", KEYS[1]).ok ~= "hash" then
  redis.call("PEXPIRE", KEYS[1], 0)
end
if ARGV[1] ~= "" and redis.call("HGET", KEYS[1], ARGV[1]) then
  return 0
end
redis.call("HSET", KEYS[1], unpack(ARGV, removed + 3))
for i = 3, removed + 2 do
  redis.call("HDEL", KEYS[1], ARGV[i])
end
return 1

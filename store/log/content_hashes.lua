-- Put a client's content hashes and usage, folded from the log, in place of those that are there,
-- unless the log has moved on.
--
-- KEYS  1 log (stream)   2 clients (hash)   3 content hashes of the client (hash)
--       4 usage of the client (hash)   5 the folded content hashes (hash), see refolded.lua
-- ARGV  1 id of the last entry that was folded   2 photos   3 bytes   4 jobs   5… the clients
-- Returns 1; 0 if there are more entries to fold; -1 if the folded content hashes have expired.
local last = redis.call("XREVRANGE", KEYS[1], "+", "-", "COUNT", 1)
if #last > 0 and last[1][1] ~= ARGV[1] then
  return 0
end
if redis.call("EXISTS", KEYS[5]) == 0 then
  return -1
end
if redis.call("TYPE", KEYS[2]).ok ~= "hash" then
  redis.call("PEXPIRE", KEYS[2], 0)
end
redis.call("HSET", KEYS[2], "", "")
for i = 5, #ARGV do
  redis.call("HSET", KEYS[2], ARGV[i], "")
end
redis.call("UNLINK", KEYS[3])
redis.call("RENAME", KEYS[5], KEYS[3])
redis.call("PERSIST", KEYS[3])
redis.call("PEXPIRE", KEYS[4], 0)
redis.call("HSET", KEYS[4], "", "", "photos", ARGV[2], "bytes", ARGV[3], "jobs", ARGV[4])
return 1

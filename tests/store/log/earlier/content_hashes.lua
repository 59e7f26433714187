-- Restore a client's content hashes and usage, folded from the log, unless the log has moved on.
--
-- KEYS  1 log (stream)   2 clients (hash)   3 content hashes of the client (hash)
--       4 usage of the client (hash)
-- ARGV  1 id of the last entry that was folded   2 photos   3 bytes   4 jobs
--       5 number of clients, then each; then for each content hash: the hash, photo id
-- Returns 1, or 0 if there are more entries to fold.
local last = redis.call("XREVRANGE", KEYS[1], "+", "-", "COUNT", 1)
if #last > 0 and last[1][1] ~= ARGV[1] then
  return 0
end
local count = tonumber(ARGV[5])
if redis.call("TYPE", KEYS[2]).ok ~= "hash" then
  redis.call("PEXPIRE", KEYS[2], 0)
end
redis.call("HSET", KEYS[2], "", "")
for i = 6, 5 + count do
  redis.call("HSET", KEYS[2], ARGV[i], "")
end
redis.call("PEXPIRE", KEYS[3], 0)
redis.call("HSET", KEYS[3], "", "")
for i = 6 + count, #ARGV, 2 do
  redis.call("HSET", KEYS[3], ARGV[i], ARGV[i + 1])
end
redis.call("PEXPIRE", KEYS[4], 0)
redis.call("HSET", KEYS[4], "", "", "photos", ARGV[2], "bytes", ARGV[3], "jobs", ARGV[4])
return 1

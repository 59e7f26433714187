-- Put back the content hashes of a client, folded from the log, if the log has not moved on since.
--
-- KEYS  1 log (stream)   2 clients (hash)   3 content hashes of the client (hash)
-- ARGV  1 id of the last entry that was folded   2 number of clients, then each;
--       then for each content hash: the hash, photo id
-- Returns 1, or 0 if there are entries to fold yet.
local last = redis.call("XREVRANGE", KEYS[1], "+", "-", "COUNT", 1)
if #last > 0 and last[1][1] ~= ARGV[1] then
  return 0
end
local count = tonumber(ARGV[2])
redis.call("HSET", KEYS[2], "", "")
for i = 3, 2 + count do
  redis.call("HSET", KEYS[2], ARGV[i], "")
end
redis.call("PEXPIRE", KEYS[3], 0)
redis.call("HSET", KEYS[3], "", "")
for i = 3 + count, #ARGV, 2 do
  redis.call("HSET", KEYS[3], ARGV[i], ARGV[i + 1])
end
return 1

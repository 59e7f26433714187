-- Restore one bucket of a client's content hashes, folded from the log, unless the log has moved on.
--
-- KEYS  1 log (stream)   2 content hashes of the client (hash)   3 the bucket (hash)
-- ARGV  1 id of the last entry that was folded   2 the content hash that was asked for
--       3 then for each content hash of the bucket: the hash, its field in the bucket, photo id
-- Returns 1; 0 if there are more entries to fold; -1 if the bucket is not the only cause: the client
-- has no buckets, or the hash is not in one.
local last = redis.call("XREVRANGE", KEYS[1], "+", "-", "COUNT", 1)
if #last > 0 and last[1][1] ~= ARGV[1] then
  return 0
end
local root = redis.pcall("HMGET", KEYS[2], "", "split", ARGV[2])
if root.err or root[1] or not root[2] or root[3] then
  return -1
end
redis.call("PEXPIRE", KEYS[3], 0)
redis.call("HSET", KEYS[3], "", root[2])
for i = 3, #ARGV, 3 do
  -- Some may not have been moved yet.
  if not redis.call("HGET", KEYS[2], ARGV[i]) then
    redis.call("HSET", KEYS[3], ARGV[i + 1], ARGV[i + 2])
  end
end
return 1

-- Change some of a client's folded content hashes, which nobody uses yet.
--
-- KEYS  1 the folded content hashes (hash)
-- ARGV  1 how long to keep them, in ms   2 number of those to remove, then each
--       then for each to write: the hash, photo id
local removed = tonumber(ARGV[2])
redis.call("HSET", KEYS[1], "", "")
for i = 3, removed + 2 do
  redis.call("HDEL", KEYS[1], ARGV[i])
end
for i = removed + 3, #ARGV, 2 do
  redis.call("HSET", KEYS[1], ARGV[i], ARGV[i + 1])
end
redis.call("PEXPIRE", KEYS[1], ARGV[1])

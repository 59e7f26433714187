-- Move some of a client's content hashes from the root into their buckets.
--
-- KEYS  1 content hashes of the client (hash), the root   2… buckets (hash)
-- ARGV  1 a new name for a split, if it begins here   2 number of content hashes
--       then for each: the hash, its bucket, its field there, which of KEYS that is
-- Returns how many were moved; -1 if the content hashes were lost.
-- A bucket that should be there and is lost is left to the next append: see append.lua.
local call, root = redis.call, KEYS[1]
local found = redis.pcall("HMGET", root, "", "split", "buckets")
if found.err then
  return -1
end
local is_new, split, buckets = found[1], found[2], {}
if is_new then
  split = ARGV[1]
elseif not split or not found[3] or #found[3] ~= 4096 then
  return -1
end
for i = 0, 4095 do
  buckets[i] = is_new and "0" or string.sub(found[3], i + 1, i + 1)
end
local moved, is_changed = 0, is_new
for i = 3, 4 * tonumber(ARGV[2]) + 2, 4 do
  local hash, number, key = ARGV[i], tonumber(ARGV[i + 1]), KEYS[tonumber(ARGV[i + 3])]
  local holder = call("HGET", root, hash)
  if holder and buckets[number] == "0" then
    -- What may be there is from an earlier split.
    call("PEXPIRE", key, 0)
    call("HSET", key, "", split)
    buckets[number], is_changed = "1", true
  end
  if holder and redis.pcall("HGET", key, "") == split then
    call("HSET", key, ARGV[i + 2], holder)
    call("HDEL", root, hash)
    moved = moved + 1
  end
end
if is_changed then
  call("HDEL", root, "")
  call("HSET", root, "split", split, "buckets", table.concat(buckets, "", 0, 4095))
end
return moved

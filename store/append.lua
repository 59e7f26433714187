-- Append the events of one command, in one step: all checks first, then all writes.
--
-- KEYS  1 log (stream)            2 photo state (hash v, d, p, s)
--       3 idempotency (string)    4 content hashes of the client (hash)
--       5 lane of the task (stream)    6 identity of the log (string)
--       7 clients (hash), see claims.py
-- ARGV  1 expected version        2 expected digest of the last event ("" for none)
--       3 new digest              4 new state
--       5 time to live of the idempotency key in seconds, 0: no key
--       6 "claim" | "release" | "": what to do with the content hash     7 the hash
--       8 photo id                9 consumer group of the lane
--      10 consumer               11 id of the task, "": none
--      12 id of the log          13 number of events, then for each: type, body
-- Returns {"appended", id of each event ...} | {"lost"} | {"repeated", photo id, last event id}
--       | {"duplicate", photo id} | {"reused"} | {"conflict"} | {"strange"}: this is not the log
--       | {"unsure"}: the content hashes of the client were lost
-- An idempotency key holds a photo id and, after a space, the id of the last event that the command
-- appended; of one that met a duplicate, the content hash.
local log, photo, command, hashes, lane = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local version, ttl = tonumber(ARGV[1]), tonumber(ARGV[5])
local task, count = ARGV[11], tonumber(ARGV[13])

if redis.call("GET", KEYS[6]) ~= ARGV[12] then
  return { "strange" }
end
if task ~= "" then
  local pending = redis.pcall("XPENDING", lane, ARGV[9], task, task, 1)
  if pending.err or #pending == 0 or pending[1][2] ~= ARGV[10] then
    return { "lost" }
  end
end
if ttl > 0 then
  local done = redis.call("GET", command)
  if done then
    local space = string.find(done, " ", 1, true)
    local holder, rest = string.sub(done, 1, space - 1), string.sub(done, space + 1)
    if string.find(rest, "-", 1, true) then
      return { "repeated", holder, rest }
    end
    return rest == ARGV[7] and { "duplicate", holder } or { "reused" }
  end
end
local is_new = false
if ARGV[6] == "claim" then
  local found = redis.call("HMGET", hashes, ARGV[7], "")
  local holder = found[1]
  if holder then
    if ttl > 0 then
      redis.call("SET", command, holder .. " " .. ARGV[7], "EX", ttl)
    end
    return { "duplicate", holder }
  end
  if not found[2] then
    local clients = redis.call("HMGET", KEYS[7], "", hashes)
    if clients[2] or (not clients[1] and redis.call("EXISTS", log) == 1) then
      return { "unsure" }
    end
    is_new = true
  end
end
if count > 0 then
  local known = redis.call("HMGET", photo, "v", "d")
  -- A state that was lost is put back first (restore.lua): without it there is nothing to check.
  if (tonumber(known[1]) or 0) ~= version or (known[1] and known[2] ~= ARGV[2]) then
    return { "conflict" }
  end
end

local reply = { "appended" }
for i = 1, count do
  local type, body = ARGV[12 + 2 * i], ARGV[13 + 2 * i]
  reply[i + 1] = redis.call("XADD", log, "*", "t", type, "p", ARGV[8], "v", version + i, "b", body)
end
if count > 0 then
  local last = reply[count + 1]
  redis.call("HSET", photo, "v", version + count, "d", ARGV[3], "p", last, "s", ARGV[4])
  if ttl > 0 then
    redis.call("SET", command, ARGV[8] .. " " .. last, "EX", ttl)
  end
end
if ARGV[6] == "claim" then
  redis.call("HSET", hashes, ARGV[7], ARGV[8])
  if is_new then
    redis.call("HSET", hashes, "", "")
    redis.call("HSET", KEYS[7], "", "", hashes, "")
  end
elseif ARGV[6] == "release" and redis.call("HGET", hashes, ARGV[7]) == ARGV[8] then
  redis.call("HDEL", hashes, ARGV[7])
end
if task ~= "" then
  redis.call("XACK", lane, ARGV[9], task)
  redis.call("XDEL", lane, task)
end
return reply

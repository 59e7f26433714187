-- Append the events of one command, in one step: all checks first, then all writes.
--
-- KEYS  1 log (stream)            2 photo state (hash v, d, p, s)
--       3 idempotency (string)    4 content hashes of the client (hash)
--       5 lane of the task (stream)    6 identity of the log (string)
--       7 clients (hash), see content_hashes.py
--       8 usage of the client (hash), see content_hashes.py
--       9 idempotency keys of the client (sorted set by expiry in ms)
-- ARGV  1 expected version        2 expected digest of the last event ("" for none)
--       3 new digest              4 new state
--       5 time to live of the idempotency key in seconds, 0: no key was given
--       6 "claim" | "release" | "": what to do with the content hash     7 the hash
--       8 photo id                9 consumer group of the lane
--      10 consumer               11 id of the task, "": none
--      12 id of the log
--      13 photos, 14 bytes, 15 jobs that the events add to the usage
--      16 photos, 17 bytes, 18 jobs: the most the client may have afterwards, 0: no limit
--      19 the most idempotency keys it may have, 0: no limit     20 the idempotency key
--      21 bytes that each job reserves for its renditions
--      22 number of events, then for each: type, body
-- Returns {"appended", id of each event ...} | {"lost"} | {"repeated", photo id, last event id}
--       | {"duplicate", photo id} | {"reused"} | {"conflict"} | {"strange"}: another log, or none
--       | {"unsure"}: the content hashes or the usage of the client were lost
--       | {"over", "photos" | "bytes" | "jobs", current count, limit, reserved bytes}: bytes of all
--         jobs, including the new one
--       | {"over", "keys", ms until the oldest one expires, limit}
-- An idempotency key holds a photo id and, after a space, the id of the last event that the command
-- appended, or the content hash if the command met a duplicate.
local log, photo, command, hashes, lane = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local version, ttl = tonumber(ARGV[1]), tonumber(ARGV[5])
local task, count = ARGV[11], tonumber(ARGV[22])
local names, added, most = { "photos", "bytes", "jobs" }, {}, {}
for i = 1, 3 do
  added[i], most[i] = tonumber(ARGV[12 + i]), tonumber(ARGV[15 + i])
end
local now_ms = 0

local function natural(text)
  return text and #text <= 15 and string.find(text, "^%d+$") and tonumber(text) or nil
end

local function remember(value)
  redis.call("SET", command, value, "EX", ttl)
  if redis.call("TYPE", KEYS[9]).ok ~= "zset" then
    redis.call("PEXPIRE", KEYS[9], 0)
  end
  -- A few at a time: there could be very many.
  local expired = redis.call("ZRANGEBYSCORE", KEYS[9], "-inf", now_ms, "LIMIT", 0, 100)
  if #expired > 0 then
    redis.call("ZREM", KEYS[9], unpack(expired))
  end
  redis.call("ZADD", KEYS[9], now_ms + ttl * 1000, ARGV[20])
  redis.call("PEXPIRE", KEYS[9], ttl * 1000 + 60000)
end

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
  -- A value of neither form is overwritten.
  local done = redis.pcall("GET", command)
  done = type(done) == "string" and done or ""
  local holder, ms, seq = string.match(done, "^(%S+) (%d+)%-(%d+)$")
  if holder and tonumber(ms) < 2 ^ 53 and tonumber(seq) < 2 ^ 53 then
    return { "repeated", holder, ms .. "-" .. seq }
  end
  local first, hash = string.match(done, "^(%S+) (%x+)$")
  if first and #hash == 64 then
    return hash == ARGV[7] and { "duplicate", first } or { "reused" }
  end
  local time, limit = redis.call("TIME"), tonumber(ARGV[19])
  now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
  if limit > 0 then
    local keys = redis.pcall("ZCOUNT", KEYS[9], "(" .. now_ms, "+inf")
    if type(keys) == "number" and keys >= limit then
      local oldest = redis.call(
        "ZRANGEBYSCORE", KEYS[9], "(" .. now_ms, "+inf", "WITHSCORES", "LIMIT", 0, 1)
      local left_ms = math.min(tonumber(oldest[2]) - now_ms, ttl * 1000)
      return { "over", "keys", tostring(math.ceil(left_ms)), ARGV[19] }
    end
  end
end
local is_new = false
if ARGV[6] == "claim" then
  local found = redis.pcall("HMGET", hashes, ARGV[7], "")
  if found.err then
    return { "unsure" }
  end
  local holder = found[1]
  if holder then
    if ttl > 0 then
      remember(holder .. " " .. ARGV[7])
    end
    return { "duplicate", holder }
  end
  if not found[2] then
    local clients = redis.pcall("HMGET", KEYS[7], "", hashes)
    if clients.err or clients[2] or (not clients[1] and redis.call("EXISTS", log) == 1) then
      return { "unsure" }
    end
    is_new = true
  end
end
if count > 0 then
  local known = redis.pcall("HMGET", photo, "v", "d")
  -- A lost state is put back first (restore.lua): without it there is nothing to check against.
  if known.err or (tonumber(known[1]) or 0) ~= version or (known[1] and known[2] ~= ARGV[2]) then
    return { "conflict" }
  end
end
local counts = count > 0 and (added[1] ~= 0 or added[2] ~= 0 or added[3] ~= 0)
local used = nil
if counts and is_new then
  used = { 0, 0, 0 }
elseif counts then
  local kept = redis.pcall("HMGET", KEYS[8], "", unpack(names))
  local numbers = kept.err and {} or { natural(kept[2]), natural(kept[3]), natural(kept[4]) }
  if not kept.err and kept[1] and numbers[1] and numbers[2] and numbers[3] then
    used = numbers
  elseif most[1] > 0 or most[2] > 0 or most[3] > 0 then
    return { "unsure" }
  end
end
if used then
  -- Jobs are a running total, so reserved bytes need no total of their own.
  local reserved = tonumber(ARGV[21]) * (used[3] + added[3])
  for i = 1, 3 do
    local more, held_back = added[i], 0
    if names[i] == "bytes" then
      -- Every limited command adds bytes sooner or later: a new job adds those of its renditions.
      more, held_back = math.max(more, 1), reserved
    end
    if most[i] > 0 and more > 0 and used[i] + held_back + more > most[i] then
      local found, kept_free = string.format("%.0f", used[i]), string.format("%.0f", reserved)
      return { "over", names[i], found, ARGV[15 + i], kept_free }
    end
  end
end

local reply = { "appended" }
for i = 1, count do
  local type, body = ARGV[21 + 2 * i], ARGV[22 + 2 * i]
  reply[i + 1] = redis.call("XADD", log, "*", "t", type, "p", ARGV[8], "v", version + i, "b", body)
end
if count > 0 then
  local last = reply[count + 1]
  redis.call("HSET", photo, "v", version + count, "d", ARGV[3], "p", last, "s", ARGV[4])
  if ttl > 0 then
    remember(ARGV[8] .. " " .. last)
  end
end
if used then
  local fields = { "", "" }
  for i = 1, 3 do
    fields[1 + 2 * i], fields[2 + 2 * i] = names[i], string.format("%.0f", used[i] + added[i])
    -- Only a damaged count can become negative: it is folded again.
    if used[i] + added[i] < 0 then
      fields = nil
      break
    end
  end
  if is_new or not fields then
    redis.call("PEXPIRE", KEYS[8], 0)
  end
  if fields then
    redis.call("HSET", KEYS[8], unpack(fields))
  end
end
if ARGV[6] == "claim" then
  redis.call("HSET", hashes, ARGV[7], ARGV[8])
  if is_new then
    redis.call("HSET", hashes, "", "")
    redis.call("HSET", KEYS[7], "", "", hashes, "")
  end
elseif ARGV[6] == "release" and redis.pcall("HGET", hashes, ARGV[7]) == ARGV[8] then
  redis.call("HDEL", hashes, ARGV[7])
end
if task ~= "" then
  redis.call("XACK", lane, ARGV[9], task)
  redis.call("XDEL", lane, task)
end
return reply

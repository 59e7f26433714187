-- Return how much a client has of everything that quotas limit.
--
-- KEYS  1 log (stream)   2 usage of the client (hash)   3 clients (hash)
--       4 content hashes of the client (hash)   5 idempotency keys of the client (sorted set)
-- ARGV  1 the longest that an idempotency key lives, in ms
-- Returns {photos, bytes, jobs, idempotency keys that have not expired, ms until the first does},
--      or {} if the usage was lost.
local kept = redis.pcall("HMGET", KEYS[2], "", "photos", "bytes", "jobs")
local complete = not kept.err and kept[1]
for i = 2, 4 do
  local text = complete and kept[i]
  complete = text == "0" or (text and #text <= 18 and string.find(text, "^[1-9]%d*$"))
end
if not complete then
  local clients = redis.pcall("HMGET", KEYS[3], "", KEYS[4])
  if clients.err or clients[2] or (not clients[1] and redis.call("EXISTS", KEYS[1]) == 1) then
    return {}
  end
  kept = { "", "0", "0", "0" }
end
local time = redis.call("TIME")
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local keys, expires_ms = redis.pcall("ZCOUNT", KEYS[5], "(" .. now_ms, "+inf"), 0
if type(keys) ~= "number" then
  keys = 0
elseif keys > 0 then
  local first = redis.call(
    "ZRANGEBYSCORE", KEYS[5], "(" .. now_ms, "+inf", "WITHSCORES", "LIMIT", 0, 1)
  expires_ms = math.ceil(math.min(tonumber(first[2]) - now_ms, tonumber(ARGV[1])))
end
return { kept[2], kept[3], kept[4], tostring(keys), tostring(expires_ms) }

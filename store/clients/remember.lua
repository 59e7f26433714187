-- Store a client's credential until it expires, and keep at most MOST of that client: the oldest are
-- removed first.
--
-- KEYS  1 index (zset: "<digest>:<expiry in ms>" by time of creation)   2 credential (string)
-- ARGV  1 value   2 digest   3 lifetime in ms   4 most
-- Returns the removed digests; the caller deletes their keys.
local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lifetime, most = tonumber(ARGV[3]), tonumber(ARGV[4])
local kept = {}
for _, member in ipairs(redis.call("ZRANGE", KEYS[1], 0, -1)) do
  local expiry = string.match(member, "^%x+:(%d+)$")
  if not expiry or tonumber(expiry) <= now then
    redis.call("ZREM", KEYS[1], member)
  else
    kept[#kept + 1] = member
  end
end
local gone = {}
for at = 1, #kept - most + 1 do
  redis.call("ZREM", KEYS[1], kept[at])
  gone[at] = string.match(kept[at], "^[^:]+")
end
redis.call("SET", KEYS[2], ARGV[1], "PX", lifetime)
redis.call("ZADD", KEYS[1], now, string.format("%s:%d", ARGV[2], now + lifetime))
-- The index lives as long as its longest-lived credential.
if redis.call("PTTL", KEYS[1]) < lifetime then
  redis.call("PEXPIRE", KEYS[1], lifetime)
end
return gone

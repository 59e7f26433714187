-- Take tokens from token buckets, and give back unused tokens of earlier calls.
--
-- A bucket is stored as the time at which it will be full again (GCRA): a full bucket has no key,
-- and a key expires when its bucket is full. All times are the server's, in microseconds.
--
-- KEYS  the buckets, all in one slot
-- ARGV  5 per bucket: capacity, time in which an empty one fills up, tokens given back (negative if
--       owed), tokens needed, tokens wanted. A bucket with fewer tokens than needed gives none;
--       otherwise it gives as many of the wanted tokens as it has.
-- Returns 2 per bucket: tokens taken, thousandths of tokens left.
local time = redis.call("TIME")
local now = time[1] * 1000000 + time[2]
local reply = {}
for index, key in ipairs(KEYS) do
  local at = 5 * (index - 1)
  local capacity, window = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local back, needed, wanted = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5])
  local interval = window / capacity
  local before = tonumber(redis.call("GET", key) or now) or now
  -- If the clock was set back, a bucket is at most empty.
  local full_at = math.max(now, math.min(before, now + window) - back * interval)
  local tokens = math.floor((now + window - full_at) / interval + 0.001)
  local taken = 0
  if tokens >= needed then
    taken = math.min(wanted, tokens)
  end
  full_at = math.max(now, full_at + taken * interval)
  if taken > 0 or back ~= 0 then
    local expires_ms = math.max(1, math.ceil((full_at - now) / 1000))
    redis.call("SET", key, string.format("%.0f", full_at), "PX", expires_ms)
  end
  reply[2 * index - 1] = taken
  reply[2 * index] = math.floor((now + window - full_at) / interval * 1000)
end
return reply

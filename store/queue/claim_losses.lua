-- Claim the notes of losses that no worker has dealt with for a while.
--
-- KEYS  1 losses (sorted set)
-- ARGV  1 how long a worker may be silent, in milliseconds
-- Returns the notes; from now on the caller deals with them.
local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local notes = redis.call("ZRANGEBYSCORE", KEYS[1], "-inf", now - ARGV[1])
for _, note in ipairs(notes) do
  redis.call("ZADD", KEYS[1], now, note)
end
return notes

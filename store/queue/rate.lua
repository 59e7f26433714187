-- Take tokens from a bucket, or give them back. It holds at most MAX tokens, and gains MAX per DURATION.
--
-- KEYS  1 bucket (hash: n tokens, t time in ms)
-- ARGV  1 max   2 duration in ms   3 tokens wanted, negative to give back
-- Returns {tokens taken, milliseconds until there is another}.
local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local max, duration, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local held = redis.call("HMGET", KEYS[1], "n", "t")
local tokens, since = math.max(0, tonumber(held[1]) or max), tonumber(held[2]) or now
-- A clock that was set back adds no tokens and removes none.
tokens = math.min(max, tokens + math.max(0, now - since) * max / duration)
local taken = math.min(wanted, math.floor(tokens))
tokens = math.min(max, tokens - taken)
redis.call("HSET", KEYS[1], "n", tostring(tokens), "t", now)
redis.call("PEXPIRE", KEYS[1], 2 * duration)
return { taken, math.ceil(math.max(0, 1 - tokens) * duration / max) }

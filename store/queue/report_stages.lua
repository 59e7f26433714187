-- Report that a live worker runs stages, at the time of the server's clock.
--
-- KEYS  1 stages (sorted set)
-- ARGV  the stages
local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, stage in ipairs(ARGV) do
  redis.call("ZADD", KEYS[1], now, stage)
end

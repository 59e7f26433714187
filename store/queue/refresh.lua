-- Reset the idle time of tasks that are still pending for this consumer.
--
-- KEYS  the lane (stream) of each task
-- ARGV  1 consumer, then for each task: consumer group, entry id, and how often it was delivered, or
--       "" to keep the count
-- Returns for each task 1 if it was refreshed, 0 if it is no longer this consumer's.
local reply = {}
for i, lane in ipairs(KEYS) do
  local group, id, deliveries = ARGV[3 * i - 1], ARGV[3 * i], ARGV[3 * i + 1]
  local pending = redis.call("XPENDING", lane, group, id, id, 1)
  if #pending == 1 and pending[1][2] == ARGV[1] then
    if deliveries == "" then
      redis.call("XCLAIM", lane, group, ARGV[1], 0, id, "JUSTID")
    else
      redis.call("XCLAIM", lane, group, ARGV[1], 0, id, "RETRYCOUNT", deliveries, "JUSTID")
    end
    reply[i] = 1
  else
    reply[i] = 0
  end
end
return reply

-- Say that tasks are still worked on: resets their idle time, if they are still this consumer's.
--
-- KEYS  the lane (stream) of each task
-- ARGV  1 consumer, then for each task: consumer group, entry id
-- Returns 1 or 0 for each task: still ours or not.
local reply = {}
for i, lane in ipairs(KEYS) do
  local group, id = ARGV[2 * i], ARGV[2 * i + 1]
  local pending = redis.call("XPENDING", lane, group, id, id, 1)
  if #pending == 1 and pending[1][2] == ARGV[1] then
    redis.call("XCLAIM", lane, group, ARGV[1], 0, id, "JUSTID")
    reply[i] = 1
  else
    reply[i] = 0
  end
end
return reply

-- Put tasks back: each becomes the last of its lane, as if never delivered.
--
-- KEYS  the lane (stream) of each task
-- ARGV  1 consumer, then for each task: consumer group, entry id
-- Returns for each task 1 if it was put back, 0 if it is no longer this consumer's.
local reply = {}
for i, lane in ipairs(KEYS) do
  local group, id = ARGV[2 * i], ARGV[2 * i + 1]
  local pending = redis.call("XPENDING", lane, group, id, id, 1)
  local entry = redis.call("XRANGE", lane, id, id)
  reply[i] = 0
  if #pending == 1 and pending[1][2] == ARGV[1] and #entry == 1 then
    redis.call("XADD", lane, "*", "b", entry[1][2][2])
    redis.call("XACK", lane, group, id)
    redis.call("XDEL", lane, id)
    reply[i] = 1
  end
end
return reply

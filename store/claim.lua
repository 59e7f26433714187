-- Claim the next waiting tasks, lanes in the order given: a lane is served before those after it.
--
-- KEYS  the lanes (streams)
-- ARGV  1 consumer   2 how many at most, then the consumer group of each lane
-- Returns {index into KEYS, entry id, body} for each task claimed.
local claimed, wanted = {}, tonumber(ARGV[2])
for i, lane in ipairs(KEYS) do
  local left = wanted - #claimed
  if left <= 0 then
    break
  end
  local reply = redis.call(
    "XREADGROUP", "GROUP", ARGV[2 + i], ARGV[1], "COUNT", left, "STREAMS", lane, ">")
  if reply then
    for _, entry in ipairs(reply[1][2]) do
      claimed[#claimed + 1] = { i, entry[1], entry[2][2] }
    end
  end
end
return claimed

-- Add entries under the ids that they are given; those that are there already are left out.
--
-- KEYS  1 log (stream)   2 id of the log (string)
-- ARGV  1 id of the log; then for each entry: its ms, its seq, the number of its parts, the parts
-- Returns how many were added; -1 if this is another log.
if redis.call("GET", KEYS[2]) ~= ARGV[1] then
  return -1
end
local last = redis.call("XREVRANGE", KEYS[1], "+", "-", "COUNT", 1)
local last_ms, last_seq = -1, -1
if #last > 0 then
  last_ms, last_seq = string.match(last[1][1], "(%d+)-(%d+)")
  last_ms, last_seq = tonumber(last_ms), tonumber(last_seq)
end
local added, i = 0, 2
while i <= #ARGV do
  local ms, seq, count = tonumber(ARGV[i]), tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  if ms > last_ms or (ms == last_ms and seq > last_seq) then
    local id = ARGV[i] .. "-" .. ARGV[i + 1]
    redis.call("XADD", KEYS[1], id, unpack(ARGV, i + 3, i + 2 + count))
    added = added + 1
  end
  i = i + 3 + count
end
return added

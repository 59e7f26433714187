-- Remove the states of photos or sessions that nothing has changed since they were read.
--
-- KEYS  1 log (stream)   2 id of the log (string)   3… states (hash v, d, p, s)
-- ARGV  1 id of the log; then for each state: its version, digest and position
-- Returns for each state 1 if it was removed; 0 if it is another one now, or if its last event is
-- in the stream: then the archive may lack it.
local reply = {}
local is_ours = redis.call("GET", KEYS[2]) == ARGV[1]
for i = 3, #KEYS do
  local at = 3 * (i - 3) + 2
  local known = is_ours and redis.pcall("HMGET", KEYS[i], "v", "d", "p") or { err = "another log" }
  local same = not known.err and known[1] == ARGV[at] and known[2] == ARGV[at + 1] and known[3] == ARGV[at + 2]
  if same and #redis.call("XRANGE", KEYS[1], ARGV[at + 2], ARGV[at + 2]) == 0 then
    redis.call("PEXPIRE", KEYS[i], 0)
    reply[i - 2] = 1
  else
    reply[i - 2] = 0
  end
end
return reply

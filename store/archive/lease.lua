-- Take or keep the right to archive a partition, or give it up.
--
-- KEYS  1 archiving (string)
-- ARGV  1 archiver   2 ms until the right expires; 0 gives it up
-- Returns 1 if the archiver has the right, or had it until now; 0 if another one has it.
local holder = redis.call("GET", KEYS[1])
if holder and holder ~= ARGV[1] then
  return 0
end
if ARGV[2] == "0" then
  redis.call("PEXPIRE", KEYS[1], 0)
else
  redis.call("SET", KEYS[1], ARGV[1], "PX", ARGV[2])
end
return 1

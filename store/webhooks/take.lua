-- Take or keep the lease on the delivery of webhooks, with the holder's report.
--
-- KEYS  1 webhooks (hash owner, report; expires)
-- ARGV  1 owner   2 how long it holds, in ms   3 report
-- Returns 1 if the owner has the lease; 0 if another one has it.
local owner = redis.call("HGET", KEYS[1], "owner")
if owner and owner ~= ARGV[1] then
  return 0
end
redis.call("HSET", KEYS[1], "owner", ARGV[1], "report", ARGV[3])
redis.call("PEXPIRE", KEYS[1], ARGV[2])
return 1

-- Give the lease on the delivery of webhooks back.
--
-- KEYS  1 webhooks (hash owner, report; expires)
-- ARGV  1 owner
-- Returns 1 if the owner had the lease, else 0.
if redis.call("HGET", KEYS[1], "owner") ~= ARGV[1] then
  return 0
end
return redis.call("PEXPIRE", KEYS[1], 0)

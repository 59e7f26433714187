-- Note how far a webhook has got, and perhaps a delivery, unless another process delivers by now.
--
-- KEYS  1 webhooks (hash owner, report)   2 webhook (string)   3 deliveries (stream)
-- ARGV  1 owner   2 progress   3 how long the progress is kept, in ms   4 deliveries kept
--       5 how long they are kept, in ms   6 the delivery, or empty
-- Returns 1; 0 if another process has the lease, or nobody, and nothing was written.
if redis.call("HGET", KEYS[1], "owner") ~= ARGV[1] then
  return 0
end
if ARGV[6] ~= "" then
  redis.call("XADD", KEYS[3], "MAXLEN", ARGV[4], "*", "d", ARGV[6])
  redis.call("PEXPIRE", KEYS[3], ARGV[5])
end
redis.call("SET", KEYS[2], ARGV[2], "PX", ARGV[3])
return 1

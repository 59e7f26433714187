-- Remove a consumer unless it holds entries, because its removal would lose them.
--
-- KEYS  1 stream
-- ARGV  1 consumer group   2 consumer
-- Returns 1 if it was removed, else 0.
if #redis.call("XPENDING", KEYS[1], ARGV[1], "-", "+", 1, ARGV[2]) > 0 then
  return 0
end
redis.call("XGROUP", "DELCONSUMER", KEYS[1], ARGV[1], ARGV[2])
return 1

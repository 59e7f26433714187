-- Record again up to where a partition was trimmed, unless another archiver has done so, and perhaps
-- trimmed more, since the record was read.
--
-- KEYS  1 trimmed (string)
-- ARGV  1 the record as it was read; empty if there was none   2 the new one
-- Returns 1 if it was written; 0 if there is another record by now.
if (redis.call("GET", KEYS[1]) or "") ~= ARGV[1] then
  return 0
end
redis.call("SET", KEYS[1], ARGV[2])
return 1

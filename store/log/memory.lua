-- What the server that has a partition says of its memory; no other way leads to that server alone.
--
-- KEYS  1 any key of the partition
return redis.call("INFO", "memory")

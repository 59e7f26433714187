-- Return entries of a partition as they are stored: a field may be there twice.
--
-- KEYS  1 log (stream)
-- ARGV  1 first id   2 last id   3 how many at most
-- Returns {{id, {field, value, field, value, …}}, …}
return redis.call("XRANGE", KEYS[1], ARGV[1], ARGV[2], "COUNT", ARGV[3])

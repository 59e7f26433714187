-- Report the memory of the server that has a partition. A script reaches exactly that server.
--
-- KEYS  1 any key of the partition
return redis.call("INFO", "memory")

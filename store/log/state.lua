-- Return the state of a photo, or of the controls, and the last event it claims to be folded from.
--
-- KEYS  1 log (stream)   2 state (hash v, d, p, s)
-- Returns {v, d, p, s, then photo id, version and body of the entry at p}; nil for what is missing.
local known = redis.call("HMGET", KEYS[2], "v", "d", "p", "s")
-- The value of p may not be an id.
local found = known[3] and redis.pcall("XRANGE", KEYS[1], known[3], known[3]) or {}
local fields = found[1] and found[1][2] or {}
return { known[1], known[2], known[3], known[4], fields[4] or false, fields[6] or false, fields[8] or false }

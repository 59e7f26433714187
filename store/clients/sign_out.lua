-- End the sign-ins of a person, or of a session at their provider, up to a time; or use a token.
--
-- KEYS  1 mark (string: the time in s)
-- ARGV  1 time in s   2 lifetime in s
-- Returns the time before; 0 if there was no mark with a plausible one
local known = redis.pcall("GET", KEYS[1])
local plausible = type(known) == "string" and #known <= 15 and string.find(known, "^%d+$")
known = plausible and tonumber(known) or 0
redis.call("SET", KEYS[1], string.format("%.0f", math.max(known, tonumber(ARGV[1]))), "EX", ARGV[2])
return known

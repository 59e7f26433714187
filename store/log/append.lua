-- Append the events of one command, in one step: all checks first, then all writes.
--
-- KEYS  1 log (stream)   2 identity of the log (string)   3 photo state (hash v, d, p, s)
--       and those of the options, in the order of the options
-- ARGV  1 id of the log   2 photo id
--       3 expected version   4 expected digest of the last event ("" for none)
--       5 new digest   6 new state
--       7 number of events, then for each: type, body
--       and the options that the command needs, each a name and its arguments, in this order:
--         "task", consumer group, consumer, id of the task, which the consumer must hold
--           KEYS  lane of the task (stream)
--         "dispatch", consumer group of the dispatchers, partition, consumer, client, grace in ms,
--         for each stage "1": it continues a begun photo, else "0"; "" if the consumer keeps no
--         task; number of tasks that the events lead to, and for each: number of its event, its
--         stage, "1" if the consumer keeps it, and its body before and after the event's position
--           KEYS  lane of each task (stream); then, if there are stages, the accounts of the tasks'
--           class, and the turns of its stages, of the other classes' stages (sorted sets)
--         "command", idempotency key, its time to live in seconds, the most keys the client may
--         have, 0: no limit, content hash of the command or ""
--           KEYS  idempotency (string), idempotency keys of the client (sorted set by expiry in ms)
--         "session", value of the record of what was trimmed for which the session is known not to
--         have been closed, "" if nothing was trimmed then, or "?" if it is not known
--           KEYS  session that the photo is uploaded into (hash v, d, p, s), see sessions.py,
--                 record of what was trimmed (string)
--         "claim", content hash, its bucket and its field there, or "" and "" for a client that is
--         not known to have buckets
--           KEYS  content hashes of the client (hash), the bucket (hash) if it is given,
--                 clients (hash), see content_hashes.py
--         "usage", photos, bytes, jobs that the events add to the usage
--           KEYS  usage of the client (hash)
--         "quota", photos, bytes, jobs: the most the client may have afterwards, 0: no limit;
--         bytes that each job reserves for its renditions. Only after "usage"
--         "release", content hash, bucket, field: as of "claim"
--           KEYS  content hashes of the client (hash), the bucket (hash) if it is given
-- Returns {"appended", id of each event ..., then, if the tasks were dispatched, for each its id in
--         the lane, or "" if the consumer does not hold it}
--       | {"lost"} | {"repeated", photo id, last event id}
--       | {"duplicate", photo id} | {"reused"} | {"conflict"} | {"strange"}: another log, or none
--       | {"closed"}: the session takes no more uploads
--       | {"unsure"}: the content hashes of the client were lost
--       | {"unsure", "bucket" | "usage"}: only this bucket of the content hashes, or the usage, was
--       | {"unsure", "session"}: the session has no state, and the archive may have its closing
--       | {"split"}: the client has buckets, and none was given
--       | {"over", "photos" | "bytes" | "jobs", current count, limit, reserved bytes}: bytes of all
--         jobs, including the new one
--       | {"over", "keys", ms until the oldest one expires, limit}
-- An idempotency key holds a photo id and, after a space, the id of the last event that the command
-- appended, or the content hash if the command met a duplicate.
-- Events whose turn it is are dispatched at once: the group of the dispatchers passes over them. If
-- others before them wait for a dispatcher, or a lane has no group, all are left to it. A task is kept
-- if claim.lua would choose it next among the tasks that it has admitted.
local call, pcall, format = redis.call, redis.pcall, string.format
local log, photo = KEYS[1], KEYS[3]
local version, count = tonumber(ARGV[3]), tonumber(ARGV[7])
local at, key = 8 + 2 * count, 4

-- Only what HINCRBY reads too. It counts exactly; here, numbers from 2^53 on are rounded.
local function natural(text)
  local is_one = text == "0" or (text and #text <= 18 and string.find(text, "^[1-9]%d*$"))
  return is_one and tonumber(text) or nil
end

local function is_total(number)
  return number >= 0 and number < 1e18
end

-- Return where the content hash of the option at ``at`` is, or is to be: key, field, holder or
-- nothing; ``is_complete`` unless the hashes are lost or there are none yet; ``split`` and
-- ``buckets``, to be written there and to the root, if the bucket has to be created. Or an outcome
-- to return instead.
local function find_hash()
  local root, hash, number = KEYS[key], ARGV[at + 1], tonumber(ARGV[at + 2])
  local found = pcall("HMGET", root, hash, "", "split", "buckets")
  if found.err then
    return { outcome = { "unsure" } }
  end
  local split = not found[2] and found[3]
  local place = { key = root, field = hash, holder = found[1], is_complete = found[2] or split }
  if found[1] or not split then
    return place
  elseif not number then
    return { outcome = { "split" } }
  end
  place.key, place.field = KEYS[key + 1], ARGV[at + 3]
  local made = found[4] and #found[4] == 4096 and string.sub(found[4], number + 1, number + 1)
  if made == "1" then
    local kept = pcall("HMGET", place.key, place.field, "")
    if kept.err or kept[2] ~= split then
      return { outcome = { "unsure", "bucket" } }
    end
    place.holder = kept[1]
  elseif made == "0" then
    place.split = split
    place.buckets = string.sub(found[4], 1, number) .. "1" .. string.sub(found[4], number + 2)
  else
    return { outcome = { "unsure" } }
  end
  return place
end

if call("GET", KEYS[2]) ~= ARGV[1] then
  return { "strange" }
end
local lane, group, task
if ARGV[at] == "task" then
  lane, group, task = KEYS[key], ARGV[at + 1], ARGV[at + 3]
  local pending = pcall("XPENDING", lane, group, task, task, 1)
  if pending.err or #pending == 0 or pending[1][2] ~= ARGV[at + 2] then
    return { "lost" }
  end
  at, key = at + 4, key + 1
end
local dispatch
if ARGV[at] == "dispatch" then
  dispatch = { group = ARGV[at + 1], partition = ARGV[at + 2], consumer = ARGV[at + 3], tasks = {} }
  local client, grace, begun = ARGV[at + 4], tonumber(ARGV[at + 5]), ARGV[at + 6]
  local tasks = tonumber(ARGV[at + 7])
  at = at + 8
  local is_possible = false
  local groups = pcall("XINFO", "GROUPS", log)
  for _, fields in ipairs(groups.err and {} or groups) do
    local known = {}
    for i = 1, #fields, 2 do
      known[fields[i]] = fields[i + 1]
    end
    if known["name"] == dispatch.group then
      local after = "(" .. known["last-delivered-id"]
      is_possible = #call("XRANGE", log, after, "+", "COUNT", 1) == 0
      dispatch.read = known["entries-read"]
    end
  end
  for i = 1, tasks do
    local lane_of, stage = KEYS[key], ARGV[at + 1]
    -- A reply that is an error, or names no consumer: only a dispatcher mends a lane.
    is_possible = is_possible and not pcall("XPENDING", lane_of, stage).err
    dispatch.tasks[i] = {
      event = tonumber(ARGV[at]), lane = lane_of, stage = stage, is_kept = ARGV[at + 2] == "1",
      before = ARGV[at + 3], after = ARGV[at + 4],
    }
    at, key = at + 5, key + 1
  end
  if #begun > 0 then
    local accounts, turns, stages = KEYS[key], key + 1, #begun
    local is_next = false
    if is_possible then
      is_next = call("EXISTS", unpack(KEYS, turns + stages, turns + 3 * stages - 1)) == 0
      local now = pcall("ZSCORE", accounts, "")
      local served = pcall("ZSCORE", accounts, client)
      now = type(now) == "string" and tonumber(now) or -math.huge
      served = math.max(type(served) == "string" and tonumber(served) or -math.huge, now - grace)
      for stage = 1, stages do
        local first = is_next and pcall("ZRANGE", KEYS[turns + stage - 1], 0, 1, "WITHSCORES") or {}
        -- The client's own turn is as of its last look: it may have paid since, and not be first.
        local other = first[1] == client and 3 or 1
        if first.err then
          is_next = false
        elseif first[other] then
          local grace_of = string.sub(begun, stage, stage) == "1" and grace or 0
          local turn = math.max(tonumber(first[other + 1]), now - grace - grace_of)
          is_next = is_next and turn >= served - grace
        end
      end
    end
    for _, each in ipairs(dispatch.tasks) do
      each.is_kept = each.is_kept and is_next
    end
    key = turns + 3 * stages
  end
  dispatch = is_possible and dispatch or nil
end
local remember
if ARGV[at] == "command" then
  local command, commands, id, ttl = KEYS[key], KEYS[key + 1], ARGV[at + 1], tonumber(ARGV[at + 2])
  local limit = tonumber(ARGV[at + 3])
  -- A value of neither form is overwritten.
  local done = pcall("GET", command)
  done = type(done) == "string" and done or ""
  local holder, ms, seq = string.match(done, "^(%S+) (%d+)%-(%d+)$")
  if holder and tonumber(ms) < 2 ^ 53 and tonumber(seq) < 2 ^ 53 then
    return { "repeated", holder, ms .. "-" .. seq }
  end
  local first, hash = string.match(done, "^(%S+) (%x+)$")
  if first and #hash == 64 then
    return hash == ARGV[at + 4] and { "duplicate", first } or { "reused" }
  end
  local time = call("TIME")
  local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
  if limit > 0 then
    local keys = pcall("ZCOUNT", commands, "(" .. now_ms, "+inf")
    if type(keys) == "number" and keys >= limit then
      local oldest = call(
        "ZRANGEBYSCORE", commands, "(" .. now_ms, "+inf", "WITHSCORES", "LIMIT", 0, 1)
      local left_ms = math.min(tonumber(oldest[2]) - now_ms, ttl * 1000)
      return { "over", "keys", tostring(math.ceil(left_ms)), ARGV[at + 3] }
    end
  end
  remember = function(value)
    call("SET", command, value, "EX", ttl)
    if call("TYPE", commands).ok ~= "zset" then
      call("PEXPIRE", commands, 0)
    end
    -- A few at a time: there could be very many.
    local expired = call("ZRANGEBYSCORE", commands, "-inf", now_ms, "LIMIT", 0, 100)
    if #expired > 0 then
      call("ZREM", commands, unpack(expired))
    end
    call("ZADD", commands, now_ms + ttl * 1000, id)
    call("PEXPIRE", commands, ttl * 1000 + 60000)
  end
  at, key = at + 5, key + 2
end
if ARGV[at] == "session" then
  local state = pcall("HGET", KEYS[key], "s")
  if type(state) == "string" then
    if string.sub(state, 1, 1) == "C" then
      return { "closed" }
    end
  elseif (pcall("GET", KEYS[key + 1]) or "") ~= ARGV[at + 1] then
    return { "unsure", "session" }
  end
  at, key = at + 2, key + 2
end
local claimed, root, clients
local is_new = false
if ARGV[at] == "claim" then
  claimed, root = find_hash(), KEYS[key]
  if claimed.outcome then
    return claimed.outcome
  elseif claimed.holder then
    if remember then
      remember(claimed.holder .. " " .. ARGV[at + 1])
    end
    return { "duplicate", claimed.holder }
  end
  key = key + (ARGV[at + 2] == "" and 1 or 2)
  clients = KEYS[key]
  if not claimed.is_complete then
    local known = pcall("HMGET", clients, "", root)
    if known.err or known[2] or (not known[1] and call("EXISTS", log) == 1) then
      return { "unsure" }
    end
    is_new = true
  end
  at, key = at + 4, key + 1
end
if count > 0 then
  local known = pcall("HMGET", photo, "v", "d")
  -- A lost state is put back first (restore.lua): without it there is nothing to check against.
  if known.err or (tonumber(known[1]) or 0) ~= version or (known[1] and known[2] ~= ARGV[4]) then
    return { "conflict" }
  end
end
local usage, photos, bytes, jobs
if ARGV[at] == "usage" then
  local more_photos, more_bytes, more_jobs =
    tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local is_limited = ARGV[at + 4] == "quota"
  usage = { key = KEYS[key], more = { unpack(ARGV, at + 1, at + 3) } }
  if is_new then
    photos, bytes, jobs = 0, 0, 0
  else
    local kept = pcall("HMGET", usage.key, "", "photos", "bytes", "jobs")
    if not kept.err and kept[1] then
      photos, bytes, jobs = natural(kept[2]), natural(kept[3]), natural(kept[4])
    end
    if not (photos and bytes and jobs) then
      if is_limited then
        return { "unsure", "usage" }
      end
      usage = nil
    end
  end
  if is_limited then
    -- gateway/limits/quotas.py applies the same rule before an upload is received; a test compares
    -- them. Jobs are a running total, so reserved bytes need no total of their own.
    local reserved = tonumber(ARGV[at + 8]) * (jobs + more_jobs)
    local function over(name, used, held_back, more, limit)
      if tonumber(limit) > 0 and more > 0 and used + held_back + more > tonumber(limit) then
        return { "over", name, format("%.0f", used), limit, format("%.0f", reserved) }
      end
    end
    local rejection = over("photos", photos, 0, more_photos, ARGV[at + 5])
      -- Every limited command adds bytes sooner or later: a new job adds those of its renditions.
      or over("bytes", bytes, reserved, math.max(more_bytes, 1), ARGV[at + 6])
      or over("jobs", jobs, 0, more_jobs, ARGV[at + 7])
    if rejection then
      return rejection
    end
    at = at + 5
  end
  if usage then
    usage.is_exact = photos + bytes + jobs < 2 ^ 53
    photos, bytes, jobs = photos + more_photos, bytes + more_bytes, jobs + more_jobs
    usage.is_exact = usage.is_exact and photos + bytes + jobs < 2 ^ 53
    -- Only a damaged count can become negative: it is folded again.
    usage.is_damaged = not (is_total(photos) and is_total(bytes) and is_total(jobs))
  end
  at, key = at + 4, key + 1
end
local released
if ARGV[at] == "release" then
  released = find_hash()
  if released.outcome and released.outcome[1] == "split" then
    return released.outcome
  end
  at, key = at + 4, key + (ARGV[at + 2] == "" and 1 or 2)
end
if ARGV[at] or KEYS[key] then
  -- Never write without a check that was asked for.
  return redis.error_reply("ERR append.lua: unknown or misplaced option")
end

local reply = { "appended" }
for i = 1, count do
  reply[i + 1] = call(
    "XADD", log, "*", "t", ARGV[6 + 2 * i], "p", ARGV[2], "v", format("%d", version + i),
    "b", ARGV[7 + 2 * i])
end
if count > 0 then
  local last = reply[count + 1]
  call("HSET", photo, "v", format("%d", version + count), "d", ARGV[5], "p", last, "s", ARGV[6])
  if remember then
    remember(ARGV[2] .. " " .. last)
  end
end
if dispatch and count > 0 then
  local last, read = reply[count + 1], dispatch.read
  if read then
    call("XGROUP", "SETID", log, dispatch.group, last, "ENTRIESREAD", read + count)
  else
    call("XGROUP", "SETID", log, dispatch.group, last)
  end
  for i, each in ipairs(dispatch.tasks) do
    local cause = cmsgpack.pack(dispatch.partition .. ":" .. reply[each.event + 1])
    local id = call("XADD", each.lane, "*", "b", each.before .. cause .. each.after)
    reply[count + 1 + i] = each.is_kept and id or ""
    if each.is_kept then
      call("XCLAIM", each.lane, each.stage, dispatch.consumer, 0, id,
        "RETRYCOUNT", 0, "FORCE", "JUSTID") -- not begun
    end
  end
end
if usage then
  if is_new or usage.is_damaged then
    call("PEXPIRE", usage.key, 0)
  end
  if is_new then
    call("HSET", usage.key, "", "")
  end
  if not usage.is_damaged and usage.is_exact then
    call("HSET", usage.key, "photos", format("%d", photos), "bytes", format("%d", bytes),
      "jobs", format("%d", jobs))
  elseif not usage.is_damaged then
    for i, name in ipairs({ "photos", "bytes", "jobs" }) do
      call("HINCRBY", usage.key, name, usage.more[i])
    end
  end
end
if claimed then
  if claimed.split then
    -- What may be there is from an earlier split.
    call("PEXPIRE", claimed.key, 0)
    call("HSET", claimed.key, "", claimed.split)
    call("HSET", root, "buckets", claimed.buckets)
  end
  call("HSET", claimed.key, claimed.field, ARGV[2])
  if is_new then
    call("HSET", root, "", "")
    call("HSET", clients, "", "", root, "")
  end
end
if released and released.holder == ARGV[2] then
  call("HDEL", released.key, released.field)
end
if task then
  call("XACK", lane, group, task)
  call("XDEL", lane, task)
end
return reply

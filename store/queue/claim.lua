-- Claim waiting tasks. Classes of lanes (high, normal, low) are served in the given order; within a
-- class, the client that has been served least is next: see store/queue/turns.py.
--
-- KEYS  for each class and stage its lane (stream), then likewise the clients that wait in it
--       (sorted set: client, its turn), then likewise their tasks (sorted set of score 0, see member);
--       then for each class its accounts (sorted set: client, what it has been served in ms; "": now)
-- ARGV  1 consumer   2 maximum number of tasks   3 number of stages
--       4 for each task the order of the classes, such as "123"; "0" is none
--       5 "1": clients pay   6 for each stage "0": not wanted, "1": wanted, "2": of all clients
--       7 for each stage "1": it continues a begun photo, else "0"   8 grace in ms for those
--       9 maximum number of tasks of each client, except in stages of all clients; 0: no maximum
--      10 a task that costs more ms is the last one of the claim; 0: none is;
--       then the name of each stage, which is its group;
--       then the maximum number of tasks of each stage;
--       then the number of clients with a maximum of their own, and for each: client, maximum;
--       then for each account to settle: class, client, ms
-- Returns {1 if entries are left to be read, for each claimed task: {index of its lane, entry id,
--         body, number of clients that waited in its lane}}.
local ADMIT_COUNT, SWEPT, GONE, DEAREST_MS = 500, 4, 1000, 600000
local consumer, count, stages = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local pays, wanted, grace = ARGV[5] == "1", ARGV[6], tonumber(ARGV[8])
local at = 11 + 2 * stages
local of_each, dear_ms = tonumber(ARGV[9]), tonumber(ARGV[10])
if of_each == 0 then
  of_each = count
end
local left, passed, passes = {}, {}, 0
local settled = at + 2 * tonumber(ARGV[at])
for i = at + 1, settled, 2 do
  left[ARGV[i]] = tonumber(ARGV[i + 1])
  if left[ARGV[i]] == 0 then
    passed[ARGV[i]], passes = true, passes + 1
  end
end
local left_of_stage = {}
for stage = 1, stages do
  local is_wanted = string.sub(wanted, stage, stage) ~= "0"
  left_of_stage[stage] = is_wanted and tonumber(ARGV[10 + stages + stage]) or 0
end
local classes = (#KEYS) / (3 * stages + 1)
local more, gone = false, 0

local function key(kind, class, stage)
  return KEYS[(kind * classes + class - 1) * stages + stage]
end
local function lane_of(class, stage) return key(0, class, stage) end
local function turns_of(class, stage) return key(1, class, stage) end
local function tasks_of(class, stage) return key(2, class, stage) end
local function accounts_of(class) return KEYS[3 * classes * stages + class] end
local function group_of(stage) return ARGV[10 + stage] end
local function is_of_all(stage) return string.sub(wanted, stage, stage) == "2" end
local function grace_of(stage) return string.sub(ARGV[7], stage, stage) == "1" and grace or 0 end

-- The class's now: the service of the client that was served last. If it is lost with the accounts,
-- it is restored from the turns of the waiting clients.
local nows = {}
local function now(class)
  if not nows[class] then
    local account = tonumber(redis.call("ZSCORE", accounts_of(class), ""))
    if not account then
      account = 0
      for stage = 1, stages do
        local first = redis.call("ZRANGE", turns_of(class, stage), 0, 0, "WITHSCORES")
        if #first > 0 then
          account = math.max(account, tonumber(first[2]) + grace_of(stage))
        end
      end
      redis.call("ZADD", accounts_of(class), account, "")
    end
    nows[class] = account
  end
  return nows[class]
end

-- What is known by class, and stays true during the claim: accounts by client (false: none), the
-- first client of each stage, the oldest task of that client, and the number of clients.
local accounts, found_first, found_oldest, counted = {}, {}, {}, {}
for class = 1, classes do
  accounts[class], found_first[class], found_oldest[class], counted[class] = {}, {}, {}, {}
end
local function account_of(class, client)
  local known = accounts[class][client]
  if known == nil then
    known = tonumber(redis.call("ZSCORE", accounts_of(class), client)) or false
    accounts[class][client] = known
  end
  return known
end

-- Look again for the first clients of the stages where this one was first.
local function forget_first(class, client)
  for stage = 1, stages do
    local known = found_first[class][stage]
    if known and known[1] == client then
      found_first[class][stage] = nil
    end
  end
end

-- The service that a client has received, but at least now minus the grace: time spent in other
-- lanes, or away, earns no credit.
local function served(class, client)
  return math.max(account_of(class, client) or -math.huge, now(class) - grace)
end

-- If the client's turn gets later, `first` notices; if it gets earlier, its turns are updated here.
local function pay(class, client, ms)
  local sum = served(class, client) + ms
  redis.call("ZADD", accounts_of(class), sum, client)
  accounts[class][client] = sum
  forget_first(class, client)
  if ms < 0 then
    for stage = 1, stages do
      redis.call("ZADD", turns_of(class, stage), "XX", sum - grace_of(stage), client)
    end
  end
end

local advanced = {}
local function advance(class, to)
  nows[class] = math.max(to, now(class))
  advanced[class] = true
end
local function record_now(class)
  redis.call("ZADD", accounts_of(class), nows[class], "")
  local old = redis.call(
    "ZRANGEBYSCORE", accounts_of(class), "-inf", nows[class] - grace, "LIMIT", 0, SWEPT)
  if #old > 0 then
    redis.call("ZREM", accounts_of(class), unpack(old))
  end
end

-- Read a task's bytes: client, cost, and what it pays when it is claimed. Tasks without a valid
-- client name share the client "?", which no client can be called.
local function read(body)
  local ok, task = pcall(cmsgpack.unpack, body)
  task = ok and type(task) == "table" and task or {}
  local client = type(task.client_id) == "string" and task.client_id or ""
  client = string.match(client, "^[%w._@-]+$") or "?"
  local cost = type(task.cost_ms) == "number" and task.cost_ms or 1
  cost = math.floor(math.max(1, math.min(cost, DEAREST_MS)))
  return client, cost, task.follows == true and 0 or cost
end

-- Members of one client sort by entry id, because each number is preceded by its length.
local function member(client, id, due)
  local ms, seq = string.match(id, "^(%d+)-(%d+)$")
  return client .. "\0" .. string.char(64 + #ms) .. ms .. string.char(64 + #seq) .. seq
    .. ":" .. due
end
local function parts(name)
  local ms, seq, due = string.match(name, "%z.(%d+).(%d+):(%d+)$")
  if ms then
    return ms .. "-" .. seq, math.min(tonumber(due), DEAREST_MS)
  end
end
local function oldest(class, stage, client)
  return redis.call("ZRANGE", tasks_of(class, stage), "[" .. client .. "\0",
    "(" .. client .. "\1", "BYLEX", "LIMIT", 0, 1)[1]
end

-- Admit the new entries of a lane. They are read with NOACK: only claimed entries are pending.
local function admit_lane(class, stage, entries)
  local lane, group = lane_of(class, stage), group_of(stage)
  now(class)
  if redis.call("ZCARD", turns_of(class, stage)) == 0
    and redis.call("ZCARD", tasks_of(class, stage)) > 0 then
    -- Tasks wait, but no client has a turn: the turns were lost.
    redis.call("PEXPIRE", tasks_of(class, stage), 0)
    redis.call("XGROUP", "SETID", lane, group, "0")
    more = true
    return
  end
  local held, clients = {}, {}
  more = more or #entries == ADMIT_COUNT
  local pending = redis.call("XPENDING", lane, group, entries[1][1], entries[#entries][1], 10000)
  for _, each in ipairs(pending) do
    held[each[1]] = true
  end
  for _, entry in ipairs(entries) do
    if not held[entry[1]] then
      local client, cost, due = read(entry[2][2])
      local name = member(client, entry[1], due)
      local added = redis.call("ZADD", tasks_of(class, stage), 0, name)
      clients[client] = (clients[client] or 0) + added * (cost - due)
    end
  end
  for client, ms in pairs(clients) do
    local turn = served(class, client) - grace_of(stage)
    redis.call("ZADD", turns_of(class, stage), "NX", turn, client)
    if pays and ms > 0 then
      pay(class, client, ms)
    end
  end
end

-- All lanes of a stage have its group.
local function admit(stage)
  local call = { "XREADGROUP", "GROUP", group_of(stage), consumer, "COUNT", ADMIT_COUNT, "NOACK", "STREAMS" }
  local class_of = {}
  for class = 1, classes do
    call[8 + class], call[8 + classes + class] = lane_of(class, stage), ">"
    class_of[lane_of(class, stage)] = class
  end
  for _, each in ipairs(redis.call(unpack(call)) or {}) do
    admit_lane(class_of[each[1]], stage, each[2])
  end
end

-- The first client of a lane, by turn, whose tasks may be claimed.
local function first(class, stage)
  local of_all = is_of_all(stage)
  local turns = turns_of(class, stage)
  local found = redis.call("ZRANGE", turns, 0, of_all and 0 or passes, "WITHSCORES")
  for i = 1, #found, 2 do
    local client, turn = found[i], tonumber(found[i + 1])
    if of_all or not passed[client] then
      local account = account_of(class, client)
      if account and account - grace_of(stage) > turn then
        -- It has paid since its turn was set.
        redis.call("ZADD", turns, "XX", account - grace_of(stage), client)
        return first(class, stage)
      end
      return client, turn
    end
  end
end

local function known_first(class, stage)
  local known = found_first[class][stage]
  if not known then
    known = { first(class, stage) }
    found_first[class][stage] = known
  end
  return known[1], known[1] and math.max(known[2], now(class) - grace - grace_of(stage))
end

local function known_oldest(class, stage, client)
  local known = found_oldest[class][stage]
  if not known or known[1] ~= client then
    known = { client, oldest(class, stage, client) }
    found_oldest[class][stage] = known
  end
  return known[2]
end

-- The lane whose first client is next in the class. If that client has several, the lane of its
-- oldest task, because a photo whose picture is decoded is best finished first.
local function next_of(class)
  local stage, client, turn
  for i = 1, stages do
    if left_of_stage[i] > 0 then
      local found, its = known_first(class, i)
      if found and (not turn or its < turn) then
        stage, client, turn = i, found, its
      elseif found and found == client and its == turn then
        local one, other = known_oldest(class, stage, client), known_oldest(class, i, client)
        if one and other and other < one then
          stage = i
        end
      end
    end
  end
  return stage, client
end

-- Deliver the client's oldest task; nil if all of its tasks are gone.
local function take(class, stage, client)
  local lane, group, tasks = lane_of(class, stage), group_of(stage), tasks_of(class, stage)
  local claimed
  local name = known_oldest(class, stage, client)
  while name and not claimed and gone < GONE do
    local id, due = parts(name)
    redis.call("ZREM", tasks, name)
    -- The set may contain foreign members, or members whose entry is gone.
    local pending = id and redis.pcall("XPENDING", lane, group, id, id, 1)
    if pending and not pending.err and #pending == 0 then
      local entry = redis.call(
        "XCLAIM", lane, group, consumer, 0, id, "RETRYCOUNT", 1, "FORCE")[1]
      if entry then
        claimed = { (class - 1) * stages + stage, id, entry[2][2], 0 }
        if pays and due > 0 then
          advance(class, served(class, client))
          pay(class, client, due)
        end
      end
    end
    gone = gone + (claimed and 0 or 1)
    name = oldest(class, stage, client)
  end
  found_oldest[class][stage] = { client, name }
  if not name then
    redis.call("ZREM", turns_of(class, stage), client)
    found_first[class][stage], counted[class][stage] = nil, nil
  end
  return claimed
end

-- Note that a client has got a task of a stage; return whether the claim ends with it.
local function count_in(stage, client, body)
  left_of_stage[stage] = left_of_stage[stage] - 1
  if not is_of_all(stage) then
    left[client] = (left[client] or of_each) - 1
    if left[client] == 0 then
      passed[client], passes = true, passes + 1
      for class = 1, classes do
        forget_first(class, client)
      end
    end
  end
  if dear_ms == 0 then
    return false
  end
  local _, cost = read(body)
  return cost > dear_ms
end

local function waits(class)
  local turns = {}
  for stage = 1, stages do
    turns[stage] = turns_of(class, stage)
  end
  return redis.call("EXISTS", unpack(turns)) > 0
end

local function clients_of(class, stage)
  local known = counted[class][stage]
  if not known then
    known = redis.call("ZCARD", turns_of(class, stage))
    counted[class][stage] = known
  end
  return known
end

-- Claim the next task of the classes in this order; nil if none waits.
local looked_at, served_out = {}, {}
local function claim_one(order)
  for i = 1, classes do
    local class = tonumber(string.sub(order, i, i))
    if class > 0 and not looked_at[class] then
      looked_at[class], served_out[class] = true, not waits(class)
    end
    while class > 0 and not served_out[class] and gone < GONE do
      local stage, client = next_of(class)
      if not stage then
        -- Nothing is added during a claim.
        served_out[class] = true
        break
      end
      local clients = clients_of(class, stage)
      local task = take(class, stage, client)
      if task then
        task[4] = clients
        return task, count_in(stage, client, task[3])
      end
    end
  end
end

for i = settled + 1, #ARGV, 3 do
  pay(tonumber(ARGV[i]), ARGV[i + 1], tonumber(ARGV[i + 2]))
end
for stage = 1, stages do
  admit(stage)
end
local everything = passes == 0 and not string.find(wanted .. ARGV[4], "0", 1, true)
local claimed = {}
for i = 1, count do
  local task, is_last = claim_one(string.sub(ARGV[4], classes * (i - 1) + 1, classes * i))
  claimed[#claimed + 1] = task
  if not task or is_last then
    break
  end
end
for class in pairs(advanced) do
  record_now(class)
end
more = more or gone >= GONE
if #claimed == 0 and count > 0 and pays and everything and not more then
  -- Nobody waits: the next client starts like all others.
  for class = 1, classes do
    redis.call("PEXPIRE", accounts_of(class), 0)
  end
end
return { more and 1 or 0, claimed }

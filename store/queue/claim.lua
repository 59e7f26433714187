-- Claim waiting tasks. Lanes of a class (high, normal, low) are served in the order of the classes;
-- in a class the client is next that has been served least: see store/queue/turns.py.
--
-- KEYS  for each class and stage the lane (stream), then likewise the clients that wait in it
--       (sorted set: client, its turn), then likewise their tasks (sorted set of score 0, see member);
--       then for each class its accounts (sorted set: client, what it has been served in ms; "": now)
-- ARGV  1 consumer   2 how many at most   3 number of stages   4 order of the classes, such as "123"
--       5 "1": clients pay   6 for each stage "0": not wanted, "1": wanted, "2": of all clients
--       7 "1" or "0" for each stage: photos under way go on with it   8 grace in ms for those;
--       then the name of each stage, which is its group;
--       then the number of clients to pass over, and each;
--       then for each account to settle: class, client, ms
-- Returns {1 if more is to be looked at, for each task claimed: {index of lane, entry id, body,
--         clients that wait in the class}}.
local LET_IN, SWEPT, GONE, DEAREST_MS = 500, 4, 1000, 600000
local consumer, count, stages = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local pays, wanted, grace = ARGV[5] == "1", ARGV[6], tonumber(ARGV[8])
local at = 9 + stages
local passed, passes = {}, tonumber(ARGV[at])
for i = at + 1, at + passes do
  passed[ARGV[i]] = true
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
local function group_of(stage) return ARGV[8 + stage] end
local function grace_of(stage) return string.sub(ARGV[7], stage, stage) == "1" and grace or 0 end

-- The class's now: what whoever is served has been served. Lost with the accounts, it is where the
-- clients that wait are.
local nows = {}
local function now(class)
  if not nows[class] then
    local said = tonumber(redis.call("ZSCORE", accounts_of(class), ""))
    if not said then
      said = 0
      for stage = 1, stages do
        local first = redis.call("ZRANGE", turns_of(class, stage), 0, 0, "WITHSCORES")
        if #first > 0 then
          said = math.max(said, tonumber(first[2]) + grace_of(stage))
        end
      end
      redis.call("ZADD", accounts_of(class), said, "")
    end
    nows[class] = said
  end
  return nows[class]
end

-- What a client has been served, and no less than a grace before now: to wait elsewhere, or not at
-- all, gives no claim to more.
local function served(class, client)
  local said = tonumber(redis.call("ZSCORE", accounts_of(class), client))
  return math.max(said or -math.huge, now(class) - grace)
end

-- Where the client's turn comes later, `first` finds that out; where it comes sooner, it must be
-- told at once.
local function pay(class, client, ms)
  local sum = served(class, client) + ms
  redis.call("ZADD", accounts_of(class), sum, client)
  if ms < 0 then
    for stage = 1, stages do
      redis.call("ZADD", turns_of(class, stage), "XX", sum - grace_of(stage), client)
    end
  end
end

local function advance(class, to)
  if to > now(class) then
    nows[class] = to
    redis.call("ZADD", accounts_of(class), to, "")
  end
  local old = redis.call(
    "ZRANGEBYSCORE", accounts_of(class), "-inf", now(class) - grace, "LIMIT", 0, SWEPT)
  if #old > 0 then
    redis.call("ZREM", accounts_of(class), unpack(old))
  end
end

-- What a task's own bytes say: client, cost, and what it pays when it is claimed. What no client
-- can be called stands for all that do not say.
local function read(body)
  local ok, task = pcall(cmsgpack.unpack, body)
  task = ok and type(task) == "table" and task or {}
  local client = type(task.client_id) == "string" and task.client_id or ""
  client = string.match(client, "^[%w._@-]+$") or "?"
  local cost = type(task.cost_ms) == "number" and task.cost_ms or 1
  cost = math.floor(math.max(1, math.min(cost, DEAREST_MS)))
  return client, cost, task.follows == true and 0 or cost
end

-- The tasks of a client sort by their ids: each number has its length before it.
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

-- Let in what came into a lane. It is read without an acknowledgement to come: held is only what is
-- claimed.
local function let_in_lane(class, stage, entries)
  local lane, group = lane_of(class, stage), group_of(stage)
  now(class)
  if redis.call("ZCARD", turns_of(class, stage)) == 0
    and redis.call("ZCARD", tasks_of(class, stage)) > 0 then
    -- Nobody's turn, and still tasks wait: it was lost.
    redis.call("PEXPIRE", tasks_of(class, stage), 0)
    redis.call("XGROUP", "SETID", lane, group, "0")
    more = true
    return
  end
  local held, clients = {}, {}
  more = more or #entries == LET_IN
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
local function let_in(stage)
  local call = { "XREADGROUP", "GROUP", group_of(stage), consumer, "COUNT", LET_IN, "NOACK", "STREAMS" }
  local class_of = {}
  for class = 1, classes do
    call[8 + class], call[8 + classes + class] = lane_of(class, stage), ">"
    class_of[lane_of(class, stage)] = class
  end
  for _, each in ipairs(redis.call(unpack(call)) or {}) do
    let_in_lane(class_of[each[1]], stage, each[2])
  end
end

-- The client whose turn is first among those of a lane that may be claimed.
local function first(class, stage)
  local of_all = string.sub(wanted, stage, stage) == "2"
  local turns = turns_of(class, stage)
  local found = redis.call("ZRANGE", turns, 0, of_all and 0 or passes, "WITHSCORES")
  for i = 1, #found, 2 do
    local client, turn = found[i], tonumber(found[i + 1])
    if of_all or not passed[client] then
      local said = tonumber(redis.call("ZSCORE", accounts_of(class), client))
      if said and said - grace_of(stage) > turn then
        -- It has paid since.
        redis.call("ZADD", turns, "XX", said - grace_of(stage), client)
        return first(class, stage)
      end
      return client, math.max(turn, now(class) - grace - grace_of(stage))
    end
  end
end

-- The lane whose first client is next of all; of several lanes of that client the one where its
-- oldest task is, for a photo whose picture is decoded is best finished.
local function next_of(class)
  local stage, client, turn
  for i = 1, stages do
    if string.sub(wanted, i, i) ~= "0" then
      local found, its = first(class, i)
      if found and (not turn or its < turn) then
        stage, client, turn = i, found, its
      elseif found and found == client and its == turn then
        local one, other = oldest(class, stage, client), oldest(class, i, client)
        if one and other and other < one then
          stage = i
        end
      end
    end
  end
  return stage, client
end

-- Deliver the oldest task of the client; nil if none that it had is there any more.
local function take(class, stage, client)
  local lane, group, tasks = lane_of(class, stage), group_of(stage), tasks_of(class, stage)
  local claimed
  local name = oldest(class, stage, client)
  while name and not claimed and gone < GONE do
    local id, due = parts(name)
    redis.call("ZREM", tasks, name)
    -- Others may have written a name that is none, or is of no entry.
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
  if not name then
    redis.call("ZREM", turns_of(class, stage), client)
  end
  return claimed
end

for i = at + passes + 1, #ARGV, 3 do
  pay(tonumber(ARGV[i]), ARGV[i + 1], tonumber(ARGV[i + 2]))
end
for stage = 1, stages do
  let_in(stage)
end
local claimed = {}
for i = 1, classes do
  local class = tonumber(string.sub(ARGV[4], i, i))
  local turns = {}
  for stage = 1, stages do
    turns[stage] = turns_of(class, stage)
  end
  while #claimed < count and gone < GONE and redis.call("EXISTS", unpack(turns)) > 0 do
    local stage, client = next_of(class)
    if not stage then
      break
    end
    local clients = redis.call("ZCARD", turns[stage])
    local task = take(class, stage, client)
    if task then
      task[4] = clients
      claimed[#claimed + 1] = task
    end
  end
end
more = more or gone >= GONE
if #claimed == 0 and count > 0 and pays and passes == 0 and not more
  and not string.find(wanted, "0", 1, true) then
  -- Nobody waits: whoever comes next begins as everybody else.
  for class = 1, classes do
    redis.call("PEXPIRE", accounts_of(class), 0)
  end
end
return { more and 1 or 0, claimed }

-- What several scripts share. KEYS[1] to KEYS[6] are the same everywhere.
local ready, processing, leases, delayed, waiting, dead =
  KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]

-- An item of ours is `jira-agent/1 <id, 26 characters> <header as JSON>`, a line feed, and the body. Everything else on
-- the list is a body that another program put there.
local MARK, ID, HEADER = 'jira-agent/1 ', 26, 41

local function id_of(item)
  if string.sub(item, 1, #MARK) == MARK and string.sub(item, HEADER - 1, HEADER - 1) == ' ' then
    return string.sub(item, #MARK + 1, #MARK + ID)
  end
  return nil
end

local function wrapped(id, body)
  return MARK .. id .. ' {}\n' .. body
end

-- The same item as one that was handed out before; `deaths` is added to the deaths of workers that held it. No two turns of
-- an item are equal, so that whoever still holds an earlier one cannot take this one off the list.
local function returned(item, deaths)
  local line = string.find(item, '\n', 1, true)
  if not id_of(item) or not line then
    return item
  end
  local read, header = pcall(cjson.decode, string.sub(item, HEADER, line - 1))
  if not read or type(header) ~= 'table' then
    header = {}
  end
  header.redelivered = true
  header.turn = (tonumber(header.turn) or 0) + 1
  header.returns = (tonumber(header.returns) or 0) + deaths
  return string.sub(item, 1, HEADER - 1) .. cjson.encode(header) .. string.sub(item, line)
end

local function microseconds()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

local function milliseconds()
  return math.floor(microseconds() / 1000)
end

-- A lease is a field `<id of the item> <owner>` with its deadline.
local function is_ours(id, owner)
  return redis.call('HEXISTS', leases, id .. ' ' .. owner) == 1
end

local function write_lease(id, owner, deadline)
  redis.call('HSET', leases, id .. ' ' .. owner, string.format('%.0f', deadline))
end

-- Puts tasks whose time has come behind those that are ready.
local function move_due()
  local now = string.format('%.0f', microseconds())
  local due = redis.call('ZRANGEBYSCORE', delayed, '-inf', now, 'LIMIT', 0, 100)
  for _, item in ipairs(due) do
    redis.call('RPUSH', ready, item)
    redis.call('ZREM', delayed, item)
    redis.call('LREM', waiting, 1, id_of(item) or item)
  end
end

-- Whether the server started so recently that living workers may not have renewed their leases yet.
local function is_young(lease_time)
  local info = redis.pcall('INFO', 'server')
  local uptime = type(info) == 'string' and string.match(info, 'uptime_in_seconds:(%d+)')
  return uptime and uptime * 1000 < lease_time
end

-- Returns tasks whose holder gives no sign of life, in front of all others and in their old order.
local function sweep(now, lease_time)
  local items = redis.call('LRANGE', processing, 0, -1)
  local held = redis.call('HGETALL', leases)
  local living, dead_holders, expired = {}, {}, {}
  for index = 1, #held, 2 do
    local deadline = tonumber(held[index + 1])
    if deadline and deadline > now then
      living[string.sub(held[index], 1, ID)] = true
    else
      dead_holders[string.sub(held[index], 1, ID)] = true
      expired[#expired + 1] = held[index]
    end
  end
  if #expired > 0 and is_young(lease_time) then
    return
  end
  for index = #items, 1, -1 do
    local item = items[index]
    local id = id_of(item)
    if not (id and living[id]) then
      -- Without a lease nobody has died over it: something else than our scripts put it here.
      redis.call('LPUSH', ready, id and dead_holders[id] and returned(item, 1) or item)
      redis.call('LREM', processing, 1, item)
    end
  end
  for _, lease in ipairs(expired) do
    redis.call('HDEL', leases, lease)
  end
end

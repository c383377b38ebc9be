-- Puts tasks before the workers whose time has come, and those whose holder gives no sign of life. KEYS: as below. ARGV: the
-- lease time in ms.
local ready, processing, leases, delayed, waiting, looked = unpack(KEYS)
local lease_time = tonumber(ARGV[1])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function text(number)
  return string.format('%.0f', number)
end

-- Behind those that are ready.
local function move_due()
  local due = redis.call('ZRANGEBYSCORE', delayed, '-inf', text(time[1] * 1000000 + time[2]), 'LIMIT', 0, 100)
  for _, item in ipairs(due) do
    redis.call('RPUSH', ready, item)
    redis.call('ZREM', delayed, item)
    redis.call('LREM', waiting, 1, id_of(item) or item)
  end
end

-- Whether somebody has looked so recently that a lease which has expired since was not renewed by its holder. Else the clock
-- may have jumped, or nobody was there who could tell: a lease that is kept has three quarters of its time left or more.
local last = tonumber(redis.call('GET', looked) or '')
local is_back = last and last > now
local is_watched = last and not is_back and now - last < lease_time * 3 / 4

-- Whether the server started so recently that living workers may not have renewed their leases yet.
local function is_young()
  local info = redis.pcall('INFO', 'server')
  local uptime = type(info) == 'string' and string.match(info, 'uptime_in_seconds:(%d+)')
  return uptime and uptime * 1000 < lease_time
end

-- In front of all others and in their old order.
local function sweep()
  local held, count = redis.call('HGETALL', leases), 0
  local living, dead_holders, expired = {}, {}, {}
  for index = 1, #held, 2 do
    local lease, deadline = held[index], tonumber(held[index + 1])
    if not is_watched and (is_back or not deadline or deadline < now + lease_time) then
      deadline = now + lease_time
      redis.call('HSET', leases, lease, text(deadline))
    end
    if deadline and deadline > now then
      living[string.sub(lease, 1, ID)] = true
      count = count + 1
    else
      dead_holders[string.sub(lease, 1, ID)] = true
      expired[#expired + 1] = lease
    end
  end
  if #expired == 0 and redis.call('LLEN', processing) == count then
    return
  end
  if #expired > 0 and is_young() then
    return
  end
  local items = redis.call('LRANGE', processing, 0, -1)
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

move_due()
sweep()
if not is_watched or now - last >= 100 then
  redis.call('SET', looked, text(now))
end
return 1

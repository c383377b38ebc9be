-- Ends a delivery and lets its task go on, if it is still the caller's. KEYS: processing, leases, ready, delayed, waiting,
-- dead. ARGV: the lease (`<id> <owner>`), the held item, what to do with the task, the item that goes on, a delay in ms.
-- Answers 1, or 0 when the delivery is another's by now.
local processing, leases, ready, delayed, waiting, dead = unpack(KEYS)
local lease, item, what, onward = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if redis.call('HEXISTS', leases, lease) == 0 then
  return 0
end
-- What needs memory comes first: when the server has none it refuses here, and nothing has changed.
if what == 'front' then
  redis.call('LPUSH', ready, onward)
elseif what == 'back' then
  redis.call('RPUSH', ready, onward)
elseif what == 'delay' then
  -- In microseconds, and never two alike: those that are due in the same moment come in the order of their scores.
  local time = redis.call('TIME')
  local due = time[1] * 1000000 + time[2] + ARGV[5] * 1000
  local text = string.format('%.0f', due)
  while redis.call('ZCOUNT', delayed, text, text) > 0 do
    due = due + 1
    text = string.format('%.0f', due)
  end
  redis.call('ZADD', delayed, text, onward)
  -- The id of the item, as in `common.lua`.
  redis.call('RPUSH', waiting, string.sub(onward, 14, 39))
elseif what == 'dead' then
  redis.call('RPUSH', dead, onward)
end
redis.call('LREM', processing, 1, item)
redis.call('HDEL', leases, lease)
return 1

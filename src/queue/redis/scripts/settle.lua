-- Ends a delivery and lets its task go on, if it is still the caller's. ARGV: id, owner, the held item, what to do with the task, the item that
-- goes on, a delay in ms. Answers 1, or 0 when the delivery is another's by now.
local id, owner, item, what, onward = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
if not is_ours(id, owner) then
  return 0
end
-- What needs memory comes first: when the server has none it refuses here, and nothing has changed.
if what == 'front' then
  redis.call('LPUSH', ready, onward)
elseif what == 'back' then
  redis.call('RPUSH', ready, onward)
elseif what == 'delay' then
  redis.call('ZADD', delayed, milliseconds() + tonumber(ARGV[6]), onward)
  redis.call('RPUSH', waiting, id_of(onward))
elseif what == 'dead' then
  redis.call('RPUSH', dead, onward)
end
redis.call('LREM', processing, 1, item)
redis.call('HDEL', leases, id .. ' ' .. owner)
return 1

-- Takes the next task and its lease. ARGV: owner, lease time in ms, a fresh id, 1 to look for expired leases.
-- Answers {item}, or {nil, milliseconds until a delayed task is due or -1}.
local owner, lease_time = ARGV[1], tonumber(ARGV[2])
local now = milliseconds()
move_due(now)
if ARGV[4] == '1' then
  sweep(now, lease_time)
end
local item = redis.call('LMOVE', ready, processing, 'LEFT', 'RIGHT')
if not item then
  local first = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')
  return { false, first[2] and math.max(0, first[2] - now) or -1 }
end
local id = id_of(item)
if not id or redis.call('HEXISTS', leases, id) == 1 then
  -- A body of another program, or a copy of one of our items: two deliveries never share an id.
  item = id and MARK .. ARGV[3] .. string.sub(item, HEADER - 1) or wrapped(ARGV[3], item)
  id = ARGV[3]
  redis.call('LSET', processing, -1, item)
end
write_lease(id, owner, now + lease_time)
return { item }

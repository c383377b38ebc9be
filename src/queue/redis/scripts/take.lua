-- Takes the next task and its lease. ARGV: owner, lease time in ms, a fresh id, 1 to look for due tasks and expired leases
-- first. Answers {item}, or {nil, milliseconds until a delayed task is due or -1}.
local owner, lease_time = ARGV[1], tonumber(ARGV[2])
local now = milliseconds()
if ARGV[4] == '1' then
  move_due()
  sweep(now, lease_time)
end
local item = redis.call('LMOVE', ready, processing, 'LEFT', 'RIGHT')
if not item then
  local first = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')
  return { false, first[2] and math.max(0, math.ceil((first[2] - microseconds()) / 1000)) or -1 }
end
local id = id_of(item)
if not id then
  -- A body of another program. Two equal ones get two ids.
  id = ARGV[3]
  item = wrapped(id, item)
  redis.call('LSET', processing, -1, item)
end
write_lease(id, owner, now + lease_time)
return { item }

-- Takes the next task and its lease. KEYS: ready, processing, leases, delayed. ARGV: an owner that is new for each call, 26
-- characters; the lease time in ms. Answers the item, or the milliseconds until a delayed task is due, or -1.
local item = redis.call('LMOVE', KEYS[1], KEYS[2], 'LEFT', 'RIGHT')
local time = redis.call('TIME')
if not item then
  local due = redis.call('ZRANGE', KEYS[4], 0, 0, 'WITHSCORES')[2]
  return due and math.max(0, math.ceil((due - time[1] * 1000000 - time[2]) / 1000)) or -1
end
local owner, id = ARGV[1], nil
-- As in `common.lua`.
if string.sub(item, 1, 13) == 'jira-agent/1 ' and string.sub(item, 40, 40) == ' ' and string.find(item, '\n', 41, true) then
  id = string.sub(item, 14, 39)
else
  -- A body of another program. Two equal ones get two ids.
  id = owner
  item = 'jira-agent/1 ' .. id .. ' {}\n' .. item
  redis.call('LSET', KEYS[2], -1, item)
end
local deadline = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[2]
redis.call('HSET', KEYS[3], id .. ' ' .. owner, string.format('%.0f', deadline))
return item

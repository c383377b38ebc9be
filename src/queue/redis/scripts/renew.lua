-- A sign of life. KEYS: the leases on deliveries, then leases on tickets. ARGV: the lease on the delivery (`<id> <owner>`) or
-- nothing, the lease time in ms, and for each lease on a ticket its token. Answers 1 for each lease that is still the caller's,
-- the delivery's first.
local lease, lease_time = ARGV[1], ARGV[2]
local answer = { 1 }
if lease ~= '' then
  if redis.call('HEXISTS', KEYS[1], lease) == 1 then
    local time = redis.call('TIME')
    local deadline = time[1] * 1000 + math.floor(time[2] / 1000) + lease_time
    redis.call('HSET', KEYS[1], lease, string.format('%.0f', deadline))
  else
    answer[1] = 0
  end
end
for index = 2, #KEYS do
  if redis.call('GET', KEYS[index]) == ARGV[index + 1] then
    redis.call('PEXPIRE', KEYS[index], lease_time)
    answer[index] = 1
  else
    answer[index] = 0
  end
end
return answer

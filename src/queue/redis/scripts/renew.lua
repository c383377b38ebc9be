-- A sign of life. KEYS[7] and on: leases on tickets. ARGV: id of the delivery or nothing, its owner, lease time in ms, and
-- for each lease on a ticket its token. Answers 1 for each lease that is still the caller's, the delivery's first.
local id, lease_time = ARGV[1], tonumber(ARGV[3])
local answer = { 1 }
if id ~= '' then
  if is_ours(id, ARGV[2]) then
    write_lease(id, ARGV[2], milliseconds() + lease_time)
  else
    answer[1] = 0
  end
end
for index = 7, #KEYS do
  if redis.call('GET', KEYS[index]) == ARGV[index - 3] then
    redis.call('PEXPIRE', KEYS[index], lease_time)
    answer[#answer + 1] = 1
  else
    answer[#answer + 1] = 0
  end
end
return answer

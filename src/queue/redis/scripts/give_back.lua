-- Puts back what this owner holds, in front, without counting a death. KEYS: ready, processing, leases. ARGV: owner. Answers
-- how many tasks went back.
local ready, processing, leases = unpack(KEYS)
local held, count = redis.call('HGETALL', leases), 0
for index = 1, #held, 2 do
  local lease = held[index]
  if string.sub(lease, ID + 1) == ' ' .. ARGV[1] then
    for _, item in ipairs(redis.call('LRANGE', processing, 0, -1)) do
      if id_of(item) == string.sub(lease, 1, ID) then
        redis.call('LPUSH', ready, returned(item, 0))
        redis.call('LREM', processing, 1, item)
        count = count + 1
        break
      end
    end
    redis.call('HDEL', leases, lease)
  end
end
return count

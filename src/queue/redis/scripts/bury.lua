-- Takes dead letters away. KEYS: dead, ready. ARGV: the item that goes to the workers in their place or nothing, then the
-- letters, each as it is. Answers how many there were.
local dead, ready = unpack(KEYS)
local found = 0
for index = 2, #ARGV do
  if redis.call('LPOS', dead, ARGV[index]) then
    found = found + 1
  end
end
if found > 0 and ARGV[1] ~= '' then
  redis.call('RPUSH', ready, ARGV[1])
end
for index = 2, #ARGV do
  redis.call('LREM', dead, 0, ARGV[index])
end
return found

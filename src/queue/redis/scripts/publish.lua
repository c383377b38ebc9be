-- Puts a task on the queue, and moves back what is due. ARGV: the item, lease time in ms.
redis.call('RPUSH', ready, ARGV[1])
local now = milliseconds()
move_due()
sweep(now, tonumber(ARGV[2]))
return 1

-- KEYS: lease. ARGV: fence
-- Gives 1 when the lease was held under this fence and is free now. The fence is kept: the next one is greater.
local held = redis.call('HMGET', KEYS[1], 'fence', 'until')
if held[1] ~= ARGV[1] or tonumber(held[2]) <= now_ms() then return 0 end
redis.call('HSET', KEYS[1], 'until', '0')
return 1

-- KEYS: lease. Gives {fence of the lease that is held now, or 0}.
local held = redis.call('HMGET', KEYS[1], 'fence', 'until')
if not held[1] or tonumber(held[2]) <= now_ms() then return { 0 } end
return { tonumber(held[1]) }

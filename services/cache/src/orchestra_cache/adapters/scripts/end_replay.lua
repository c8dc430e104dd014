-- KEYS: replay record. ARGV: state that it must be in, token ('': any)
-- Gives 1 when the record was there and is gone now.
local seen = redis.call('HMGET', KEYS[1], 'state', 'token')
if seen[1] ~= ARGV[1] or (ARGV[2] ~= '' and seen[2] ~= ARGV[2]) then return 0 end
return redis.call('DEL', KEYS[1])

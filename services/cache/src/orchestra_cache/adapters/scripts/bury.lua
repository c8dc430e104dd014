-- KEYS: set. ARGV: number of a draw, its damaged value, and so on in pairs
-- Takes draws out of the set that cannot be read, unless another value stands there by now.
local set = KEYS[1]
for k = 1, #ARGV, 2 do
  local field = 'd' .. ARGV[k]
  local m, base = redis.call('HGET', set, 'm'), tonumber(redis.call('HGET', set, 'b') or '0')
  local i = tonumber(ARGV[k]) - base
  if m and i >= 1 and i <= #m / RECORD and redis.call('HGET', set, field) == ARGV[k + 1] then
    redis.call('HDEL', set, field)
    redis.call('HSET', set, 'm', string.sub(m, 1, (i - 1) * RECORD) .. struct.pack('>I8', 0)
      .. string.sub(m, (i - 1) * RECORD + 9))
  end
end
return 1

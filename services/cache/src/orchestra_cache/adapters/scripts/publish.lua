-- KEYS: lease, stream. ARGV: fence, lease (ms), lifetime of the stream (ms), number of events, last (0 | 1), events
-- Gives {how many events there are now}, or {} when the lease has passed on. A leader that publishes holds its lease longer.
local lease, stream = KEYS[1], KEYS[2]
local held = redis.call('HMGET', lease, 'fence', 'until', 'sent', 'sender')
if held[1] ~= ARGV[1] or held[2] == '0' then return {} end
local sent = held[4] == ARGV[1] and tonumber(held[3]) or 0
if sent == 0 then redis.call('DEL', stream) end
redis.call('XADD', stream, '*', 'fence', ARGV[1], 'offset', sent, 'count', ARGV[4], 'last', ARGV[5], 'events', ARGV[6])
sent = sent + tonumber(ARGV[4])
local ends = math.max(tonumber(held[2]), now_ms() + tonumber(ARGV[2]))
redis.call('HSET', lease, 'until', string.format('%.0f', ends), 'sent', sent, 'sender', ARGV[1])
redis.call('PEXPIRE', lease, tonumber(ARGV[2]) + 3600000)
redis.call('PEXPIRE', stream, ARGV[3])
return { sent }

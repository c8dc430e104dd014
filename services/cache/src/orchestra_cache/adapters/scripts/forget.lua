-- KEYS: set. ARGV: tenant, model, run digest ('': any each), least age (-1: any), ttl
-- Gives how many draws were forgotten. Their numbers are not used again, so that no rollout's memory is wrong.
local set = KEYS[1]
local head = redis.call('HMGET', set, 't', 'n', 'm', 'b')
if not head[3] then return 0 end
if (ARGV[1] ~= '' and ARGV[1] ~= head[1]) or (ARGV[2] ~= '' and ARGV[2] ~= head[2]) then return 0 end
local m, base, now = head[3], tonumber(head[4]), now_ms()
local horizon, least = now - tonumber(ARGV[5]), tonumber(ARGV[4])
local gone, left, records = 0, 0, {}
for i = 1, #m / RECORD do
  local at = stored_at(m, i)
  local record = string.sub(m, (i - 1) * RECORD + 1, i * RECORD)
  if at > horizon then
    if (least < 0 or at <= now - least) and (ARGV[3] == '' or run_of(m, i) == ARGV[3]) then
      gone = gone + 1
      record = struct.pack('>I8', 0) .. string.sub(record, 9)
      redis.call('HDEL', set, string.format('d%.0f', base + i))
    else
      left = left + 1
    end
  end
  records[i] = record
end
if left == 0 then
  redis.call('DEL', set)
elseif gone > 0 then
  redis.call('HSET', set, 'm', table.concat(records))
end
return gone

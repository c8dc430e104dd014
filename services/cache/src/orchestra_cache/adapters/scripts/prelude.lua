-- Shared by every script. Times are milliseconds of the store's own clock.
--
-- A sample set is one hash, so that it is evicted whole or not at all:
--   t, n      tenant and model
--   m         one record of 44 bytes per draw: stored at (8; 0 = forgotten), text digest (8), sample id digest (12),
--             run digest (8), cost in nano-dollars plus one (8; 0 = not known)
--   b         draws that were dropped from the front; the draw of record i is number b + i for ever
--   d<number> the framed draw
--   r<digest> of a rollout: "<touched at>;<first>-<last>,…", the numbers that it was served
local RECORD = 44

local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function stored_at(m, i)
  return (struct.unpack('>I8', m, (i - 1) * RECORD + 1))
end

local function text_of(m, i)
  return string.sub(m, (i - 1) * RECORD + 9, (i - 1) * RECORD + 16)
end

local function run_of(m, i)
  return string.sub(m, (i - 1) * RECORD + 29, (i - 1) * RECORD + 36)
end

local function cost_of(m, i)
  return (struct.unpack('>I8', m, (i - 1) * RECORD + 37)) - 1
end

local function served_to(set, rollout, base)
  local had = {}
  local text = rollout ~= '' and redis.call('HGET', set, 'r' .. rollout)
  if text then
    for first, last in string.gmatch(text, '(%d+)-(%d+)') do
      for number = math.max(tonumber(first), base + 1), tonumber(last) do had[number] = true end
    end
  end
  return had
end

local function remember_served(set, rollout, had, first, last, now)
  local ranges, from = {}, nil
  for number = first, last + 1 do
    if had[number] and number <= last then
      from = from or number
    elseif from then
      ranges[#ranges + 1] = string.format('%.0f-%.0f', from, number - 1)
      from = nil
    end
  end
  redis.call('HSET', set, 'r' .. rollout, string.format('%.0f;', now) .. table.concat(ranges, ','))
end

-- The fence grows with every grant. It is taken from the clock, so that it keeps growing after the lease is forgotten.
local function grant(key, owner, ms, now)
  local held = redis.call('HMGET', key, 'owner', 'fence', 'until')
  local fence = tonumber(held[2] or '0')
  if held[3] and tonumber(held[3]) > now then
    if held[1] ~= owner then return nil, held[1] end
  else
    fence = math.max(fence + 1, now * 1000)
  end
  local ends = now + ms
  redis.call('HSET', key, 'owner', owner, 'fence', string.format('%.0f', fence), 'until', string.format('%.0f', ends))
  redis.call('PEXPIRE', key, ms + 3600000)
  return { fence, ends }
end

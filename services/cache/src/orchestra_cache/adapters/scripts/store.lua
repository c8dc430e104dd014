-- KEYS: set, lease [, replay record]
-- ARGV: tenant, model, ttl, deterministic (0 | 1), fence (0: none), rollout digest, run digest, most draws of a set, number of draws,
--       request digest, replay ttl, then per draw: sample id digest, text digest, cost plus one, frame; then the replay's frames
-- Gives {'conflict'}, {'lost'} or {'kept', stored, duplicates}. Writes all or nothing.
local set, lease, record = KEYS[1], KEYS[2], KEYS[3]
local ttl, fence, rollout, run = tonumber(ARGV[3]), tonumber(ARGV[5]), ARGV[6], ARGV[7]
local most, draws = tonumber(ARGV[8]), tonumber(ARGV[9])
local now = now_ms()
local FIRST, WIDTH = 12, 4

local known = record and redis.call('HMGET', record, 'digest', 'state')
if known and known[1] and known[1] ~= ARGV[10] then return { 'conflict' } end
if fence > 0 and tonumber(redis.call('HGET', lease, 'fence') or '0') > fence then return { 'lost' } end

-- the first answer of a request id stays, whoever else answers it
if record and known[2] ~= 'done' then
  local values = {}
  for i = FIRST + draws * WIDTH, #ARGV do
    values[#values + 1] = 's' .. (#values / 2 + 1)
    values[#values + 1] = ARGV[i]
  end
  redis.call('DEL', record)
  redis.call('HSET', record, 'digest', ARGV[10], 'state', 'done', 'at', string.format('%.0f', now), 'count', #values / 2)
  for from = 1, #values, 1000 do
    redis.call('HSET', record, unpack(values, from, math.min(from + 999, #values)))
  end
  redis.call('PEXPIRE', record, ARGV[11])
end
if draws == 0 then return { 'kept', 0, 0 } end

local m = redis.call('HGET', set, 'm') or ''
local base = tonumber(redis.call('HGET', set, 'b') or '0')
local horizon = now - ttl

local function find(id)
  local from = 1
  while true do
    local at = string.find(m, id, from, true)
    if not at then return nil end
    if (at - 17) % RECORD == 0 then
      local i = (at - 17) / RECORD + 1
      if stored_at(m, i) > horizon then return i end
    end
    from = at + 1
  end
end

local function answered()
  for i = 1, #m / RECORD do
    if stored_at(m, i) > horizon then return i end
  end
end

local had = served_to(set, rollout, base)
local stored, duplicates = 0, 0
for k = 0, draws - 1 do
  local at = FIRST + k * WIDTH
  local same = find(ARGV[at]) or (ARGV[4] == '1' and answered())
  if same then
    duplicates = duplicates + 1
    -- a deterministic answer that was drawn again is the stored one: its rollout has had it
    had[base + same] = true
  else
    m = m .. struct.pack('>I8', now) .. ARGV[at + 1] .. ARGV[at] .. run .. struct.pack('>I8', tonumber(ARGV[at + 2]))
    local number = base + #m / RECORD
    redis.call('HSET', set, string.format('d%.0f', number), ARGV[at + 3])
    had[number] = true
    stored = stored + 1
  end
end

local dropped = 0
while dropped * RECORD < #m and (stored_at(m, dropped + 1) <= horizon or #m / RECORD - dropped > most) do
  dropped = dropped + 1
  redis.call('HDEL', set, string.format('d%.0f', base + dropped))
end
if dropped > 0 then
  m = string.sub(m, dropped * RECORD + 1)
  base = base + dropped
  -- whatever a rollout had that was last here a lifetime ago is gone by now
  for _, name in ipairs(redis.call('HKEYS', set)) do
    if string.sub(name, 1, 1) == 'r' then
      local touched = tonumber(string.match(redis.call('HGET', set, name), '^%d+'))
      if touched <= horizon then redis.call('HDEL', set, name) end
    end
  end
end
if rollout ~= '' then remember_served(set, rollout, had, base + 1, base + #m / RECORD, now) end
redis.call('HSET', set, 't', ARGV[1], 'n', ARGV[2], 'm', m, 'b', string.format('%.0f', base))
if stored > 0 then redis.call('PEXPIRE', set, ttl) end
return { 'kept', stored, duplicates }

-- KEYS: set, lease [, replay record]
-- ARGV: serving (serve | nothing | forget), n, ttl, max age (-1: none), min distinct, distinct (0 | 1), rollout digest,
--       lease owner ('': none wanted), lease, request digest, token, running, replay ttl
-- Gives {'conflict'}, {'running'}, {'replayed', closed at, frame…}
--    or {'new', fence, lease end, total, eligible, distinct, served before, repeats skipped, (number, position, stored at, cost, frame)…}
local set, lease, record = KEYS[1], KEYS[2], KEYS[3]
local now = now_ms()

if record then
  local seen = redis.call('HMGET', record, 'digest', 'state', 'until', 'token', 'count', 'at')
  if seen[1] then
    if seen[1] ~= ARGV[10] then return { 'conflict' } end
    if seen[2] == 'done' then
      local answer = { 'replayed', tonumber(seen[6]) }
      for i = 1, tonumber(seen[5]) do answer[i + 2] = redis.call('HGET', record, 's' .. i) or '' end
      return answer
    end
    if seen[4] ~= ARGV[11] and tonumber(seen[3]) > now then return { 'running' } end
  end
  redis.call('HSET', record, 'digest', ARGV[10], 'state', 'running', 'token', ARGV[11],
    'until', string.format('%.0f', now + tonumber(ARGV[12])))
  redis.call('PEXPIRE', record, ARGV[13])
end

if ARGV[1] == 'forget' then redis.call('DEL', set) end
if ARGV[1] ~= 'serve' then return { 'new', 0, 0, 0, 0, 0, 0, 0 } end

local n, max_age, distinct_only, rollout = tonumber(ARGV[2]), tonumber(ARGV[4]), ARGV[6] == '1', ARGV[7]
local m = redis.call('HGET', set, 'm') or ''
local base = tonumber(redis.call('HGET', set, 'b') or '0')
local count = #m / RECORD
local horizon = now - tonumber(ARGV[3])
local total, eligible, distinct, served_before, repeats = 0, 0, 0, 0, 0
local candidates, position, texts = {}, {}, {}
for i = 1, count do
  local at = stored_at(m, i)
  if at > horizon then
    total = total + 1
    if max_age < 0 or at >= now - max_age then
      eligible = eligible + 1
      candidates[eligible] = i
      position[i] = total
      local text = text_of(m, i)
      if not texts[text] then
        texts[text] = true
        distinct = distinct + 1
      end
    end
  end
end

local draws = {}
if eligible > 0 then
  local had = served_to(set, rollout, base)
  local open = distinct >= tonumber(ARGV[5])
  local sent, chosen = {}, 0
  for c = 1, eligible do
    local i = candidates[c]
    if had[base + i] then
      served_before = served_before + 1
    elseif open and chosen < n then
      if distinct_only and sent[text_of(m, i)] then
        repeats = repeats + 1
      else
        local value = redis.call('HGET', set, string.format('d%.0f', base + i))
        if value then
          chosen = chosen + 1
          sent[text_of(m, i)] = true
          draws[#draws + 1] = { base + i, position[i], stored_at(m, i), cost_of(m, i), value }
        end
      end
    end
  end
  if rollout ~= '' and chosen > 0 then
    for _, draw in ipairs(draws) do had[draw[1]] = true end
    remember_served(set, rollout, had, base + 1, base + count, now)
  end
end

local fence, ends = 0, 0
if ARGV[8] ~= '' and total == 0 then
  local granted = grant(lease, ARGV[8], tonumber(ARGV[9]), now)
  if granted then fence, ends = granted[1], granted[2] end
end
local answer = { 'new', fence, ends, total, eligible, distinct, served_before, repeats }
for _, draw in ipairs(draws) do
  for k = 1, 5 do answer[#answer + 1] = draw[k] end
end
return answer

-- KEYS: lease. ARGV: owner, milliseconds
-- Gives {fence, end} or {0, 0, holder}. Who holds it already gets it longer, under the same fence.
local granted, holder = grant(KEYS[1], ARGV[1], tonumber(ARGV[2]), now_ms())
return granted or { 0, 0, holder }

-- Reserves a start at all buckets, or at none. GCRA (ITU-T I.371): a bucket's value is the time until
-- which it is paid.
--
-- KEYS: one per bucket.
-- ARGV: the longest wait; then for each bucket its cost as a duration, and for how long from now it
--       is paid by the store's record. All are whole microseconds, exact below 2^53.
-- Returns {1 if reserved, else 0; the wait until the start}.

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local start = now

for i, key in ipairs(KEYS) do
  local paid_until = tonumber(redis.call('GET', key) or 0) or 0
  local floor = now + tonumber(ARGV[2 * i + 1])
  start = math.max(start, paid_until, floor)
end

local wait = start - now
if wait > tonumber(ARGV[1]) then
  return {0, wait}
end

for i, key in ipairs(KEYS) do
  local paid_until = start + tonumber(ARGV[2 * i])
  local milliseconds = math.ceil((paid_until - now) / 1000)
  if milliseconds > 0 then
    -- %.0f: Lua's default has 14 digits, and a time needs 16.
    redis.call('SET', key, string.format('%.0f', paid_until),
      'PX', string.format('%.0f', milliseconds))
  end
end
return {1, wait}

-- Reserves all buckets, or none. GCRA (ITU-T I.371): a bucket holds the time until which it is paid.
--
-- KEYS: one per bucket.
-- ARGV: the longest wait; then for each bucket what the request costs, and how long from now the
--       store says that it is paid. All microseconds, whole numbers: exact below 2^53.
-- Returns {1 or 0, the wait until the start, for each bucket the time until it is paid}.

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

local answer = {1, wait}
for i, key in ipairs(KEYS) do
  local paid_until = start + tonumber(ARGV[2 * i])
  local milliseconds = math.ceil((paid_until - now) / 1000)
  if milliseconds > 0 then
    -- %.0f: the default would round to 14 digits, and a time has 16.
    redis.call('SET', key, string.format('%.0f', paid_until),
      'PX', string.format('%.0f', milliseconds))
  end
  answer[#answer + 1] = paid_until - now
end
return answer

"""Buckets in Redis, shared by all processes. Imported only if Redis is configured, because the client uses 20 MB."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django_redis import get_redis_connection
from redis.exceptions import RedisError

from tenants.limits.buckets import BucketsUnavailable
from tenants.limits.gcra import Limit, Taken

# Applies the rule of `gcra` with Redis's clock, in one round trip. A key expires when its bucket is full. Numbers
# are returned as text, because Redis truncates Lua numbers to integers and Lua formats them with 14 digits.
_TAKE = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local least, free = tonumber(ARGV[1]), tonumber(ARGV[2])
local debts = {}
for i, key in ipairs(KEYS) do
    local rate, burst = tonumber(ARGV[2 * i + 1]), tonumber(ARGV[2 * i + 2])
    local full_at = tonumber(redis.call('GET', key) or now)
    debts[i] = math.min(math.max(0, full_at - now), burst / rate)
    free = math.min(free, math.floor(burst - debts[i] * rate + 0.000001))
end
local tokens = free >= least and free or 0
local answer = {tokens}
for i, key in ipairs(KEYS) do
    if tokens > 0 then
        debts[i] = debts[i] + tokens / tonumber(ARGV[2 * i + 1])
        redis.call('SET', key, string.format('%.6f', now + debts[i]), 'PX', math.ceil(debts[i] * 1000))
    end
    answer[i + 1] = string.format('%.6f', debts[i])
end
return answer
"""


class RedisBuckets:
    def __init__(self) -> None:
        # The client is thread-safe and detects forks.
        self._script: Any = get_redis_connection("limits").register_script(_TAKE)

    def take(self, names: Sequence[str], limits: Sequence[Limit], least: int, most: int) -> Taken:
        """Take tokens like `LocalBuckets.take`. Raises BucketsUnavailable if Redis does not respond."""
        numbers = [number for limit in limits for number in (limit.rate, limit.burst)]
        try:
            tokens, *debts = self._script([f"soma:limit:1:{name}" for name in names], [least, most, *numbers])
        except RedisError as error:
            raise BucketsUnavailable(str(error)) from error
        return Taken(int(tokens), tuple(float(debt_s) for debt_s in debts))

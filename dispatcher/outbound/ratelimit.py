"""Rate buckets in Redis: how long a request must wait so that no rate is exceeded by any process.

It decides and reserves, and never sleeps. The store's floors replace what Redis has lost.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from redis.exceptions import RedisError

from dispatcher.errors import BrokerError

if TYPE_CHECKING:
    from redis import Redis

_SCRIPT: Final = Path(__file__).with_name("ratelimit.lua").read_text(encoding="ascii")
_PREFIX: Final = "dispatcher:rate:"
_MICROSECONDS: Final = 1_000_000
#: Lua's numbers are exact up to 2^53: enough for the time now, a wait and a cost of 71 years each.
_MAX_S: Final = 2**51 / _MICROSECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """One rate that a request uses: `cost` messages, parts or requests, at `per_second`.

    `floor_s`: for how many seconds from now the bucket is paid by the store's record. It is
    relative, since the clocks of the store and of Redis may differ.
    """

    key: str
    cost: float
    per_second: float
    floor_s: float = 0.0

    def __post_init__(self) -> None:
        if not (self.per_second > 0 and self.cost >= 0 and self.duration_s < _MAX_S):
            raise ValueError(f"bucket {self.key}: not a valid rate and cost")

    @property
    def duration_s(self) -> float:
        """Seconds that the cost takes at the rate: after them the next request may start."""
        return self.cost / self.per_second


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """Whether a start was reserved, and in how many seconds it is.

    Not granted: nothing was reserved, and `wait_s` is the time until the earliest possible start.
    """

    granted: bool
    wait_s: float


class RateLimiter:
    """Reserves starts in Redis, by the Redis server's clock.

        limiter = RateLimiter(redis.Redis.from_url(url))
        bucket = Bucket(key="main:messages", cost=2000, per_second=500)
        limiter.reserve_start([bucket], max_wait_s=5)      # starts now; the next waits 4 s

    After a request of n recipients the next one starts n / rate later, so a burst is one request.
    A new rate applies from the next reservation. A reservation that is not used is not given back.

    Warning: after FLUSHALL, or when the Redis server's clock steps forward, only `floor_s` delays
    the next start. When the clock steps back, starts are delayed for as long as the step.
    """

    def __init__(self, redis_client: "Redis") -> None:
        self._client = redis_client
        self._reserve = redis_client.register_script(_SCRIPT)

    def is_reachable(self) -> bool:
        """Whether the Redis server answers now."""
        try:
            return bool(self._client.ping())
        except RedisError:
            return False

    def reserve_start(self, buckets: Sequence[Bucket], *, max_wait_s: float) -> Reservation:
        """Reserve the earliest start that all `buckets` allow, if it is at most `max_wait_s` away.

        Reserves at all of them, or at none. Raises BrokerError if Redis does not answer: then a
        start may have been reserved for nothing.
        """
        keys = [bucket.key for bucket in buckets]
        if len(set(keys)) < len(keys):
            raise ValueError("the same bucket twice in one reservation")
        if not buckets:
            return Reservation(granted=True, wait_s=0.0)
        arguments = [_to_microseconds(max_wait_s)]
        for bucket in buckets:
            arguments += [_to_microseconds(bucket.duration_s), _to_microseconds(bucket.floor_s)]
        try:
            granted, wait = self._reserve([_PREFIX + key for key in keys], arguments)
        except RedisError as error:
            raise BrokerError(
                f"the rate buckets in Redis cannot be used: {error}",
                "start Redis, or correct `url` under [broker]; nothing is sent until it answers",
            ) from error
        return Reservation(granted=bool(granted), wait_s=wait / _MICROSECONDS)


def _to_microseconds(seconds: float) -> int:
    """Whole microseconds, rounded up, so that rounding never exceeds a rate.

    Rounded to thousandths of them first: floating point adds such to values like 0.014 s.
    """
    return math.ceil(round(max(0.0, min(seconds, _MAX_S)) * _MICROSECONDS, 3))

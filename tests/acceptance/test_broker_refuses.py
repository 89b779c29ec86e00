"""A broker that answers but refuses to work: workers and beat wait, and doctor names the cause."""

import json
import time

import pytest

from dispatcher.local.broker import redis_client
from tests.support.stage import stage, wait_for

pytestmark = pytest.mark.acceptance

#: What makes the server refuse, what ends that, and what doctor says.
REFUSALS = {
    "replica": (["REPLICAOF 127.0.0.1 1"], ["REPLICAOF NO ONE"], "read-only replica"),
    "stale replica": (
        ["CONFIG SET replica-serve-stale-data no", "REPLICAOF 127.0.0.1 1"],
        ["REPLICAOF NO ONE"],
        "read-only replica",
    ),
    "memory": (["CONFIG SET maxmemory 1"], ["CONFIG SET maxmemory 0"], "all its memory"),
    "replicas": (
        ["CONFIG SET min-replicas-to-write 1"],
        ["CONFIG SET min-replicas-to-write 0"],
        "fewer replicas",
    ),
    "permission": (
        ["ACL SETUSER default -@write"],
        ["ACL SETUSER default +@write"],
        "does not let this user",
    ),
    "password": (
        ["CONFIG SET requirepass secret", "CLIENT KILL TYPE normal SKIPME yes"],
        ["CONFIG SET requirepass ''"],
        "asks for a password",
    ),
}


def tell(client, commands):
    for command in commands:
        client.execute_command(*(word.strip("'") for word in command.split()))


@pytest.mark.parametrize("refusal", REFUSALS)
def test_workers_and_beat_go_on_by_themselves_once_the_broker_takes_keys_again(refusal):
    begins, ends, named = REFUSALS[refusal]
    with stage() as ours, redis_client(ours.broker.url) as client:
        client.ping()
        ours.start()
        before = ours.submit(ours.people(20, first=919850000000))
        before.wait_until_over()
        pids = [ours.pid("worker"), ours.pid("beat")]
        tell(client, begins)
        since = time.monotonic()
        during = ours.submit(ours.people(20, first=919851000000, name="more.csv"))
        ended = ours.run("doctor", "--json")
        (found,) = [each for each in json.loads(ended.out) if each["part"] == "broker"]
        assert not found["ok"]
        assert named in found["what"]
        assert found["remedy"]
        wait_for(lambda: time.monotonic() > since + 8, "a while")
        tell(client, ends)
        during.wait_until_over()
        assert [ours.pid("worker"), ours.pid("beat")] == pids
        assert len(ours.provider.ledger()) == 40


@pytest.mark.parametrize("refusal", ["replica", "memory", "permission"])
def test_a_worker_that_starts_while_the_broker_refuses_waits_for_it(refusal):
    begins, ends, _ = REFUSALS[refusal]
    with stage() as ours, redis_client(ours.broker.url) as client:
        client.ping()
        tell(client, begins)
        ours.celery("worker", "-l", "info", "--without-mingle", "--without-gossip")
        ours.celery("beat", "-l", "info", "--pidfile=")
        pids = [ours.pid("worker"), ours.pid("beat")]
        campaign = ours.submit(ours.people(20, first=919850000000))
        since = time.monotonic()
        wait_for(lambda: time.monotonic() > since + 5, "a while")
        tell(client, ends)
        campaign.wait_until_over()
        assert [ours.pid("worker"), ours.pid("beat")] == pids
        assert len(ours.provider.ledger()) == 20

"""The broker is not trusted: no message that anybody writes there ends a worker or stops work."""

import itertools
import json
import os
from collections.abc import Iterator

import pytest
import redis

from dispatcher.local.broker import redis_client
from dispatcher.store.migrate import upgrade_store
from tests.support import warm
from tests.support.cli import clean_environment, dispatcher, in_process
from tests.support.stage import Campaign, Stage, stage, wait_for
from tests.unit.workers.test_task_messages import MALFORMED, item

pytestmark = pytest.mark.acceptance

QUEUES = ("scheduler", "polls", "reconcile", "submit.main")
#: Published to all workers, as `celery inspect` and `celery control` do.
CONTROL = [
    b'"hi"', b"5", b"[]", b"{}", b"\xff", b"[" * 100_000, item(),
    item(raw=b'"hi"', headers={}),
    item(({"method": 5},), headers={}), item({"method": "ping"}, headers={}),
    item({"method": "rate_limit", "arguments": [5]}, headers={}),
]  # fmt: skip


_firsts = itertools.count(919850000000, 1000)


@pytest.fixture(scope="module")
def ours() -> Iterator[Stage]:
    """One stage for all, with beat and a worker."""
    with stage(command=in_process) as made:
        made.start()
        yield made


@pytest.fixture
def client(ours) -> Iterator[redis.Redis]:
    """A client of the stage's broker."""
    with redis_client(ours.broker.url) as connected:
        yield connected


def submitted(ours: Stage, count: int) -> Campaign:
    """A campaign to numbers of its own."""
    first = next(_firsts)
    return ours.submit(ours.people(count, first=first, name=f"{first}.csv"))


def test_malformed_messages_are_dropped_and_counted_and_the_work_goes_on(ours, client):
    pid, before = ours.pid("worker"), len(ours.provider.ledger())
    written = 0
    for message in MALFORMED.values():
        for queue in QUEUES:
            written += 1
            client.lpush(queue, message)
    for message in CONTROL:
        assert client.publish("/0.celery.pidbox", message) == 1
        client.publish("/0.celeryev/worker.heartbeat", message)
    for tag, held in enumerate(
        (b'"hi"', b"5", b"[]", b"\xff", b'["x", "y", "z"]', json.dumps([5, 6, 7]).encode())
    ):
        client.hset("unacked", f"tag{tag}", held)
        client.zadd("unacked_index", {f"tag{tag}": 0})
    for exchange in ("dispatcher", "scheduler", "reply.celery.pidbox"):
        client.sadd(f"_kombu.binding.{exchange}", "nonsense", b"\x06\x16")
    submitted(ours, 40).wait_until_over()
    wait_for(lambda: not any(client.llen(queue) for queue in QUEUES[1:]), "empty queues")

    def dropped():
        found = json.loads(ours.run("doctor", "--json").out)
        words = [each["what"] for each in found if "malformed" in each["what"]]
        return int(words[0].split()[0]) if words else 0

    wait_for(lambda: dropped() >= written, f"{written} messages to be counted")
    assert ours.pid("worker") == pid
    assert len(ours.provider.ledger()) == before + 40
    said = ours.said("worker")
    assert "Unrecoverable" not in said
    assert said.count("dropped a message") < 20
    wait_for(lambda: not client.zrange("unacked_index", 0, 0), "the unacked messages to go")


def test_a_message_for_an_unknown_account_waits_for_nobody(ours, client):
    client.lpush("submit.gone", item())
    submitted(ours, 10).wait_until_over()
    assert not [key for key in client.keys("_kombu.binding.*") if b"gone" in key]


def test_a_worker_of_another_store_is_refused_the_same_redis_database(ours, tmp_path):
    before = len(ours.provider.ledger())
    submitted(ours, 10).wait_until_over()
    other = tmp_path / "other.toml"
    text = ours.config.read_text(encoding="utf-8")
    other.write_text(f'[store]\nurl = "sqlite:///other.db"\n{text}', encoding="utf-8")
    other.chmod(0o600)
    upgrade_store(f"sqlite:///{tmp_path / 'other.db'}")
    env = clean_environment(tmp_path) | {"DISPATCHER_CONFIG": str(other)}
    argv = ["-q", "-A", "workers", "worker", "--without-mingle", "--without-gossip"]
    log = tmp_path / "other.log"
    process = warm.spawn("celery", argv, folder=tmp_path, env=env, out=log)
    try:
        assert process.wait(90) == os.EX_CONFIG
    finally:
        process.kill()
    assert "belongs to another store" in log.read_text(encoding="utf-8")
    ended = dispatcher("doctor", "--json", folder=tmp_path, env=env)
    words = [each["what"] for each in json.loads(ended.out) if each["part"] == "broker"]
    assert any("belongs to another store" in each for each in words)
    submitted(ours, 10).wait_until_over()
    assert len(ours.provider.ledger()) == before + 20

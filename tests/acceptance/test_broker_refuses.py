"""A broker that answers but refuses to work: workers and beat wait, and doctor names the cause."""

import json
import shlex
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from dispatcher.local.broker import redis_client
from tests.support.broker_proxy import BrokerProxy
from tests.support.cli import in_process
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
    "disk": (
        ["CONFIG SET save '3600 1'", "BGSAVE"],
        ["CONFIG SET save ''", "CONFIG SET stop-writes-on-bgsave-error no"],
        "cannot save to its disk",
    ),
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
    #: What cannot be provoked in a server is answered by the proxy before it.
    "loading": ("LOADING the dataset is loaded into memory", None, "still loading its data"),
    "cluster": ("CLUSTERDOWN the cluster is down", None, "a cluster that is down"),
}
_first = iter(range(919_850_000_000, 919_859_000_000, 1000))


class Broker:
    """The stage's server, which refuses while told to, and the proxy before it."""

    def __init__(self, ours, client, proxy):
        self._folder, self._client, self._proxy = ours.folder / "broker", client, proxy
        self.url = {"DISPATCHER_BROKER__URL": proxy.url}

    @contextmanager
    def refusing(self, refusal):
        """It refuses within the block."""
        try:
            self._begin(refusal)
            yield
        finally:
            self._end(refusal)

    def _begin(self, refusal):
        begins, _, _ = REFUSALS[refusal]
        if isinstance(begins, str):
            self._proxy.refusal = begins
            return
        # A folder in the place of its file: the server cannot save.
        (self._folder / "dump.rdb").mkdir(exist_ok=True)
        self._tell(begins)
        if refusal == "disk":
            wait_for(
                lambda: self._client.info("persistence")["rdb_last_bgsave_status"] == "err",
                "a failed save",
            )

    def _end(self, refusal):
        self._proxy.refusal = None
        self._tell(REFUSALS[refusal][1] or ())
        if (self._folder / "dump.rdb").exists():
            (self._folder / "dump.rdb").rmdir()

    def _tell(self, commands):
        for command in commands:
            self._client.execute_command(*shlex.split(command))


@pytest.fixture(scope="module")
def running() -> Iterator[tuple]:
    """Beat and a worker at work, which reach their broker through a proxy; refusals in turn."""
    with ExitStack() as stack:
        ours = stack.enter_context(stage(command=in_process))
        client = stack.enter_context(redis_client(ours.broker.url))
        client.ping()
        path = str(ours.folder / "broker" / "broker.sock")
        proxy = stack.enter_context(BrokerProxy(path))
        broker = Broker(ours, client, proxy)
        ours.celery("beat", "-l", "info", "--pidfile=", env=broker.url)
        ours.start_worker(env=broker.url)
        submitted(ours).wait_until_over()
        yield ours, broker


def submitted(ours):
    first = next(_first)
    return ours.submit(ours.people(20, first=first, name=f"{first}.csv"))


@pytest.mark.parametrize("refusal", REFUSALS)
def test_workers_and_beat_go_on_by_themselves_once_the_broker_takes_keys_again(running, refusal):
    ours, broker = running
    pids = [ours.pid("worker"), ours.pid("beat")]
    before = len(ours.provider.ledger())
    with broker.refusing(refusal):
        since = time.monotonic()
        campaign = submitted(ours)
        ended = ours.run("doctor", "--json", env=broker.url)
        (found,) = [each for each in json.loads(ended.out) if each["part"] == "broker"]
        assert not found["ok"]
        assert REFUSALS[refusal][2] in found["what"]
        assert found["remedy"]
        wait_for(lambda: time.monotonic() > since + 4, "a while")
    campaign.wait_until_over()
    assert [ours.pid("worker"), ours.pid("beat")] == pids
    assert len(ours.provider.ledger()) == before + 20


@pytest.mark.parametrize("refusal", ["replica", "memory", "permission", "loading"])
def test_a_worker_that_starts_while_the_broker_refuses_waits_for_it(running, refusal):
    ours, broker = running
    ours.kill("worker")
    ours.kill("beat")
    ours.flush_broker()
    before = len(ours.provider.ledger())
    with broker.refusing(refusal):
        ours.celery("worker", "-l", "info", "--without-mingle", "--without-gossip", env=broker.url)
        ours.celery("beat", "-l", "info", "--pidfile=", env=broker.url)
        pids = [ours.pid("worker"), ours.pid("beat")]
        campaign = submitted(ours)
        since = time.monotonic()
        wait_for(lambda: time.monotonic() > since + 3, "a while")
    campaign.wait_until_over()
    assert [ours.pid("worker"), ours.pid("beat")] == pids
    assert len(ours.provider.ledger()) == before + 20

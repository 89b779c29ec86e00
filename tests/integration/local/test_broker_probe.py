"""What doctor says of a server that answers and refuses: each reply is named, with a remedy."""

import socket

import pytest

from dispatcher.errors import BrokerError
from dispatcher.local.broker import celery_url
from dispatcher.local.broker_probe import probe_broker
from tests.support.broker_proxy import BrokerProxy

#: As Valkey words them (server.c, `createSharedObjects`, and acl.c, cluster.c, networking.c).
REPLIES = {
    "MISCONF Valkey is configured to save RDB snapshots, but it's currently unable to persist to "
    "disk.": "cannot save to its disk, and refuses to write (MISCONF)",
    "LOADING Valkey is loading the dataset in memory": "is still loading its data",
    "NOAUTH Authentication required.": "asks for a password",
    "WRONGPASS invalid username-password pair or user is disabled.": "refuses the user or the",
    "READONLY You can't write against a read only replica.": "is a read-only replica",
    "OOM command not allowed when used memory > 'maxmemory'.": "has used all its memory",
    "CLUSTERDOWN The cluster is down": "is part of a cluster that is down",
    "MOVED 3999 127.0.0.1:6381": "is part of a cluster, which Celery cannot use",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.": "has lost",
    "NOREPLICAS Not enough good replicas to write.": "has fewer replicas",
    "NOPERM User default has no permissions to run the 'set' command": "does not let this user",
    "ERR max number of clients reached": "has as many clients as it allows",
    "BUSY Valkey is busy running a script.": "refuses a command (BUSY)",
}


@pytest.mark.parametrize("reply", REPLIES)
def test_each_refusal_is_named(broker, reply):
    path = broker.url.removeprefix("redis+socket://").partition("?")[0]
    with BrokerProxy(path) as proxy:
        assert probe_broker(proxy.url)
        proxy.refusal = reply
        with pytest.raises(BrokerError) as caught:
            probe_broker(proxy.url)
    assert REPLIES[reply] in caught.value.message
    assert caught.value.hint or "BUSY" in reply


@pytest.mark.parametrize(
    ("scheme", "hint"),
    [("redis", None), ("rediss", "where the server has no TLS, write redis:// (or sentinel://)")],
)
def test_a_server_without_tls_is_thought_of_where_tls_gets_no_answer(scheme, hint):
    """Such a server waits for the end of a line, as this one does."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = celery_url(f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/0", "sqlite:////a.db")
        with pytest.raises(BrokerError) as caught:
            probe_broker(url, timeout_s=0.2)
    assert (caught.value.message, caught.value.hint) == ("gives no answer in time", hint)

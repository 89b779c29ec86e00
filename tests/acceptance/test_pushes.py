"""A provider that pushes, a receiver process, and a worker: receipts and an opt-out, end to end."""

import socket

import pytest

from dispatcher.receiver.access import PUSH_PATH, digest_token, make_token
from dispatcher.store.engine import store_now
from dispatcher.store.push_urls import add_push_url
from tests.support import warm
from tests.support.cli import clean_environment
from tests.support.stage import fetched, stage, wait_for

pytestmark = pytest.mark.acceptance

NUMBER = 12815550100
#: So that only pushes can bring the receipts.
ACCOUNT = {
    "provider": "voip_communications", "api_password": "any", "sender": None, "template": None,
    "country": "US", "poll_first_s": 3600, "poll_max_s": 3600,
}  # fmt: skip


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def receiver_url():
    return f"http://127.0.0.1:{free_port()}"


@pytest.fixture
def token():
    return make_token()


@pytest.fixture
def ours(receiver_url, token):
    options = ["--delivered", "1", "--undelivered", "0", "--expired", "0"]
    options += ["--push-to", f"{receiver_url}{PUSH_PATH}main/{token}"]
    with stage(accounts={"main": ACCOUNT}, simulator=options) as running:
        with running.store.write() as conn:
            add_push_url(conn, "main", digest_token(token), actor="test", now=store_now(conn))
        running._processes["receiver"] = warm.spawn(
            "dispatcher",
            ["receiver", "--port", receiver_url.rpartition(":")[2]],
            folder=running.folder,
            env=clean_environment(running.folder) | running.env,
            out=running.log("receiver"),
        )
        yield running


def test_receipts_and_an_opt_out_come_by_push(ours, receiver_url, token):
    ours.start()
    wait_for(lambda: fetched(f"{receiver_url}/healthz"), "the receiver")
    campaign = ours.submit(ours.people(40, first=NUMBER))
    over = campaign.wait_until_over()
    assert over.counts["delivered"] == 40, "no poll was due: all receipts were pushed"
    ours.provider.push_reply(NUMBER + 3, "Stop")
    wait_for(lambda: ours.json("receiver", "replies", "--stops"), "the reply")
    (entry,) = ours.json("suppression", "list")["newest"]
    assert (entry["msisdn"], entry["source"]) == (NUMBER + 3, "reply")
    found = ours.json("campaign", "find", f"+{NUMBER + 3}")
    assert [(one["text"], one["stop"]) for one in found["replies"]] == [("Stop", True)]
    again = ours.submit(ours.people(5, first=NUMBER, name="b.csv"), "--text", "Another one")
    assert again.wait_until_over().counts["suppressed"] == 1
    assert ours.stop("receiver") == 0
    words = ours.said("receiver")
    assert token not in words
    assert str(NUMBER)[:8] not in words

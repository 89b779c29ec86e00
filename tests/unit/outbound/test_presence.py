"""A worker is known to the others once each of them has begun anew since its heartbeat."""

import os
import socket
from datetime import timedelta

import pytest

from dispatcher.outbound.presence import Presence, worker_name
from dispatcher.policy.pacing import JOINING_S


@pytest.mark.parametrize(
    ("heartbeats", "at", "unknown_s"),
    [
        pytest.param([], 50.0, JOINING_S, id="no heartbeat yet"),
        pytest.param([50.0], 50.5, JOINING_S - 0.5, id="just started"),
        pytest.param([50.0, 53.0, 56.0], 58.0, 0.0, id="known for long"),
        pytest.param([50.0], 58.0, JOINING_S, id="silent: the others count it as lost"),
        pytest.param([50.0, 58.0], 58.5, JOINING_S - 0.5, id="back after a silence"),
    ],
)
def test_a_worker_is_known_some_time_after_its_first_heartbeat(heartbeats, at, unknown_s):
    presence = Presence("this", timedelta(seconds=5))
    for each in heartbeats:
        presence.note_heartbeat(each)
    assert presence.unknown_s(at) == pytest.approx(unknown_s)


def test_workers_of_one_host_and_process_id_have_different_names():
    """As in two containers that share the network of their machine: both are the process 2."""
    assert worker_name() != worker_name()
    assert worker_name().rpartition("-")[0] == f"{socket.gethostname()}:{os.getpid()}"

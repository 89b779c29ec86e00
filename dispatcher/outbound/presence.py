"""This process among the workers: whether it is alone, and whether the others know of it.

A worker that is alone lets requests leave late, so that none is given up after a stall. Beside
others that would pass the rate. Each begin asks the store who is alive, and a new worker begins
nothing of a rate that is in use until everybody has asked.
"""

import os
import secrets
import socket
from datetime import datetime, timedelta
from math import inf

from sqlalchemy import Connection

from dispatcher.policy.pacing import JOINING_S
from dispatcher.store import scheduler


def worker_name() -> str:
    """A name that no other worker process has: its host, its process id and random characters.

    Containers that share the network of their machine have one host name, and the same process id.
    """
    return f"{socket.gethostname()}:{os.getpid()}-{secrets.token_hex(3)}"


class Presence:
    """What one process knows of the others, and since when they know of it.

    `lease` is longer than the time between two heartbeats. Times without a date are seconds of
    `boottime_s()`. Any thread may call its methods.
    """

    def __init__(self, worker: str, lease: timedelta) -> None:
        self.worker = worker
        self._lease = lease
        self._known_since = inf
        self._seen_at = -inf

    def note_heartbeat(self, at: float) -> None:
        """Note that the store has a heartbeat of this process, by then."""
        if at - self._seen_at > self._lease.total_seconds():
            self._known_since = at
        self._seen_at = at

    def has_peers(self, conn: Connection, now: datetime) -> bool:
        """Whether another worker is alive, or was lost less than two leases ago."""
        return scheduler.has_other_worker(conn, self.worker, now - 2 * self._lease)

    def unknown_s(self, at: float) -> float:
        """For how many seconds from then on another worker may still think that it is alone."""
        if at - self._seen_at > self._lease.total_seconds():
            return JOINING_S
        return max(0.0, self._known_since + JOINING_S - at)

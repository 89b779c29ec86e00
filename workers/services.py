"""What every task of a process shares: settings, store, rate limiter, HTTP runtime, leases."""

import os
import socket
import threading
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from zoneinfo import ZoneInfo

from dispatcher import embedded
from dispatcher.config import Settings, load_settings
from dispatcher.processes import threads_needed
from dispatcher.providers import provider_class
from dispatcher.providers.base import Provider
from dispatcher.ratelimit import RateLimiter
from dispatcher.store.engine import Store
from dispatcher.transport import HttpClient
from workers.leases import Leases
from workers.runtime import HttpRuntime


@dataclass(frozen=True, slots=True)
class Services:
    """One per process, made on first use: nothing of it may cross a fork."""

    settings: Settings
    store: Store
    limiter: RateLimiter
    runtime: HttpRuntime
    leases: Leases
    #: Set when this process is to end: waiting work is handed back.
    stopping: threading.Event

    @property
    def lease(self) -> timedelta:
        """How long a worker may be silent before its batches are judged lost."""
        return timedelta(seconds=self.settings.worker.lease_s)

    @property
    def poll_lease(self) -> timedelta:
        """How long a status request may take before it is made again."""
        slowest = max((a.timeout_s for a in self.settings.accounts.values()), default=0.0)
        return timedelta(seconds=slowest) + self.lease

    def zone(self, account: str) -> ZoneInfo:
        """The zone that an account's days are counted in."""
        return ZoneInfo(self.settings.account(account).timezone)

    def provider(self, account: str) -> Provider:
        """The adapter of a configured account. Raises ConfigError for an unknown one."""
        settings = self.settings.account(account)
        return provider_class(settings.provider)(settings)


@cache
def settings() -> Settings:
    """The configuration, read once."""
    return load_settings()


@cache
def services() -> Services:
    """This process's services."""
    loaded = settings()
    store = Store(loaded.store.url)
    lease_s = loaded.worker.lease_s
    name = f"{socket.gethostname()}:{os.getpid()}"
    connections = loaded.worker.max_polls + max(
        (account.max_in_flight for account in loaded.accounts.values()), default=1
    )
    client = embedded.redis_client(broker_url())
    return Services(
        settings=loaded,
        store=store,
        limiter=RateLimiter(client),
        runtime=HttpRuntime(HttpClient(connections=connections)),
        leases=Leases(store, lease_s=lease_s, worker=name, concurrency=threads_needed(loaded)),
        stopping=threading.Event(),
    )


def broker_url() -> str:
    """The URL of the Redis server that this process talks to."""
    loaded = settings()
    return embedded.broker_url(loaded.broker.url, loaded.store.url)

"""What all tasks of a process share: settings, store, HTTP runtime, leases."""

import threading
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from zoneinfo import ZoneInfo

from dispatcher.config.settings import Settings
from dispatcher.local import broker
from dispatcher.local.celery import connections_needed, submissions_at_once, threads_needed
from dispatcher.outbound.presence import Presence, worker_name
from dispatcher.outbound.transport import HttpClient
from dispatcher.providers import provider_class
from dispatcher.providers.base import Provider
from dispatcher.recovery.broker_owner import BrokerOwner
from dispatcher.recovery.rollback_guard import RollbackGuard
from dispatcher.recovery.spill import Spill, open_spill
from dispatcher.store.engine import Store
from workers.drain import DrainGate
from workers.http.http_runtime import HttpRuntime
from workers.http.pace import Paces
from workers.http.reads import Reader
from workers.leases import Leases
from workers.release_clock import ReleaseClock
from workers.settings import get_broker_url, get_settings

_LOCK_WAIT_S = 5.0


@dataclass(frozen=True, slots=True)
class Services:
    """The services of one process. Made on first use, since they must not cross a fork."""

    settings: Settings
    store: Store
    runtime: HttpRuntime
    leases: Leases
    rollback_guard: RollbackGuard
    broker_owner: BrokerOwner
    spill: Spill
    release_clock: ReleaseClock
    paces: Paces
    reader: Reader
    #: Every submission passes it, so that none begins while this process ends.
    gate: DrainGate
    #: Set when this process is to end. Waiting tasks then hand their batches back.
    stopping: threading.Event

    @property
    def lease(self) -> timedelta:
        """How long a worker may be silent before it loses its batches."""
        return timedelta(seconds=self.settings.worker.lease_s)

    @property
    def poll_lease(self) -> timedelta:
        """How long a poll may take before it is made again."""
        slowest = max((a.timeout_s for a in self.settings.accounts.values()), default=0.0)
        return timedelta(seconds=slowest) + self.lease

    def zone_of(self, account: str) -> ZoneInfo:
        """The time zone in which an account's days are counted."""
        return ZoneInfo(self.settings.account(account).timezone)

    def provider_of(self, account: str) -> Provider:
        """The adapter of a configured account. Raises ConfigError for an unknown account."""
        settings = self.settings.account(account)
        return provider_class(settings.provider)(settings)


@cache
def get_services() -> Services:
    """This process's services."""
    loaded = get_settings()
    lease_s = loaded.worker.lease_s
    # Shorter than a lease: a thread that waited longer could lose the batch that it holds.
    store = Store(
        loaded.store.url,
        lock_wait_s=min(_LOCK_WAIT_S, lease_s / 3),
        max_connections=loaded.worker.max_connections,
    )
    presence = Presence(worker_name(), timedelta(seconds=lease_s))
    threads = threads_needed(loaded)
    client = broker.redis_client(get_broker_url())
    runtime = HttpRuntime(HttpClient(connections=connections_needed(loaded)))
    paces, stopping = Paces(presence), threading.Event()
    return Services(
        settings=loaded,
        store=store,
        runtime=runtime,
        leases=Leases(store, lease_s=lease_s, presence=presence, concurrency=threads),
        rollback_guard=RollbackGuard(store, client=client),
        broker_owner=BrokerOwner(store, client),
        spill=open_spill(store, loaded.worker.spill_dir),
        release_clock=ReleaseClock(),
        paces=paces,
        reader=Reader(loaded, store, runtime, paces, stopping),
        gate=DrainGate(most=submissions_at_once(loaded)),
        stopping=stopping,
    )

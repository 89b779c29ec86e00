"""The collector that prometheus-client asks for each scrape; one scrape reads at a time."""

import logging
import threading
import time
from collections.abc import Iterator

from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

from dispatcher.config.settings import Settings
from dispatcher.errors import StoreError
from dispatcher.logs.events import LogEvent, log_event
from dispatcher.monitoring.account_families import (
    health_families,
    rate_families,
    request_families,
)
from dispatcher.monitoring.families import (
    campaign_families,
    operation_families,
    process_families,
    push_families,
    work_families,
)
from dispatcher.monitoring.snapshot import Snapshot, SnapshotReader
from dispatcher.store.engine import Store

log = logging.getLogger(__name__)


class StoreCollector(Collector):
    """All metrics of a store; only `dispatcher_store_up 0` and the build while it is away."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._settings = settings
        self._reader = SnapshotReader(store, settings)
        self._lock = threading.Lock()
        self._was_up = True

    def collect(self) -> Iterator[Metric]:
        """Read the store, and yield every metric."""
        with self._lock:
            started = time.monotonic()
            found = self._read_snapshot()
            seconds = time.monotonic() - started
        yield from process_families(is_up=found is not None, seconds=seconds)
        if found is not None:
            yield from operation_families(found)
            yield from campaign_families(found)
            yield from work_families(found)
            yield from health_families(found, self._settings)
            yield from rate_families(found, self._settings)
            yield from request_families(found)
            yield from push_families(found)

    def _read_snapshot(self) -> Snapshot | None:
        """The snapshot; None, with a line in the log at the first time, if the store is away."""
        try:
            found = self._reader.read_snapshot()
        except StoreError as error:
            if self._was_up:
                log_event(log, LogEvent.STORE_AWAY, "%s", error.in_one_line)
            self._was_up = False
            return None
        if not self._was_up:
            log_event(log, LogEvent.STORE_BACK, "the store can be read again")
        self._was_up = True
        return found


def make_registry(store: Store, settings: Settings) -> CollectorRegistry:
    """A registry with this store's metrics only. Nothing is read until it is asked."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(StoreCollector(store, settings))
    return registry


def render_metrics(registry: CollectorRegistry) -> str:
    """All metrics in Prometheus' text format."""
    return generate_latest(registry).decode()

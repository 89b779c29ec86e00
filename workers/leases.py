"""Leases: one thread renews the leases of this process, and records that it is alive."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from dispatcher import __version__
from dispatcher.errors import DispatcherError
from dispatcher.logs.events import LogEvent, log_event
from dispatcher.outbound.departure import boottime_s
from dispatcher.outbound.presence import Presence
from dispatcher.store import batches, scheduler
from dispatcher.store.batches import Claim
from dispatcher.store.clocks import clock_lead_s
from dispatcher.store.engine import Store, store_now
from dispatcher.store.revisions import newest_revision

log = logging.getLogger(__name__)

_RETRY_S = 1.0


class Leases:
    """Renews the leases of the batches that this process holds, three times per lease.

    A renewal that failed is tried again soon. A late one still counts until a sweep ends the lease;
    after an outage of the store no sweep does that for one whole lease.
    """

    def __init__(
        self, store: Store, *, lease_s: float, presence: Presence, concurrency: int
    ) -> None:
        self._store = store
        self._lease = timedelta(seconds=lease_s)
        self._every_s = lease_s / 3
        self._presence = presence
        self._concurrency = concurrency
        self._held: set[tuple[int, int]] = set()
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def keep_renewed(self, *claims: Claim) -> Iterator[None]:
        """Renew the leases of the claims during the block."""
        keys = {(claim.id, claim.fence) for claim in claims}
        with self._lock:
            self._held |= keys
        try:
            yield
        finally:
            with self._lock:
                self._held -= keys

    def start(self) -> None:
        """Start the thread that renews."""
        self._thread = threading.Thread(
            target=self._renew_until_stopped, name="leases", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread, and remove this worker from the list of live ones."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(timeout=5)
        try:
            with self._store.write() as conn:
                scheduler.deregister_worker(conn, self._presence.worker, store_now(conn))
        except DispatcherError as error:
            words = "this worker ends, but could not be removed from the list of live ones: %s"
            log_event(log, LogEvent.WORKER_STILL_LISTED, words, error.in_one_line)

    def _renew_until_stopped(self) -> None:
        while True:
            pause_s = self._every_s
            try:
                self._renew_all()
            except DispatcherError as error:
                words = "leases could not be renewed: %s"
                log_event(log, LogEvent.LEASES_NOT_RENEWED, words, error.in_one_line)
                pause_s = min(_RETRY_S, pause_s)
            except Exception:
                # Without this thread, everything in flight would fall in doubt.
                log.exception(
                    "leases could not be renewed", extra=LogEvent.LEASES_NOT_RENEWED.describe()
                )
            if self._stopped.wait(pause_s):
                return

    def _renew_all(self) -> None:
        with self._lock:
            held = list(self._held)
        with self._store.write() as conn:
            asked_at = datetime.now(UTC)
            now = store_now(conn)
            ahead_s = clock_lead_s(now, asked_at=asked_at, answered_at=datetime.now(UTC))
            scheduler.record_heartbeat(
                conn,
                self._presence.worker,
                self._concurrency,
                now,
                version=__version__,
                clock_ms=round(ahead_s * 1000),
                revision=newest_revision(),
            )
            renewed = batches.renew_leases(conn, held, now + self._lease)
        self._presence.note_heartbeat(boottime_s())
        if renewed < len(held):
            words = "%d of %d held batches have ended or were lost"
            log_event(log, LogEvent.LEASES_ENDED, words, len(held) - renewed, len(held))

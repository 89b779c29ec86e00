"""The watchdog ends a worker that is alive but takes no work, so that its supervisor restarts it.

A reconnect to the broker can leave a Celery worker without a consumer, which nothing else detects.
The same thread settles the answers that an earlier process wrote to the spill.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from functools import cache
from typing import Final

from celery import signals

from dispatcher.errors import DispatcherError
from dispatcher.local.celery import threads_needed
from dispatcher.local.life_signs import get_life_signs
from dispatcher.logs.events import LogEvent, log_event
from dispatcher.recovery.broker_owner import OWNER_REMEDY
from dispatcher.store import store_identity, tickets
from dispatcher.store.migrate import find_too_new
from workers.services import Services, get_services

log = logging.getLogger(__name__)

#: The exit status of a stalled worker: "temporary failure, try again" of sysexits.h.
EXIT_STALLED: Final = os.EX_TEMPFAIL
_PAUSE_S: Final = 2.0


class StallDetector:
    """Decides whether this worker is stalled, from observations every few seconds.

    It is stalled if a batch waits to be claimed for `after_s` seconds, in which the broker answered
    and this worker received nothing. Times are seconds of one monotonic clock.
    """

    def __init__(self, after_s: float) -> None:
        self._after_s = after_s
        self._since: dict[tuple[int, int], float] = {}

    def find_late(
        self,
        queued: Iterable[tuple[int, int]],
        *,
        received_at: float,
        broker_answers: bool,
        now: float,
    ) -> list[int]:
        """Add an observation. Returns the ids of the batches that wait too long.

        `queued` has id and fence of each queued batch. `received_at`: when this worker last
        received a task.
        """
        if not broker_answers:
            # Celery reconnects by itself, within a few seconds.
            self._since.clear()
            return []
        self._since = {key: self._since.get(key, now) for key in queued}
        late = [
            key for key, at in self._since.items() if now - max(at, received_at) >= self._after_s
        ]
        return sorted(batch_id for batch_id, _fence in late)


class Watchdog:
    """The thread. Tell it of every task that comes from the broker, begins and ends.

    While all of its `threads` are busy, the process receives no other task, and is not stalled.
    """

    def __init__(
        self,
        services: Services,
        *,
        after_s: float,
        threads: int,
        leave: Callable[[int], object] = os._exit,
    ) -> None:
        self._services = services
        self._after_s = after_s
        self._leave = leave
        self._stall = StallDetector(after_s)
        self._received_at = time.monotonic()
        self._threads = threads
        self._busy = 0
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread. It runs until this process is asked to end."""
        self.note_received_task()
        signals.task_prerun.connect(self.note_begun_task)
        signals.task_postrun.connect(self.note_ended_task)
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()

    def note_received_task(self) -> None:
        """Note that a task came from the broker."""
        self._received_at = time.monotonic()

    def note_begun_task(self, **_: object) -> None:
        """Note that a thread began a task."""
        with self._lock:
            self._busy += 1

    def note_ended_task(self, **_: object) -> None:
        """Note that a task ended: now another one can be received."""
        with self._lock:
            if self._busy >= self._threads:
                self._received_at = time.monotonic()
            self._busy -= 1

    @property
    def _has_free_thread(self) -> bool:
        with self._lock:
            return self._busy < self._threads

    def _watch(self) -> None:
        while not self._services.stopping.is_set():
            get_life_signs().send_alive()
            try:
                settled = self._services.spill.settle_all(self._services.store)
                if settled:
                    words = "%d answers of an earlier process were settled"
                    log_event(log, LogEvent.ANSWERS_RECOVERED, words, settled)
                reason = self.find_reason_to_end()
            except DispatcherError as error:
                words = "the watchdog could not read the store: %s"
                log_event(log, LogEvent.WATCHDOG_BLIND, words, error.in_one_line)
            except Exception:
                # A dead watchdog would hide the next stall.
                log.exception("the watchdog failed", extra=LogEvent.WATCHDOG_FAILED.describe())
            else:
                if reason is not None:
                    self._end_process(reason)
            self._services.stopping.wait(_PAUSE_S)

    def find_stalled(self) -> list[int]:
        """The ids of the batches that wait too long, if this worker is stalled."""
        with self._services.store.read() as conn:
            # Nothing is sent from a store that is held: that is not a stall.
            is_held = store_identity.load_hold_reason(conn) is not None
            queued = (
                []
                if is_held
                else tickets.queued_batches(conn, list(self._services.settings.accounts))
            )
        return self._stall.find_late(
            queued,
            received_at=self._received_at,
            broker_answers=bool(queued) and self._services.rollback_guard.redis_answers(),
            now=time.monotonic(),
        )

    def find_reason_to_end(self) -> str | None:
        """Why this worker must end; None if it need not.

        It is stalled, on the database of another store, or too old for the store's tables.
        """
        if (too_new := find_too_new(self._services.store)) is not None:
            return f"{too_new}: start the new version"
        other = self._services.broker_owner.find_problem()
        if other is not None:
            return f"{other}; {OWNER_REMEDY}"
        late = self.find_stalled()
        if not late or not self._has_free_thread:
            return None
        named = ", ".join(str(batch_id) for batch_id in late[:5]) + (", …" if late[5:] else "")
        return (
            f"batches wait to be claimed ({named}), and this worker received nothing for "
            f"{self._after_s:.0f} s though the broker answers: it is stalled"
        )

    def _end_process(self, reason: str) -> None:
        words = "this worker ends with status %d: %s"
        log_event(log, LogEvent.WORKER_ENDS, words, EXIT_STALLED, reason)
        slowest = max((a.timeout_s for a in self._services.settings.accounts.values()), default=0.0)
        self._services.gate.close_and_wait(slowest + 15)
        self._services.stopping.set()
        self._services.leases.stop()
        logging.shutdown()
        self._leave(EXIT_STALLED)


@cache
def get_watchdog() -> Watchdog:
    """The watchdog of this process. It waits longer than the sweep takes to requeue a batch."""
    worker = get_services().settings.worker
    return Watchdog(
        get_services(),
        after_s=max(worker.stall_after_s, 2 * worker.requeue_after_s),
        threads=threads_needed(get_services().settings),
    )

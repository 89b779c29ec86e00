"""Puts pushes into the store in groups, each one transaction: a commit each would be too slow."""

import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from dispatcher.errors import DispatcherError, StoreDataError
from dispatcher.logs.events import LogEvent, log_event
from dispatcher.receiver.access import PushAccess
from dispatcher.receiver.intake import AccountPush, look_at_waiting, store_pushes
from dispatcher.store import push_counts, waiting_receipts
from dispatcher.store.engine import Store, store_now
from dispatcher.store.push_counts import PushOutcome
from dispatcher.text.opt_outs import StopWords

log = logging.getLogger(__name__)

#: Pushes of one transaction, and how long the first of them waits for others.
_MOST: Final = 500
_LINGER_S: Final = 0.01
#: Pushes that may wait; more are asked to come again.
MOST_QUEUED: Final = 5000
#: Seconds between two looks at what waits, and between two looks at how much that is.
_LOOK_S: Final = 1.0
_TRIM_S: Final = 60.0


class QueuedPush(NamedTuple):
    """A push, and whom to tell whether it was stored."""

    push: AccountPush
    note_end: Callable[[bool], None]


class PushWriter:
    """One thread that writes. `note_end` of a push is called after the commit, in that thread."""

    def __init__(
        self, store: Store, access: PushAccess, stop_words: Mapping[str, StopWords]
    ) -> None:
        self._store = store
        self._access = access
        self._stop_words = stop_words
        self._queue: queue.Queue[QueuedPush | None] = queue.Queue(MOST_QUEUED)
        self._failed_requests: Counter[tuple[str, PushOutcome]] = Counter()
        self._count_lock = threading.Lock()
        self._look_at = self._trim_at = 0.0
        self._is_away = False
        self._thread = threading.Thread(target=self._run, name="push writer")

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Write what is queued, and end the thread."""
        self._queue.put(None)
        self._thread.join()

    def queue_push(self, push: AccountPush, note_end: Callable[[bool], None]) -> bool:
        """Queue a push; False if too many wait already."""
        try:
            self._queue.put_nowait(QueuedPush(push, note_end))
        except queue.Full:
            return False
        return True

    def count_failure(self, account: str, outcome: PushOutcome) -> None:
        """Count a request that had nothing to store; written with the next look."""
        with self._count_lock:
            self._failed_requests[account, outcome] += 1

    def _run(self) -> None:
        goes_on = True
        while goes_on:
            group, goes_on = self._take_group()
            if group:
                self._write_group(group)
            if time.monotonic() >= self._look_at or not goes_on:
                self._look_at = time.monotonic() + _LOOK_S
                self._keep_house()

    def _take_group(self) -> tuple[list[QueuedPush], bool]:
        """The next pushes, none after a second without; False once there will be no others."""
        group: list[QueuedPush] = []
        until = time.monotonic() + _LOOK_S
        while len(group) < _MOST:
            try:
                taken = self._queue.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                break
            if taken is None:
                return group, False
            if not group:
                until = time.monotonic() + _LINGER_S
            group.append(taken)
        return group, True

    def _write_group(self, group: Sequence[QueuedPush]) -> None:
        stored = self._try_write([queued.push for queued in group])
        if not stored and len(group) > 1 and not self._is_away:
            # One of them does not fit; the others must not suffer from it.
            for queued in group:
                queued.note_end(self._try_write([queued.push]))
            return
        for queued in group:
            queued.note_end(stored)

    def _try_write(self, pushes: Sequence[AccountPush]) -> bool:
        try:
            self._store.run_write(
                lambda conn: store_pushes(conn, pushes, self._stop_words, store_now(conn))
            )
        except StoreDataError as error:
            words = "a push does not fit the store: %s"
            log_event(log, LogEvent.PUSH_UNFIT, words, error.in_one_line)
        except DispatcherError as error:
            self._note_error(error)
        except Exception:
            log.exception("pushes were not stored", extra=LogEvent.RECEIVER_FAILED.describe())
        else:
            self._is_away = False
            return True
        return False

    def _keep_house(self) -> None:
        """Read the URLs again, look at receipts that wait, and write counts."""
        with self._count_lock:
            counted, self._failed_requests = self._failed_requests, Counter()
        try:
            self._access.reread_if_due()
            with self._store.read() as conn:
                is_due = bool(waiting_receipts.list_due_receipts(conn, store_now(conn)))
            if is_due:
                self._store.run_write(lambda conn: look_at_waiting(conn, store_now(conn)))
            if counted:
                self._store.run_write(
                    lambda conn: push_counts.add_push_counts(conn, counted, store_now(conn))
                )
                counted = Counter()
            if time.monotonic() >= self._trim_at:
                self._trim_at = time.monotonic() + _TRIM_S
                self._store.run_write(waiting_receipts.drop_oldest_waiting)
        except DispatcherError as error:
            self._note_error(error)
            with self._count_lock:
                self._failed_requests += counted
        except Exception:
            log.exception(
                "waiting receipts were not looked at", extra=LogEvent.RECEIVER_FAILED.describe()
            )

    def _note_error(self, error: DispatcherError) -> None:
        if not self._is_away:
            words = "pushes are not taken: %s"
            log_event(log, LogEvent.PUSHES_NOT_STORED, words, error.in_one_line)
        self._is_away = True

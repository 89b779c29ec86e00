"""Notifies people of what happens, in a thread of its own: nothing that is sent waits for it."""

import logging
import threading
import time
from typing import Final

import orjson

from dispatcher.errors import DispatcherError
from dispatcher.logs.events import LogEvent, log_event
from dispatcher.notify.outbox import collect_events, send_due
from dispatcher.providers.shared.answers import parse_or_none
from dispatcher.store.engine import store_now
from dispatcher.store.notice_sources import save_balance, take_balance_turn
from workers.services import Services

log = logging.getLogger(__name__)

#: Seconds between two looks.
_EVERY_S: Final = 5.0


class Notifier:
    """At most one pass at a time in a process; the tick starts it, and does not wait."""

    def __init__(self) -> None:
        self._busy = threading.Lock()
        self._next_at = 0.0

    def start_pass(self, services: Services) -> threading.Thread | None:
        """Start a pass if one is due; its thread."""
        now = time.monotonic()
        if not services.settings.notify.channels or now < self._next_at:
            return None
        if not self._busy.acquire(blocking=False):
            return None
        self._next_at = now + _EVERY_S
        # A daemon: a call that hangs keeps no worker from ending; it is made again after its lease.
        thread = threading.Thread(target=self._run, args=(services,), name="notifier", daemon=True)
        thread.start()
        return thread

    def _run(self, services: Services) -> None:
        try:
            wanted = services.settings.notify
            if wanted.balance_below is not None:
                _read_balances(services, wanted.balance_every_s)
            collect_events(services.store, wanted)
            send_due(services.store, wanted)
        except DispatcherError as error:
            log_event(log, LogEvent.NOTICES_LATE, "notices are late: %s", error.in_one_line)
        except Exception:
            log.exception("notices are late", extra=LogEvent.NOTIFIER_FAILED.describe())
        finally:
            self._busy.release()


def _read_balances(services: Services, every_s: float) -> None:
    for name in services.settings.accounts:
        provider = services.provider_of(name)
        if not provider.capabilities.balance:
            continue
        with services.store.write() as conn:
            is_mine = take_balance_turn(conn, name, store_now(conn), every_s)
        if not is_mine:
            continue
        try:
            response = services.reader.send(name, provider.balance_request())
            found = None if response is None else parse_or_none(response, provider.parse_balance)
        except DispatcherError as error:
            words = "account %s: its balance is not known: %s"
            log_event(log, LogEvent.BALANCE_UNKNOWN, words, name, error.in_one_line, account=name)
            continue
        if found:
            left = {one.package: str(one.amount) for one in found}
            with services.store.write() as conn:
                save_balance(conn, name, orjson.dumps(left).decode(), store_now(conn))

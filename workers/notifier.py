"""Notifies people of what happens, in a thread of its own: nothing that is sent waits for it."""

import logging
import threading
import time
from functools import partial
from typing import Final

from dispatcher.errors import DispatcherError, ProviderError
from dispatcher.logs.events import LogEvent, log_event
from dispatcher.notify.balances import BalanceQuestions
from dispatcher.notify.outbox import collect_events, send_due
from dispatcher.providers.shared.answers import parse_or_none
from dispatcher.types import Balance
from workers.services import Services

log = logging.getLogger(__name__)

#: Seconds between two looks.
_EVERY_S: Final = 5.0


class Notifier:
    """At most one pass at a time in a process; the tick starts it, and does not wait."""

    def __init__(self) -> None:
        self._busy = threading.Lock()
        self._balances = BalanceQuestions()
        self._next_at = 0.0

    def start_pass(self, services: Services) -> threading.Thread | None:
        """Start a pass if one is due; its thread."""
        now, wanted = time.monotonic(), services.settings.notify
        # Balances are watched for metrics and `doctor`, too.
        if now < self._next_at or not (wanted.channels or wanted.balance_below is not None):
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
                names = [
                    name
                    for name in services.settings.accounts
                    if services.provider_of(name).capabilities.balance
                ]
                ask = partial(_ask_balance, services)
                self._balances.ask_due(services.store, names, ask, wanted.balance_every_s)
            if wanted.channels:
                collect_events(services.store, wanted)
                send_due(services.store, wanted)
        except DispatcherError as error:
            log_event(log, LogEvent.NOTICES_LATE, "notices are late: %s", error.in_one_line)
        except Exception:
            log.exception("notices are late", extra=LogEvent.NOTIFIER_FAILED.describe())
        finally:
            self._busy.release()


def _ask_balance(services: Services, name: str) -> list[Balance] | None:
    """What the provider says is left; None where it does not say it now. Raises StoreError."""
    provider = services.provider_of(name)
    try:
        response = services.reader.send(name, provider.balance_request())
    except ProviderError as error:
        _note_unknown(name, error.in_one_line)
        return None
    if response is None:
        return None  # the account waits, its rate is used up, or this process ends
    try:
        found = parse_or_none(response, provider.parse_balance)
    except ProviderError as error:
        services.reader.note_error(name, error)
        _note_unknown(name, error.in_one_line)
        return None
    if not found:
        _note_unknown(name, "its answer has none")
    return found


def _note_unknown(name: str, why: str) -> None:
    words = "account %s: its balance is not known: %s"
    log_event(log, LogEvent.BALANCE_UNKNOWN, words, name, why, account=name)

"""Durable writes: an answer that the store cannot take is tried again, and kept on disk."""

import logging
import random
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import count
from typing import Final, TypeVar

from sqlalchemy import Connection

from dispatcher.errors import StoreDataError, StoreError
from dispatcher.logs.events import LogEvent, log_event
from dispatcher.policy.backoff import full_jitter
from dispatcher.store.engine import store_now
from dispatcher.store.settlement import Settlement
from workers.services import Services

log = logging.getLogger(__name__)

#: After this time an answer goes to disk too, so that killing this process does not lose it.
_SPILL_AFTER_S: Final = 10.0
_MAX_PAUSE_S: Final = 5.0
_SHORT_PAUSE_S: Final = 0.5

Result = TypeVar("Result")


def write_durably(
    services: Services,
    write: Callable[[Connection, datetime], object],
    answers: Sequence[Settlement] = (),
) -> bool:
    """Run `write` in a transaction, again and again until the store takes it.

    Returns whether it did. If not, `answers` are on disk: this process had to end before, and the
    next start settles them, or the store will never take one of them. Then their batches must not
    be closed. Where there are no answers, the sweep finds what `write` left undone.
    """
    began = time.monotonic()
    failures = 0
    is_spilled = False
    while True:
        try:
            with services.store.write() as conn:
                write(conn, store_now(conn))
        except StoreDataError as error:
            # It would be refused for ever. What it was about stays in doubt, for a person.
            log_event(log, LogEvent.ANSWER_REFUSED, "an answer cannot be stored: %s", error.message)
            for answer in answers:
                _quarantine_answer(services, answer, error.message)
            return False
        except StoreError as error:
            failures += 1
            log_event(log, LogEvent.ANSWER_WAITS, "an answer waits to be stored: %s", error.message)
        else:
            for answer in answers if is_spilled else ():
                services.spill.remove_answer(answer)
            return True
        is_ending = services.stopping.is_set()
        is_late = is_ending or time.monotonic() - began > _SPILL_AFTER_S
        if answers and is_late and not is_spilled:
            spilled = [_spill_answer(services, answer) for answer in answers]
            is_spilled = all(spilled)
        if is_ending and (is_spilled or not answers):
            return False
        pause_s = full_jitter(failures, cap_s=_MAX_PAUSE_S, random=random.random)
        if is_ending:
            time.sleep(pause_s)
        else:
            services.stopping.wait(pause_s)


def write_patiently(
    services: Services, write: Callable[[Connection, datetime], Result], *, within_s: float
) -> Result:
    """Run `write` in a transaction that a power cut may undo; its result.

    Where the store does not take it, it is tried again for `within_s` seconds, unless this process
    is to end. Then the StoreError is raised.
    """
    give_up_at = time.monotonic() + within_s
    for failures in count(1):
        try:
            with services.store.write(survives_power_cut=False) as conn:
                return write(conn, store_now(conn))
        except StoreDataError:
            raise
        except StoreError:
            if time.monotonic() > give_up_at or services.stopping.is_set():
                raise
        services.stopping.wait(full_jitter(failures, cap_s=_SHORT_PAUSE_S, random=random.random))
    raise AssertionError("it counts for ever")


def _quarantine_answer(services: Services, answer: Settlement, reason: str) -> None:
    try:
        services.spill.quarantine_answer(answer, reason)
    except OSError as error:
        words = "it cannot be written to %s either: %s"
        log_event(log, LogEvent.ANSWER_REFUSED, words, services.spill.folder, error.strerror)


def _spill_answer(services: Services, answer: Settlement) -> bool:
    try:
        services.spill.write_answer(answer)
    except OSError as error:
        words = "an answer can be stored neither in the store nor in %s: %s; it is kept in memory"
        folder = services.spill.folder
        log_event(log, LogEvent.ANSWER_KEPT_IN_MEMORY, words, folder, error.strerror)
        return False
    words = "the store cannot take an answer: it was written to %s"
    log_event(log, LogEvent.ANSWER_SPILLED, words, services.spill.folder)
    return True

"""A pass over the store: new events go into the outbox, and what is due goes out.

Every event is delivered at least once: the row is marked after the call, so a process that ends in
between makes it be called again, with the same event id.
"""

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from dispatcher.config.notify_settings import EventKind, NotifySettings
from dispatcher.logs.events import LogEvent, log_event
from dispatcher.notify.conditions import find_conditions
from dispatcher.notify.delivery import DeliveryFailed, deliver_notice
from dispatcher.store import notices
from dispatcher.store.engine import Store, store_now
from dispatcher.store.rows import NoticeRow

log = logging.getLogger(__name__)

#: Calls of one pass.
_AT_ONCE: Final = 20
#: Longer than a call: nobody else takes the row while it may be under way.
_LEASE_BEYOND_S: Final = 30.0
#: Pauses between two tries; after the last one it is given up. Together about half a day.
_PAUSES_S: Final = (10, 30, 60, 300, 900, 1800, 3600, 7200, 14400, 14400)

Deliver = Callable[[NotifySettings, NoticeRow], None]


def collect_events(store: Store, settings: NotifySettings) -> int:
    """Put events that are new into the outbox; how many calls that makes."""
    with store.read() as conn:
        begun = notices.has_begun(conn)
    if begun is None:
        with store.write() as conn:
            begun = notices.begun_at(conn, store_now(conn))
    with store.read() as conn:
        were_true = notices.open_keys(conn)
        now = store_now(conn)
        found = find_conditions(conn, settings, begun=begun, now=now, known=were_true)
    keys = [{notices.key_of(one, channel) for channel in settings.channels} for one in found]
    fresh = [one for one, its in zip(found, keys, strict=True) if its - were_true]
    over = {
        key
        for key in were_true.difference(*keys)
        # A share may cross the mark again and again; one notice for a campaign is enough.
        if not key.startswith(EventKind.DELIVERY_LOW)
    }
    if not fresh and not over:
        return 0
    with store.write() as conn:
        now = store_now(conn)
        notices.end_conditions(conn, over, now)
        return notices.add_notices(conn, fresh, settings.channels, now)


def send_due(store: Store, settings: NotifySettings, deliver: Deliver = deliver_notice) -> int:
    """Make the calls that are due; how many succeeded."""
    with store.read() as conn:
        due = notices.list_due(conn, settings.channels, store_now(conn), _AT_ONCE)
    sent = 0
    for row in due:
        with store.write() as conn:
            now = store_now(conn)
            until = now + timedelta(seconds=settings.timeout_s + _LEASE_BEYOND_S)
            is_mine = notices.claim_notice(conn, row, now, until)
        sent += is_mine and _send_claimed(store, settings, row, deliver)
    return sent


def send_trial(store: Store, settings: NotifySettings, channel: str) -> str | None:
    """Send a trial event by one way, at once; why it failed, or None."""
    with store.write() as conn:
        row = notices.add_single(conn, EventKind.TEST, channel, store_now(conn))
    try:
        deliver_notice(settings, row)
    except DeliveryFailed as failure:
        with store.write() as conn:
            notices.mark_failed(conn, row.id, str(failure), None)
        return str(failure)
    with store.write() as conn:
        notices.mark_sent(conn, row.id, store_now(conn))
    return None


def _send_claimed(store: Store, settings: NotifySettings, row: NoticeRow, deliver: Deliver) -> bool:
    try:
        deliver(settings, row)
    except DeliveryFailed as failure:
        pause_s = _PAUSES_S[row.tries] if row.tries < len(_PAUSES_S) else None
        words = "%s %s: %s"
        log_event(log, LogEvent.NOTICE_NOT_DELIVERED, words, row.kind, row.event_id, failure)
        with store.write() as conn:
            at = None if pause_s is None else store_now(conn) + timedelta(seconds=pause_s)
            notices.mark_failed(conn, row.id, str(failure), at)
        return False
    with store.write() as conn:
        notices.mark_sent(conn, row.id, store_now(conn))
    return True

"""Release: which batches of an account may be queued now, decided under the account's lock."""

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import Connection

from dispatcher.providers.base import ProviderSettings
from dispatcher.schedule import Budget, DueBatch, Lane, Turn, choose
from dispatcher.status import BatchState
from dispatcher.store import accounts, batches, campaigns
from dispatcher.store.batches import Ticket
from dispatcher.store.sets import AnyRow

#: From so many failures in a row on, one batch at a time tries whether the provider is back.
_PROBE_AFTER = 3


def release(conn: Connection, name: str, settings: ProviderSettings, now: datetime) -> list[Ticket]:
    """`pending → queued` for what may leave now; publish the tickets after the commit.

    At most `max_in_flight` requests of the account are out at a time, whoever releases.
    """
    account = accounts.lock(conn, name)
    if account is None or account.paused_by is not None:
        return []
    if account.not_before is not None and account.not_before > now:
        return []
    budget = _budget(conn, account, settings, now)
    if budget.is_spent:
        return []
    turns = [Turn(-r.priority, r.turn, r.id) for r in batches.of_running_campaigns(conn, name)]

    def due(campaign_id: int) -> Iterator[DueBatch]:
        return batches.due(conn, campaign_id, now, settings.max_in_flight)

    chosen = list(choose(turns, due, budget))
    for turn in {turn.campaign_id: turn for turn, _batch in chosen}.values():
        campaigns.set_turn(conn, turn.campaign_id, turn.served, now)
    return batches.enqueue(conn, [batch.id for _turn, batch in chosen], now)


def _budget(conn: Connection, account: AnyRow, settings: ProviderSettings, now: datetime) -> Budget:
    out = batches.in_flight(conn, account.name)
    slots = 1 if account.failures >= _PROBE_AFTER else settings.max_in_flight
    taken = sum(batch.requests for batch in out)
    lanes = [
        Lane(
            per_second=per_second,
            counts_requests=counts_requests,
            ahead_s=_seconds_ahead(paid_until, now),
        )
        for per_second, paid_until, counts_requests in (
            (settings.messages_per_second, account.messages_paid_until, False),
            (settings.requests_per_second, account.requests_paid_until, True),
        )
        if per_second is not None
    ]
    for batch in out:
        if batch.state != BatchState.SUBMITTING:  # it has not paid yet
            for lane in lanes:
                lane.book(batch.pending, batch.requests)
    return Budget(slots=slots - taken, lanes=lanes)


def _seconds_ahead(paid_until: datetime | None, now: datetime) -> float:
    return 0.0 if paid_until is None else (paid_until - now).total_seconds()

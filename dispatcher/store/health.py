"""Circuit breakers of accounts, and probes: calls that send nothing.

`dispatcher/policy/breaker.py` decides what an answer means.
"""

import logging
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, and_, bindparam, or_, select, update

from dispatcher.errors import ErrorKind
from dispatcher.logs.events import LogEvent, log_event
from dispatcher.policy.breaker import Breaker, Health, next_credit_check_s, next_probe_s
from dispatcher.store import accounts, batches
from dispatcher.store.audit import add_audit_row
from dispatcher.store.locks import lock_account
from dispatcher.store.rows import AccountRow
from dispatcher.store.tables import ACCOUNT

_WITH_BREAKER = ACCOUNT.c.breaker == Breaker.OPEN
_WITHOUT_CREDIT = ACCOUNT.c.paused_by == ErrorKind.CREDIT
_IS_DUE = and_(
    ACCOUNT.c.check_at <= bindparam("now"),
    or_(_WITHOUT_CREDIT, and_(_WITH_BREAKER, ACCOUNT.c.paused_by.is_(None))),
    or_(ACCOUNT.c.check_lease_until.is_(None), ACCOUNT.c.check_lease_until <= bindparam("now")),
)
# Made once: every tick asks it.
_DUE = select(ACCOUNT.c.name).where(_IS_DUE)


log = logging.getLogger(__name__)


class ProbeTicket(NamedTuple):
    """An account to probe; without effect once a newer ticket was issued."""

    account: str
    number: int


def health_of(account: AccountRow) -> Health:
    """The account's health, from its row."""
    return Health(
        failures=account.failures,
        breaker=Breaker(account.breaker) if account.breaker is not None else None,
        reason=account.breaker_reason,
        since=account.breaker_at,
        check_at=account.check_at,
        checks=account.checks,
    )


def change_health(
    conn: Connection, name: str, decide: Callable[[Health], Health], now: datetime
) -> Health | None:
    """Apply `decide` to an account's health; the new health, None if nothing changed.

    The row is locked only for a change. Adds an audit row when the breaker opens or closes.
    """
    seen = accounts.find_account(conn, name)
    if seen is None or decide(health_of(seen)) == health_of(seen):
        return None
    row = lock_account(conn, name)
    if row is None:
        return None
    old = health_of(row)
    new = decide(old)
    # While it is paused, `check_at` is the balance's.
    check_at = row.check_at if row.paused_by is not None else new.check_at
    conn.execute(
        update(ACCOUNT)
        .where(ACCOUNT.c.name == name)
        .values(
            failures=new.failures,
            breaker=new.breaker,
            breaker_reason=new.reason,
            breaker_at=new.since,
            check_at=check_at,
            checks=new.checks,
        )
    )
    if (old.breaker is None) != (new.breaker is None):
        what = "breaker closed" if new.breaker is None else "breaker opened"
        add_audit_row(conn, f"account {what}", now=now, account=name, detail=new.reason)
        words = f"account {name}: {what}" + (f": {new.reason}" if new.reason else "")
        event = LogEvent.BREAKER_CLOSED if new.breaker is None else LogEvent.BREAKER_OPENED
        log_event(log, event, words, account=name)
    return new


def schedule_credit_check(conn: Connection, name: str, first_s: float, now: datetime) -> None:
    """Schedule the next check of the balance of an account that is paused without credit."""
    row = lock_account(conn, name)
    if row is None or row.paused_by != ErrorKind.CREDIT:
        return
    at = now + timedelta(seconds=next_credit_check_s(row.checks, first_s))
    conn.execute(
        update(ACCOUNT)
        .where(ACCOUNT.c.name == name)
        .values(check_at=at, checks=row.checks + 1, check_lease_until=None)
    )


def due_probes(conn: Connection, now: datetime) -> list[str]:
    """The accounts that are due for a probe which nobody makes."""
    return list(conn.execute(_DUE, {"now": now}).scalars())


def lease_due_probes(
    conn: Connection, names: Collection[str], *, now: datetime, lease_until: datetime
) -> list[ProbeTicket]:
    """Issue tickets for due probes of accounts of `names` that have nothing in flight.

    So a probe takes only one of the account's own slots.
    """
    tickets = []
    for name in due_probes(conn, now):
        if name not in names or batches.batches_in_flight(conn, name):
            continue
        number = conn.execute(
            update(ACCOUNT)
            .where(ACCOUNT.c.name == name, _IS_DUE)
            .values(check_lease_until=lease_until)
            .returning(ACCOUNT.c.checks),
            {"now": now},
        ).scalar_one_or_none()
        if number is not None:
            tickets.append(ProbeTicket(name, number))
    return tickets


def lock_for_probe(conn: Connection, ticket: ProbeTicket) -> AccountRow | None:
    """Lock the account's row; None if the ticket is not the newest."""
    row = lock_account(conn, ticket.account)
    is_mine = row is not None and row.checks == ticket.number and row.check_lease_until is not None
    return row if is_mine else None


def mark_reachable(conn: Connection, account: AccountRow) -> None:
    """`open → trial`: the provider answered a call that sends nothing."""
    conn.execute(
        update(ACCOUNT)
        .where(ACCOUNT.c.name == account.name, _WITH_BREAKER)
        .values(breaker=Breaker.TRIAL, check_at=None, check_lease_until=None)
    )


def mark_unreachable(
    conn: Connection,
    account: AccountRow,
    reason: str,
    *,
    now: datetime,
    random: Callable[[], float],
) -> None:
    """Store that a probe failed, and schedule the next one."""
    conn.execute(
        update(ACCOUNT)
        .where(ACCOUNT.c.name == account.name)
        .values(
            breaker_reason=reason,
            check_at=now + timedelta(seconds=next_probe_s(account.checks, random)),
            checks=account.checks + 1,
            check_lease_until=None,
        )
    )


def mark_credit_restored(conn: Connection, account: AccountRow, detail: str, now: datetime) -> None:
    """Open an account that was paused without credit; its breaker stays as it is.

    The wait after its next refusal is longer, unless something is accepted before.
    """
    conn.execute(
        update(ACCOUNT)
        .where(ACCOUNT.c.name == account.name, _WITHOUT_CREDIT)
        .values(
            paused_by=None, pause_reason=None, paused_kind=None, changed_at=now,
            check_at=now if account.breaker is not None else None, check_lease_until=None,
        )
    )  # fmt: skip
    add_audit_row(conn, "account resume", now=now, account=account.name, detail=detail)

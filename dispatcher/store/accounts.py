"""Account rows: paused or open, throttled, and until when each rate is paid for."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import Connection, Update, bindparam, literal, or_, select, update

from dispatcher.policy.fair_queue import Unit
from dispatcher.store.audit import add_audit_row
from dispatcher.store.column_types import UtcTime
from dispatcher.store.engine import take_advisory_lock
from dispatcher.store.fetching import columns_of, fetch_all, fetch_optional
from dispatcher.store.row_parts import CancelledAttempt
from dispatcher.store.rows import AccountRow
from dispatcher.store.table_values import insert_or_ignore, later_of
from dispatcher.store.tables import ACCOUNT, GENERAL_STOP

# Made once: every batch runs them several times while it holds the writer lock.
_ROWS = select(*columns_of(ACCOUNT, AccountRow))
_BY_NAME = _ROWS.where(ACCOUNT.c.name == bindparam("account"))
_NAMES = select(ACCOUNT.c.name)
_ADVANCE = (
    update(ACCOUNT)
    .where(ACCOUNT.c.name == bindparam("account"), ACCOUNT.c.turn < bindparam("to"))
    .values(turn=bindparam("to"))
)
#: The advisory lock of who stops everything, or makes an account's row.
STOP = "stop"
#: A day on which the clock is put forward.
_SHORTEST_DAY = timedelta(hours=23)


def create_missing_accounts(conn: Connection, names: Iterable[str]) -> None:
    """Insert a row for every configured account that has none; a stopped one while all is stopped.

    Before it locks any row.
    """
    known = set(conn.execute(_NAMES).scalars())
    missing = [name for name in names if name not in known]
    if not missing:
        return
    # Nobody stops everything while we look whether that is so.
    take_advisory_lock(conn, STOP)
    stop = conn.execute(select(GENERAL_STOP)).first()
    stopped = (
        {}
        if stop is None
        else {"stopped_at": stop.at, "stopped_by": stop.actor, "stop_reason": stop.reason}
    )
    for name in missing:
        insert_or_ignore(conn, ACCOUNT, {"name": name, "failures": 0, **stopped})


def find_account(conn: Connection, name: str) -> AccountRow | None:
    """The account's row; None if it has none."""
    return fetch_optional(conn, AccountRow, _BY_NAME, {"account": name})


def all_accounts(conn: Connection) -> dict[str, AccountRow]:
    """Every known account by name."""
    return {row.name: row for row in fetch_all(conn, AccountRow, _ROWS)}


def pause_account(
    conn: Connection,
    name: str,
    *,
    by: str,
    reason: str,
    now: datetime,
    kind: str | None = None,
    actor: str | None = None,
) -> bool:
    """Pause an open account; False if it is paused already: it keeps its first reason.

    `kind` is the kind of the campaign that found no credit; `actor`, where it is not `by`, is who
    did it.
    """
    done = conn.execute(
        update(ACCOUNT)
        .where(ACCOUNT.c.name == name, ACCOUNT.c.paused_by.is_(None))
        .values(paused_by=by, pause_reason=reason, paused_kind=kind, changed_at=now, check_at=None)
    ).rowcount
    if done:
        add_audit_row(
            conn, "account pause", now=now, actor=actor or by, account=name, detail=reason
        )
    return bool(done)


def resume_account(conn: Connection, name: str, *, actor: str, now: datetime) -> bool:
    """Open an account that is paused, waits or has an open breaker, and forget its failures.

    False if it did none of these.
    """
    stopped = or_(
        ACCOUNT.c.paused_by.is_not(None),
        ACCOUNT.c.breaker.is_not(None),
        ACCOUNT.c.not_before > now,
    )
    done = conn.execute(
        update(ACCOUNT)
        .where(ACCOUNT.c.name == name, stopped)
        .values(
            paused_by=None, pause_reason=None, paused_kind=None, changed_at=now, not_before=None,
            failures=0, breaker=None, breaker_reason=None, breaker_at=None,
            check_at=None, checks=0, check_lease_until=None,
        )
    ).rowcount  # fmt: skip
    if done:
        add_audit_row(conn, "account resume", now=now, actor=actor, account=name)
    return bool(done)


def throttle_until(conn: Connection, name: str, until: datetime) -> None:
    """Release nothing of the account before `until`, or a later time that is stored already."""
    later = later_of(conn.dialect.name, ACCOUNT.c.not_before, literal(until, UtcTime()))
    conn.execute(update(ACCOUNT).where(ACCOUNT.c.name == name).values(not_before=later))


def record_paid_until(
    conn: Connection, name: str, paid_for_s: Mapping[Unit, float], now: datetime
) -> None:
    """Record until when each rate is paid; the caller has locked the account."""
    if paid_for_s:
        given: dict[str, Any] = {unit: now + timedelta(seconds=s) for unit, s in paid_for_s.items()}
        conn.execute(_pay_stmt(frozenset(paid_for_s)), {"account": name, **given})


@cache
def _pay_stmt(units: frozenset[Unit]) -> Update:
    return (
        update(ACCOUNT)
        .where(ACCOUNT.c.name == bindparam("account"))
        .values(
            {
                ACCOUNT.c[f"{unit}_paid_until"]: bindparam(str(unit), type_=UtcTime())
                for unit in units
            }
        )
    )


def advance_virtual_time(conn: Connection, name: str, turn: int) -> None:
    """Advance the account's virtual time, at which a campaign that joins late starts."""
    conn.execute(_ADVANCE, {"account": name, "to": turn})


def messages_left_today(account: AccountRow, limit: int | None, now: datetime) -> int | None:
    """How many messages the account may still begin today; None without a limit."""
    if limit is None:
        return None
    is_today = account.day_until is not None and now < account.day_until
    return max(0, limit - account.day_count) if is_today else limit


def count_today(
    conn: Connection, account: AccountRow, messages: int, day_until: datetime, now: datetime
) -> None:
    """Count begun messages in the account's day; a new day ends at `day_until`."""
    is_today = account.day_until is not None and now < account.day_until
    conn.execute(
        update(ACCOUNT)
        .where(ACCOUNT.c.name == account.name)
        .values(
            day_until=account.day_until if is_today else day_until,
            day_count=(account.day_count if is_today else 0) + messages,
        )
    )


def uncount_today(
    conn: Connection, account: AccountRow, unsent: Sequence[CancelledAttempt]
) -> None:
    """Take back the messages of requests that were not sent, of those surely counted today."""
    until = account.day_until
    if until is None:
        return
    messages = sum(each.size for each in unsent if until - each.begun_at <= _SHORTEST_DAY)
    if messages:
        conn.execute(
            update(ACCOUNT)
            .where(ACCOUNT.c.name == account.name)
            .values(day_count=ACCOUNT.c.day_count - messages)
        )

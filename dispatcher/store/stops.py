"""Stops by people: every account at once, or some; beside any pause of an account, which stays.

An account's own columns say whether it is stopped. `general_stop` has a row while everything is.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, delete, func, select, true, update

from dispatcher.status import AttemptOutcome, BatchState
from dispatcher.store.accounts import STOP
from dispatcher.store.audit import add_audit_row
from dispatcher.store.engine import take_advisory_lock
from dispatcher.store.fetching import columns_of, fetch_all, fetch_optional
from dispatcher.store.locks import lock_accounts
from dispatcher.store.table_values import insert_or_ignore
from dispatcher.store.tables import ACCOUNT, ATTEMPT, BATCH, GENERAL_STOP
from dispatcher.store.transitions import has_state


class GeneralStop(NamedTuple):
    """Who stopped everything, when and why."""

    at: datetime
    actor: str
    reason: str | None


class StoppedAccount(NamedTuple):
    """An account that is stopped; `paused_by` is its pause, which stays when it goes on."""

    name: str
    stopped_at: datetime
    stopped_by: str
    stop_reason: str | None
    paused_by: str | None
    pause_reason: str | None


class AtProvider(NamedTuple):
    """Requests of an account that have begun and have no answer yet, the last until `until`."""

    account: str
    requests: int
    recipients: int
    until: datetime


def find_general_stop(conn: Connection) -> GeneralStop | None:
    """The stop of everything; None while there is none."""
    return fetch_optional(
        conn, GeneralStop, select(*columns_of(GENERAL_STOP, GeneralStop)).limit(1)
    )


def list_stopped(conn: Connection) -> list[StoppedAccount]:
    """The accounts that are stopped, by name."""
    query = select(*columns_of(ACCOUNT, StoppedAccount)).where(ACCOUNT.c.stopped_at.is_not(None))
    return fetch_all(conn, StoppedAccount, query.order_by(ACCOUNT.c.name))


def stop_accounts(
    conn: Connection,
    names: Collection[str] | None,
    *,
    actor: str,
    reason: str | None,
    now: datetime,
) -> list[str]:
    """Stop the accounts with these names (None: all, also those configured later).

    Returns those that were not stopped before. Requests that have begun are not recalled; after the
    commit none begins. Accounts need a row: see `create_missing_accounts`.
    """
    take_advisory_lock(conn, STOP)
    is_new = False
    if names is None:
        is_new = insert_or_ignore(
            conn, GENERAL_STOP, {"id": 1, "at": now, "actor": actor, "reason": reason}
        )
    locked = lock_accounts(conn, _with_names(names) & ACCOUNT.c.stopped_at.is_(None))
    conn.execute(
        update(ACCOUNT)
        .where(_with_names(names), ACCOUNT.c.stopped_at.is_(None))
        .values(stopped_at=now, stopped_by=actor, stop_reason=reason)
    )
    if names is not None:
        for name in locked:
            add_audit_row(conn, "stop", now=now, actor=actor, account=name, detail=reason)
    elif is_new or locked:
        add_audit_row(conn, "stop", now=now, actor=actor, detail=_about(locked, reason))
    return locked


def start_accounts(
    conn: Connection, names: Collection[str] | None, *, actor: str, now: datetime
) -> list[StoppedAccount]:
    """Undo the stop of these accounts (None: of everything); the accounts as they were stopped."""
    take_advisory_lock(conn, STOP)
    stop = find_general_stop(conn)
    if names is None:
        conn.execute(delete(GENERAL_STOP))
    lock_accounts(conn, _with_names(names) & ACCOUNT.c.stopped_at.is_not(None))
    stopped = [each for each in list_stopped(conn) if names is None or each.name in names]
    conn.execute(
        update(ACCOUNT)
        .where(_with_names(names), ACCOUNT.c.stopped_at.is_not(None))
        .values(stopped_at=None, stopped_by=None, stop_reason=None)
    )
    if names is not None:
        for each in stopped:
            add_audit_row(conn, "go", now=now, actor=actor, account=each.name)
    elif stop is not None or stopped:
        detail = _about([each.name for each in stopped], None)
        add_audit_row(conn, "go", now=now, actor=actor, detail=detail)
    return stopped


def list_at_providers(conn: Connection, names: Collection[str] | None) -> list[AtProvider]:
    """What is under way at the providers now, per account (None: all accounts)."""
    query = (
        select(
            BATCH.c.account.label("account"),
            func.count().label("requests"),
            func.sum(ATTEMPT.c.size).label("recipients"),
            func.max(ATTEMPT.c.deadline).label("until"),
        )
        .join(ATTEMPT, ATTEMPT.c.batch_id == BATCH.c.id)
        .where(has_state(BatchState.SUBMITTING), has_state(AttemptOutcome.OPEN))
        .group_by(BATCH.c.account)
        .order_by(BATCH.c.account)
    )
    if names is not None:
        query = query.where(BATCH.c.account.in_(names))
    return fetch_all(conn, AtProvider, query)


def _with_names(names: Collection[str] | None) -> ColumnElement[bool]:
    return true() if names is None else ACCOUNT.c.name.in_(names)


def _about(names: Sequence[str], reason: str | None) -> str:
    count = f"{len(names)} account{'' if len(names) == 1 else 's'}"
    return count if reason is None else f"{count}: {reason}"

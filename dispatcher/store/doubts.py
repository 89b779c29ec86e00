"""Requests with recipients in doubt: when each is reconciled, and its messages.

`listed_messages.py` looks up listed numbers; `decisions.py` stores decisions.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    Connection,
    and_,
    bindparam,
    func,
    or_,
    select,
    update,
)

from dispatcher.logs.events import EventFields
from dispatcher.status import MessageState
from dispatcher.store.engine import take_advisory_lock
from dispatcher.store.fetching import columns_of, fetch_all, fetch_messages, fetch_one
from dispatcher.store.ranges import messages_of
from dispatcher.store.row_parts import (
    CampaignInDoubt,
    DoubtfulAttempt,
    DoubtfulMessage,
    DoubtOutlook,
    DueDoubt,
    UnscheduledDoubt,
)
from dispatcher.store.rows import CampaignRow
from dispatcher.store.tables import ACCOUNT, ATTEMPT, BATCH, CAMPAIGN, MESSAGE
from dispatcher.store.transitions import has_state

#: Limits of one look at a provider's list; one request may have more recipients than that.
_RECIPIENTS = 10_000
_REQUESTS = 200


class ReconcileTicket(NamedTuple):
    """An account to reconcile; without effect once a newer ticket was issued."""

    account: str
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DoubtfulRequest:
    """A request with recipients in doubt, and their rows."""

    id: int
    account: str
    begun_at: datetime
    #: How many looks at the provider's list counted for it.
    looks: int
    campaign: CampaignRow
    #: seq, msisdn, parts, variables and note of each recipient in doubt.
    recipients: Sequence[DoubtfulMessage]

    @property
    def log_fields(self) -> EventFields:
        """What a line about it is about."""
        return EventFields(campaign=self.campaign.id, attempt=self.id, account=self.account)


_IS_DUE = and_(
    ATTEMPT.c.reconcile_at.is_not(None),
    ATTEMPT.c.reconcile_at <= bindparam("now"),
    ATTEMPT.c.looks.is_not(None),
)
# Made once: every tick runs them.
_UNPLANNED = (
    select(
        *columns_of(
            ATTEMPT,
            UnscheduledDoubt,
            on_doubt=CAMPAIGN.c.on_doubt,
            schedule_at=CAMPAIGN.c.schedule_at,
            contact_lists=CAMPAIGN.c.contact_lists,
        )
    )
    .join_from(ATTEMPT, CAMPAIGN, CAMPAIGN.c.id == ATTEMPT.c.campaign_id)
    .where(
        ATTEMPT.c.account.in_(bindparam("accounts", expanding=True)),
        ATTEMPT.c.reconcile_at.is_not(None),
        ATTEMPT.c.looks.is_(None),
    )
    .limit(bindparam("most"))
)
_DOUBT_SINCE = func.min(ATTEMPT.c.doubt_at)
_NEXT_RECONCILIATION = func.min(ATTEMPT.c.reconcile_at).filter(
    and_(ATTEMPT.c.looks.is_not(None), ATTEMPT.c.reconcile_at.is_not(None))
)
_LOOKS = func.max(ATTEMPT.c.looks)
_ANY_DUE = (
    select(ATTEMPT.c.id)
    .where(
        ATTEMPT.c.reconcile_at.is_not(None),
        or_(ATTEMPT.c.looks.is_(None), ATTEMPT.c.reconcile_at <= bindparam("now")),
    )
    .limit(1)
)
_ACCOUNTS_DUE = select(ATTEMPT.c.account).where(_IS_DUE).distinct()


def doubt_columns(now: datetime) -> dict[str, Any]:
    """The columns of an attempt that falls in doubt; `schedule_reconciliation` sets the time."""
    return {"doubt_at": now, "reconcile_at": ATTEMPT.c.deadline, "looks": None}


def has_due_doubts(conn: Connection, now: datetime) -> bool:
    """Whether a request in doubt has no time to be reconciled yet, or is due."""
    return conn.execute(_ANY_DUE, {"now": now}).first() is not None


def unscheduled_doubts(
    conn: Connection, names: Collection[str], limit: int = 1000
) -> list[UnscheduledDoubt]:
    """Doubtful requests without a time to reconcile, at most `limit`, with the campaign's rule.

    Only of the accounts `names`: those of an account that is not configured any more would
    otherwise keep the others waiting for ever.
    """
    return fetch_all(conn, UnscheduledDoubt, _UNPLANNED, {"accounts": list(names), "most": limit})


def schedule_reconciliation(conn: Connection, times: Mapping[int, datetime | None]) -> None:
    """Set when each of these requests is reconciled; None: a person has to decide."""
    if times:
        given = bindparam("given", type_=ATTEMPT.c.id.type)
        at = bindparam("at", type_=ATTEMPT.c.reconcile_at.type)
        conn.execute(
            update(ATTEMPT)
            .where(ATTEMPT.c.id == given, ATTEMPT.c.looks.is_(None))
            .values(reconcile_at=at, looks=0),
            [{"given": attempt_id, "at": at} for attempt_id, at in times.items()],
        )


def lease_reconciliations(
    conn: Connection, names: Collection[str], *, now: datetime, lease_until: datetime, limit: int
) -> list[ReconcileTicket]:
    """Issue tickets for accounts with due doubts: one per account, at most `limit` in all."""
    take_advisory_lock(conn, "release of looks")
    due: Sequence[str] = conn.execute(_ACCOUNTS_DUE, {"now": now}).scalars().all()
    if not due:
        return []
    out = set(
        conn.execute(select(ACCOUNT.c.name).where(ACCOUNT.c.look_lease_until > now)).scalars()
    )
    chosen = [name for name in due if name in names and name not in out]
    return fetch_all(
        conn,
        ReconcileTicket,
        update(ACCOUNT)
        .where(ACCOUNT.c.name.in_(chosen[: max(0, limit - len(out))]))
        .values(looks=ACCOUNT.c.looks + 1, look_lease_until=lease_until)
        .returning(
            *columns_of(ACCOUNT, ReconcileTicket, account=ACCOUNT.c.name, number=ACCOUNT.c.looks)
        ),
    )


def renew_reconciliation(
    conn: Connection, ticket: ReconcileTicket, lease_until: datetime | None
) -> bool:
    """Extend the lease on an account, or end it with None; False if a newer ticket was issued."""
    done = conn.execute(
        update(ACCOUNT)
        .where(
            ACCOUNT.c.name == ticket.account,
            ACCOUNT.c.looks == ticket.number,
            ACCOUNT.c.look_lease_until.is_not(None),
        )
        .values(look_lease_until=lease_until)
    ).rowcount
    return bool(done)


def due_doubts(conn: Connection, account: str, now: datetime) -> list[DoubtfulRequest]:
    """The account's requests that are due, oldest first, as many as one look can serve."""
    query = (
        select(*columns_of(ATTEMPT, DueDoubt))
        .where(ATTEMPT.c.account == account, _IS_DUE)
        .order_by(ATTEMPT.c.begun_at, ATTEMPT.c.id)
        .limit(_REQUESTS)
    )
    found: list[DoubtfulRequest] = []
    size = 0
    for due in fetch_all(conn, DueDoubt, query, {"now": now}):
        size += due.size
        if found and size > _RECIPIENTS:
            break
        found.append(load_doubtful(conn, due.id))
    return found


def load_doubtful(conn: Connection, attempt_id: int) -> DoubtfulRequest:
    """A request and its recipients that are in doubt now."""
    row = fetch_one(
        conn,
        DoubtfulAttempt,
        select(
            *columns_of(ATTEMPT, DoubtfulAttempt, first_seq=BATCH.c.first_seq, size=BATCH.c.size)
        )
        .join_from(ATTEMPT, BATCH, BATCH.c.id == ATTEMPT.c.batch_id)
        .where(ATTEMPT.c.id == attempt_id),
    )
    query = select(*columns_of(CAMPAIGN, CampaignRow)).where(CAMPAIGN.c.id == row.campaign_id)
    campaign = fetch_one(conn, CampaignRow, query)
    recipients = fetch_messages(
        conn,
        DoubtfulMessage,
        select(*columns_of(MESSAGE, DoubtfulMessage))
        .where(
            messages_of(row),
            MESSAGE.c.attempt_id == attempt_id,
            has_state(MessageState.IN_DOUBT),
        )
        .order_by(MESSAGE.c.seq),
    )
    return DoubtfulRequest(
        id=row.id,
        account=row.account,
        begun_at=row.begun_at,
        looks=row.looks or 0,
        campaign=campaign,
        recipients=recipients,
    )


def doubt_outlook(conn: Connection, campaign_id: int) -> DoubtOutlook:
    """Since when a campaign has recipients in doubt, and when the next is reconciled by itself."""
    query = select(
        *columns_of(
            ATTEMPT,
            DoubtOutlook,
            since=_DOUBT_SINCE,
            next_at=_NEXT_RECONCILIATION,
            looks=_LOOKS,
        )
    ).where(ATTEMPT.c.campaign_id == campaign_id, ATTEMPT.c.doubt_at.is_not(None))
    return fetch_one(conn, DoubtOutlook, query)


def campaigns_in_doubt(conn: Connection) -> list[CampaignInDoubt]:
    """Every campaign that has recipients in doubt, oldest first, whatever its state."""
    doubtful = (
        select(
            ATTEMPT.c.campaign_id,
            _DOUBT_SINCE.label("since"),
            _NEXT_RECONCILIATION.label("next_at"),
            _LOOKS.label("looks"),
        )
        .where(ATTEMPT.c.doubt_at.is_not(None))
        .group_by(ATTEMPT.c.campaign_id)
        .subquery()
    )
    count = func.sum(BATCH.c.in_doubt)
    query = (
        select(
            *columns_of(
                CAMPAIGN,
                CampaignInDoubt,
                recipients=count,
                since=doubtful.c.since,
                next_at=doubtful.c.next_at,
                looks=doubtful.c.looks,
            )
        )
        .join_from(CAMPAIGN, doubtful, doubtful.c.campaign_id == CAMPAIGN.c.id)
        .join(BATCH, BATCH.c.campaign_id == CAMPAIGN.c.id)
        .group_by(
            CAMPAIGN.c.id,
            CAMPAIGN.c.name,
            doubtful.c.since,
            doubtful.c.next_at,
            doubtful.c.looks,
        )
        .having(count > 0)
        .order_by(CAMPAIGN.c.id)
    )
    return fetch_all(conn, CampaignInDoubt, query)


def requests_in_doubt(conn: Connection, campaign_id: int) -> list[int]:
    """The campaign's requests with recipients in doubt, oldest first."""
    query = select(ATTEMPT.c.id).where(
        ATTEMPT.c.campaign_id == campaign_id, ATTEMPT.c.doubt_at.is_not(None)
    )
    return list(conn.execute(query.order_by(ATTEMPT.c.id)).scalars())

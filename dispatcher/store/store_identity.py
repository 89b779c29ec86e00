"""The store's identity: its random id, its place, its highest attempt, and why it is held.

`rollback_guard.py` compares it with what is recorded outside the store.
"""

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from weakref import WeakSet

from sqlalchemy import (
    Connection,
    Engine,
    and_,
    func,
    insert,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.exc import DBAPIError

from dispatcher.status import (
    HELD,
    UNCLAIMED,
    AttemptOutcome,
    BatchState,
    CampaignState,
    MessageState,
)
from dispatcher.store import campaigns, lost_batches
from dispatcher.store.audit import add_audit_row
from dispatcher.store.fetching import columns_of, fetch_all, fetch_one, fetch_optional
from dispatcher.store.locks import lock_campaigns
from dispatcher.store.ranges import messages_of
from dispatcher.store.row_parts import PendingCampaign
from dispatcher.store.rows import BatchRow, IdentityRow
from dispatcher.store.table_values import insert_or_ignore
from dispatcher.store.tables import ATTEMPT, BATCH, CAMPAIGN, IDENTITY, MESSAGE, SCHEDULER
from dispatcher.store.transitions import has_state, may_become

RESTORED = "the store was restored from a backup: it may have been sent since"
_OPEN = (CampaignState.SCHEDULED, CampaignState.RUNNING, CampaignState.PAUSED)
#: SQL for cluster, timeline, database and table.
_PLACE = (
    "(SELECT system_identifier FROM pg_control_system())",
    "substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)",
    "(SELECT oid FROM pg_database WHERE datname = current_database())",
    "'attempt'::regclass::oid",
)
_WHOLE_PLACE = text(f"SELECT {', '.join(_PLACE)}")
#: Engines whose server allows the whole query: it then needs no savepoint.
_locatable = WeakSet[Engine]()
#: A SQLite file's place is in its companion file, which no query can read.
_SQLITE_PLACE = "file"

_IDENTITY = select(*columns_of(IDENTITY, IdentityRow))
_HELD = select(IDENTITY.c.held)
_HIGHEST = select(func.coalesce(func.max(ATTEMPT.c.id), 0))


def load_identity(conn: Connection) -> IdentityRow | None:
    """The store's identity; None before the first campaign."""
    return fetch_optional(conn, IdentityRow, _IDENTITY)


def ensure_store_id(conn: Connection) -> None:
    """Give the store its id, before anything is claimed in it."""
    made = {"id": 1, "store_id": str(uuid.uuid4()), "attempt_id": 0, "witnessed_id": 0}
    insert_or_ignore(conn, IDENTITY, made)


def ensure_identity(conn: Connection) -> IdentityRow:
    """The store's identity; it is created, and its place recorded, where that is missing."""
    row = load_identity(conn)
    if row is not None and row.place is not None:
        return row
    if row is None:
        ensure_store_id(conn)
    update_identity(conn, place=locate_tables(conn))
    return fetch_one(conn, IdentityRow, _IDENTITY)


def update_identity(conn: Connection, **values: object) -> None:
    """Change columns of the identity."""
    conn.execute(update(IDENTITY).values(**values))


def load_hold_reason(conn: Connection) -> str | None:
    """Why nothing may be released; None while the store agrees with its witness."""
    reason: str | None = conn.execute(_HELD).scalar_one_or_none()
    return reason


def may_send(conn: Connection) -> bool:
    """Whether batches may be released and claimed here.

    The store must not be held, and must be where it was at the last tick: after a failover its
    last commits may be missing, until a tick has compared it with its witnesses.
    """
    row = load_identity(conn)
    if row is None or row.place is None:
        return True
    return row.held is None and is_same_place(row.place, locate_tables(conn))


def is_same_place(recorded: str, found: str) -> bool:
    """Whether two places are the same. A part that the server did not tell proves nothing."""
    pairs = zip(recorded.split("/"), found.split("/"), strict=False)
    return all(then == now or not then or not now for then, now in pairs)


def highest_attempt_id(conn: Connection) -> int:
    """The highest attempt id in the store now; 0 where there is none."""
    return int(conn.execute(_HIGHEST).scalar_one())


def locate_tables(conn: Connection) -> str:
    """Where the tables are.

    PostgreSQL: the cluster's identifier and timeline (a recovery or failover changes it), and the
    ids of database and table (restoring a dump changes them). A part is empty where the server
    does not allow the query.
    """
    if conn.dialect.name == "sqlite":
        return _SQLITE_PLACE
    if conn.engine in _locatable:
        row = conn.execute(_WHOLE_PLACE).one()
        return "/".join(map(str, row))
    known = _query_texts(conn, _PLACE)
    if known:
        _locatable.add(conn.engine)
    return "/".join(known or [(_query_texts(conn, [one]) or [""])[0] for one in _PLACE])


def _query_texts(conn: Connection, parts: Sequence[str]) -> list[str]:
    """The values as texts; an empty list where a hosted server refuses one of `parts`."""
    try:
        with conn.begin_nested():
            row = conn.execute(text(f"SELECT {', '.join(parts)}")).one()
    except DBAPIError:
        return []
    return [str(value) for value in row]


def has_unsent(conn: Connection) -> bool:
    """Whether an accepted campaign has messages that are pending or in doubt."""
    accepted = CAMPAIGN.c.state.not_in([CampaignState.IMPORTING, CampaignState.REJECTED])
    unsent = or_(BATCH.c.pending > 0, BATCH.c.in_doubt > 0)
    query = select(BATCH.c.id).join(CAMPAIGN, CAMPAIGN.c.id == BATCH.c.campaign_id)
    return conn.execute(query.where(accepted, unsent).limit(1)).first() is not None


def pending_by_campaign(conn: Connection, now: datetime) -> list[PendingCampaign]:
    """Id, name and pending messages of campaigns that may have sent after the backup was made.

    A campaign whose start is still in the future cannot have sent anything.
    """
    is_to_come = and_(CAMPAIGN.c.state == CampaignState.SCHEDULED, CAMPAIGN.c.start_at > now)
    query = (
        select(*columns_of(CAMPAIGN, PendingCampaign, pending=func.sum(BATCH.c.pending)))
        .join(BATCH, BATCH.c.campaign_id == CAMPAIGN.c.id)
        .where(CAMPAIGN.c.state.in_(_OPEN), or_(CAMPAIGN.c.start_at.is_(None), ~is_to_come))
        .group_by(CAMPAIGN.c.id, CAMPAIGN.c.name)
        .having(func.sum(BATCH.c.pending) > 0)
        .order_by(CAMPAIGN.c.id)
    )
    return fetch_all(conn, PendingCampaign, query)


def adopt_store(conn: Connection, *, doubt: bool, actor: str, now: datetime) -> dict[int, int]:
    """Accept this store under a new id. Return how many messages are now in doubt, by campaign.

    With `doubt`, pending messages of open campaigns become `in_doubt`, since they may have been
    sent after the backup; campaigns that start later are paused, and no doubt is resent by itself.
    New attempt ids are higher than every id that a witness has seen, so
    that a late answer to a lost attempt is not taken for the answer to a new one.
    """
    row = ensure_identity(conn)
    _skip_attempt_ids(conn, max(row.witnessed_id, row.attempt_id, highest_attempt_id(conn)))
    doubted: dict[int, int] = {}
    if doubt:
        since = conn.execute(select(SCHEDULER.c.ticked_at)).scalar_one_or_none()
        lock_campaigns(conn, or_(has_state(*_OPEN), CAMPAIGN.c.on_doubt == "resend"))
        _expire_leases(conn, now)
        _hold_doubts(conn)
        for campaign in pending_by_campaign(conn, now):
            doubted[campaign.id] = _doubt_campaign(conn, campaign.id, since, now)
            add_audit_row(
                conn,
                "campaign doubted",
                now=now,
                actor=actor,
                campaign_id=campaign.id,
                detail=RESTORED,
            )
        _pause_scheduled(conn, actor, now)
    update_identity(
        conn,
        store_id=str(uuid.uuid4()),
        place=None,
        attempt_id=highest_attempt_id(conn),
        witnessed_id=0,
        held=None,
    )
    result = f"{sum(doubted.values())} pending messages are in doubt" if doubt else "no doubt added"
    add_audit_row(
        conn,
        "store adopted",
        now=now,
        actor=actor,
        detail=f"{row.held or 'it agreed with its witness'}; {result}",
    )
    return doubted


def _skip_attempt_ids(conn: Connection, highest: int) -> None:
    if conn.dialect.name == "sqlite":
        done = conn.execute(
            text("UPDATE sqlite_sequence SET seq = max(seq, :id) WHERE name = 'attempt'"),
            {"id": highest},
        ).rowcount
        if not done:
            conn.execute(
                text("INSERT INTO sqlite_sequence (name, seq) VALUES ('attempt', :id)"),
                {"id": highest},
            )
    elif highest:
        conn.execute(
            text(
                "SELECT setval(pg_get_serial_sequence('attempt', 'id'), "
                "greatest(:id, nextval(pg_get_serial_sequence('attempt', 'id'))))"
            ),
            {"id": highest},
        )


def _expire_leases(conn: Connection, now: datetime) -> None:
    """End all leases: no worker holds a batch that was claimed when the backup was made."""
    conn.execute(
        update(BATCH).where(has_state(*HELD)).values(lease_until=now - timedelta(seconds=1))
    )
    lost_batches.release_expired_claims(conn, now)
    lost_batches.doubt_expired_submissions(conn, now)


def _doubt_campaign(
    conn: Connection, campaign_id: int, since: datetime | None, now: datetime
) -> int:
    """Add a doubtful attempt per waiting batch: reconciliation searches from its `begun_at` on."""
    created_at = conn.execute(
        select(CAMPAIGN.c.created_at).where(CAMPAIGN.c.id == campaign_id)
    ).scalar_one()
    query = select(*columns_of(BATCH, BatchRow)).where(
        BATCH.c.campaign_id == campaign_id, has_state(*UNCLAIMED), BATCH.c.pending > 0
    )
    doubted = 0
    for batch in fetch_all(conn, BatchRow, query):
        attempt_id = conn.execute(
            insert(ATTEMPT)
            .values(
                campaign_id=campaign_id,
                batch_id=batch.id,
                account=batch.account,
                fence=batch.fence,
                size=batch.pending,
                outcome=AttemptOutcome.DOUBTFUL,
                error=RESTORED,
                begun_at=since or created_at,
                deadline=now,
                ended_at=now,
                doubt_at=now,
                reconcile_at=now,
                polls=0,
            )
            .returning(ATTEMPT.c.id)
        ).scalar_one()
        moved = conn.execute(
            update(MESSAGE)
            .where(messages_of(batch), may_become(MessageState.IN_DOUBT))
            .values(state=MessageState.IN_DOUBT, attempt_id=attempt_id, error=RESTORED)
        ).rowcount
        conn.execute(
            update(BATCH)
            .where(BATCH.c.id == batch.id, may_become(BatchState.SETTLED, only_from=UNCLAIMED))
            .values(
                state=BatchState.SETTLED,
                fence=BATCH.c.fence + 1,
                pending=BATCH.c.pending - moved,
                in_doubt=BATCH.c.in_doubt + moved,
                error=RESTORED,
            )
        )
        doubted += moved
    return doubted


def _hold_doubts(conn: Connection) -> None:
    """Leave every doubt to a person: most of these messages were sent, or sent again, since.

    `resend` is meant for a lost answer. What was in flight or in doubt when the backup was made
    would be sent again by it, also in a campaign that is over.
    """
    conn.execute(update(CAMPAIGN).where(CAMPAIGN.c.on_doubt == "resend").values(on_doubt="hold"))


def _pause_scheduled(conn: Connection, actor: str, now: datetime) -> None:
    """Pause campaigns whose start is to come: it may have been set earlier since, and sent."""
    query = select(CAMPAIGN.c.id).where(
        has_state(CampaignState.SCHEDULED), CAMPAIGN.c.start_at > now
    )
    for campaign_id in sorted(conn.execute(query).scalars()):
        campaigns.change_state(
            conn,
            campaign_id,
            [CampaignState.SCHEDULED],
            CampaignState.PAUSED,
            actor=actor,
            reason=RESTORED,
            now=now,
        )

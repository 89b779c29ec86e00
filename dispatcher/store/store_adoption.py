"""Adopt a store that was restored from a backup: a new identity, and doubt where needed."""

import uuid
from datetime import datetime, timedelta

from sqlalchemy import (
    Connection,
    and_,
    func,
    insert,
    or_,
    select,
    text,
    update,
)

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
from dispatcher.store.fetching import columns_of, fetch_all
from dispatcher.store.locks import lock_campaigns
from dispatcher.store.ranges import messages_of
from dispatcher.store.row_parts import PendingCampaign
from dispatcher.store.rows import BatchRow
from dispatcher.store.store_identity import (
    ensure_identity,
    highest_attempt_id,
    update_identity,
)
from dispatcher.store.tables import ATTEMPT, BATCH, CAMPAIGN, MESSAGE, SCHEDULER
from dispatcher.store.transitions import has_state, may_become

RESTORED = "the store was restored from a backup: it may have been sent since"


_OPEN = (CampaignState.SCHEDULED, CampaignState.RUNNING, CampaignState.PAUSED)


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

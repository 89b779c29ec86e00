"""Change the rate, windows, priority or times of a campaign that exists."""

from datetime import datetime, timedelta
from typing import TypedDict

from sqlalchemy import (
    Connection,
    select,
    update,
)

from dispatcher.status import AttemptOutcome, BatchState
from dispatcher.store.audit import add_audit_row
from dispatcher.store.fetching import columns_of, fetch_optional
from dispatcher.store.locks import lock_campaign
from dispatcher.store.row_parts import OpenAttempt
from dispatcher.store.rows import CampaignRow
from dispatcher.store.tables import ATTEMPT, BATCH, CAMPAIGN
from dispatcher.store.transitions import has_state


class ChangedSettings(TypedDict, total=False):
    """Columns of a campaign that a person may change, with their new values."""

    rate: float | None
    priority: int
    start_at: datetime | None
    expire_at: datetime | None
    schedule: str | None


def change_settings(
    conn: Connection,
    campaign_id: int,
    values: ChangedSettings,
    *,
    deadline_after: timedelta,
    actor: str,
    now: datetime,
) -> None:
    """Change a campaign's rate, windows, priority or times, with an audit row.

    Messages that were reserved at the old rate and have not left yet are counted at the new rate,
    from the last planned start of a request on. An attempt's deadline is `deadline_after` later
    than its start.
    """
    detail = ", ".join(f"{name} = {value}" for name, value in values.items())
    columns: dict[str, object] = {**values}
    if "rate" in values:
        rate = values["rate"]
        paid_until = _paid_until_at_rate(lock_campaign(conn, campaign_id), rate, now)
        last = _last_open_attempt(conn, campaign_id)
        if rate is not None and paid_until is not None and last is not None:
            paid_for = timedelta(seconds=last.size / rate)
            paid_until = max(paid_until, last.deadline - deadline_after + paid_for)
        columns["paid_until"] = paid_until
    conn.execute(update(CAMPAIGN).where(CAMPAIGN.c.id == campaign_id).values(columns))
    # It may be sent earlier now, so it is checked at its provider at once.
    conn.execute(
        update(CAMPAIGN)
        .where(CAMPAIGN.c.id == campaign_id, CAMPAIGN.c.recheck_at > now)
        .values(recheck_at=now)
    )
    if "rate" in values:
        # A batch that was handed back until its start at the old rate; a failed one keeps its wait.
        waits_for_rate = has_state(BatchState.PENDING) & BATCH.c.error.is_(None)
        conn.execute(
            update(BATCH)
            .where(BATCH.c.campaign_id == campaign_id, waits_for_rate)
            .values(not_before=None)
        )
    add_audit_row(
        conn, "campaign set", now=now, actor=actor, campaign_id=campaign_id, detail=detail
    )


def _paid_until_at_rate(
    campaign: CampaignRow, rate: float | None, now: datetime
) -> datetime | None:
    """Until when the campaign's rate is used up after it becomes `rate`."""
    if rate is None or campaign.rate is None or campaign.paid_until is None:
        return None
    left = max(timedelta(), campaign.paid_until - now)
    return now + left * (campaign.rate / rate)


def _last_open_attempt(conn: Connection, campaign_id: int) -> OpenAttempt | None:
    """Of the attempts that have begun and have no answer, the one that starts last."""
    query = (
        select(*columns_of(ATTEMPT, OpenAttempt))
        .join(BATCH, ATTEMPT.c.batch_id == BATCH.c.id)
        .where(
            BATCH.c.campaign_id == campaign_id,
            has_state(BatchState.SUBMITTING),
            has_state(AttemptOutcome.OPEN),
        )
        .order_by(ATTEMPT.c.deadline.desc())
        .limit(1)
    )
    return fetch_optional(conn, OpenAttempt, query)

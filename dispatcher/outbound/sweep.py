"""The sweep: what crashes, lost messages and lost workers left behind is put right."""

from datetime import datetime, timedelta

from sqlalchemy import Connection

from dispatcher.store import batches, scheduler
from dispatcher.store.batches import Ticket


def sweep_batches(
    conn: Connection, *, now: datetime, judge_after: datetime, requeue_after_s: float
) -> list[Ticket]:
    """Judge leases that ran out (not before `judge_after`) and find queued work nobody claimed.

    Every correction is counted. The tickets are to be published again after the commit.
    """
    made: dict[str, int] = {}
    if now >= judge_after:
        made["lease of a claimed batch ran out"] = batches.release_expired_claims(conn, now)
        made["lease of a submitting batch ran out"] = batches.doubt_expired_submissions(conn, now)
    unclaimed = batches.reissue_tickets(conn, now - timedelta(seconds=requeue_after_s), now)
    made["queued batch was not claimed"] = len(unclaimed)
    scheduler.count_corrections(conn, made)
    return unclaimed

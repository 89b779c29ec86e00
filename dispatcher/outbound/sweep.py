"""The sweep: repairs what crashes, lost messages and lost workers left behind."""

from datetime import datetime, timedelta

from sqlalchemy import Connection

from dispatcher.store import healing, lost_batches, tickets
from dispatcher.store.corrections import Correction, count_corrections
from dispatcher.store.tickets import Ticket


def sweep_batches(
    conn: Connection, *, now: datetime, judge_after: datetime, requeue_after_s: float
) -> list[Ticket]:
    """End leases that ran out, and queue batches again that nobody has claimed.

    Leases are judged from `judge_after` on only. Every correction is counted. Publish the returned
    tickets after the commit.
    """
    made: dict[Correction, int] = {}
    if now >= judge_after:
        made[Correction.CLAIM_LEASE_EXPIRED] = lost_batches.release_expired_claims(conn, now)
        doubted = lost_batches.doubt_expired_submissions(conn, now)
        made[Correction.SUBMISSION_LEASE_EXPIRED] = doubted
    made[Correction.WORK_AFTER_END] = healing.heal_ended_campaigns(conn, now)
    unclaimed = tickets.reissue_tickets(conn, now - timedelta(seconds=requeue_after_s), now)
    made[Correction.BATCH_NOT_CLAIMED] = len(unclaimed)
    count_corrections(conn, made)
    return unclaimed

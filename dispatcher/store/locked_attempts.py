"""A request in doubt, locked with its batch and campaign for a decision."""

from dataclasses import dataclass

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    select,
)

from dispatcher.status import HELD, CampaignState, MessageState
from dispatcher.store.fetching import columns_of, fetch_one
from dispatcher.store.locks import lock_batch, lock_campaign
from dispatcher.store.ranges import messages_of
from dispatcher.store.rows import AttemptRow, BatchRow, CampaignRow
from dispatcher.store.tables import ATTEMPT, MESSAGE
from dispatcher.store.transitions import has_state, may_become


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedAttempt:
    """A request in doubt, with its batch and campaign, locked until the transaction ends."""

    attempt: AttemptRow
    batch: BatchRow
    campaign: CampaignRow

    @property
    def is_at_provider(self) -> bool:
        """Whether a worker holds the batch, so that no message can return to it now."""
        return self.batch.state in HELD

    @property
    def is_cancelled(self) -> bool:
        """Whether a person cancelled the campaign: nothing of it is submitted again."""
        return bool(self.campaign.state == CampaignState.CANCELLED)

    @property
    def carried(self) -> ColumnElement[bool]:
        """The condition that selects the messages whose latest request this is."""
        return and_(messages_of(self.batch), MESSAGE.c.attempt_id == self.attempt.id)

    @property
    def doubtful(self) -> ColumnElement[bool]:
        """The condition that selects its messages in doubt."""
        return and_(self.carried, has_state(MessageState.IN_DOUBT))

    def leaving_doubt(self, new: MessageState) -> ColumnElement[bool]:
        """The condition of an UPDATE that puts its messages in doubt into the state `new`."""
        return and_(self.carried, may_become(new, only_from={MessageState.IN_DOUBT}))

    @property
    def name(self) -> str:
        """Its name in messages and audit rows."""
        return f"request {self.attempt.id}"

    @property
    def is_polled(self) -> bool:
        """Whether the request is still polled."""
        return self.attempt.poll_at is not None


def lock_attempt(conn: Connection, attempt_id: int) -> LockedAttempt:
    """Lock a request's campaign and batch, in that order."""
    ids = conn.execute(
        select(ATTEMPT.c.campaign_id, ATTEMPT.c.batch_id).where(ATTEMPT.c.id == attempt_id)
    ).one()
    campaign = lock_campaign(conn, ids.campaign_id)
    batch = lock_batch(conn, ids.batch_id)
    query = select(*columns_of(ATTEMPT, AttemptRow)).where(ATTEMPT.c.id == attempt_id)
    attempt = fetch_one(conn, AttemptRow, query)
    return LockedAttempt(attempt=attempt, batch=batch, campaign=campaign)

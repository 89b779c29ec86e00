"""What single queries select: parts of rows, joined columns and sums."""

from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from dispatcher.store.rows import CampaignRow


class OpenAttempt(NamedTuple):
    """A request that has begun and has no answer yet."""

    deadline: datetime
    size: int


class NextBatch(NamedTuple):
    """The pending batch of a campaign that may be released first: since or from when, and why."""

    not_before: datetime | None
    error: str | None


class StateCount(NamedTuple):
    """How many batches are in a state."""

    state: int
    n: int


class PollTimes(NamedTuple):
    """How many requests of a campaign are polled, and when the next one is."""

    n: int
    next_at: datetime | None


class AbandonedImport(NamedTuple):
    """A campaign whose import ended before it was accepted."""

    id: int
    source_name: str


class OpenWork(NamedTuple):
    """What a campaign has yet to send in one time zone."""

    campaign: CampaignRow
    zone: str | None
    messages: int
    parts: int
    requests: int


class FallbackSwitch(NamedTuple):
    """When a campaign was switched to another account, and why."""

    at: datetime
    account: str
    detail: str


class InFlightBatch(NamedTuple):
    """What a batch that holds slots of its account has yet to send."""

    campaign_id: int
    state: int
    pending: int
    requests: int
    parts: int
    bundle: str | None


class BatchSpan(NamedTuple):
    """A batch's messages: `size` of them from `first_seq` on."""

    encoding: int
    zone: str | None
    first_seq: int
    size: int
    account: str


class PolledAttempt(NamedTuple):
    """An accepted request and its batch's messages."""

    id: int
    polls: int
    batch_id: int
    campaign_id: int
    account: str
    job_id: str | None
    begun_at: datetime
    poll_until: datetime
    first_seq: int
    size: int


class PollState(NamedTuple):
    """Whether a request is polled, and whether somebody polls it now."""

    polls: int
    poll_at: datetime | None
    poll_lease_until: datetime | None


class PollsInFlight(NamedTuple):
    """How many requests of an account are being polled."""

    account: str
    n: int


class DuePoll(NamedTuple):
    """A request whose poll is due."""

    id: int
    account: str
    poll_lease_until: datetime | None


class DoubtfulAttempt(NamedTuple):
    """A request with recipients in doubt, and its batch's messages."""

    id: int
    campaign_id: int
    account: str
    begun_at: datetime
    looks: int | None
    first_seq: int
    size: int


class UnscheduledDoubt(NamedTuple):
    """A request in doubt whose reconciliation is not planned yet, and its campaign's rules."""

    id: int
    account: str
    deadline: datetime
    on_doubt: str
    schedule_at: datetime | None
    contact_lists: str | None


class DoubtOutlook(NamedTuple):
    """Since when recipients of a campaign are in doubt, and when that is reconciled.

    `looks`: how many looks into that counted so far.
    """

    since: datetime | None
    next_at: datetime | None
    looks: int | None


class CampaignInDoubt(NamedTuple):
    """A campaign with recipients in doubt: how many, since when, and when some are reconciled.

    `looks`: how many looks into that counted so far.
    """

    id: int
    name: str
    recipients: int
    since: datetime | None
    next_at: datetime | None
    looks: int | None


class DueDoubt(NamedTuple):
    """A request whose reconciliation is due."""

    id: int
    size: int


class CancelledAttempt(NamedTuple):
    """A request that was not sent after all."""

    id: int
    size: int
    begun_at: datetime


class PendingMessage(NamedTuple):
    """A message to submit; `variables` is a JSON array."""

    seq: int
    msisdn: int
    parts: int
    variables: str | None


class WaitingRow(NamedTuple):
    """A pending message that moves to another account."""

    seq: int
    msisdn: int
    variables: str | None
    parts: int


class DoubtfulMessage(NamedTuple):
    """A message in doubt."""

    seq: int
    msisdn: int
    parts: int
    variables: str | None
    note: int | None


class SubmittedMessage(NamedTuple):
    """A message and the provider id in the answer to its latest attempt."""

    seq: int
    msisdn: int
    provider_message_id: str | None


class AnsweredMessage(NamedTuple):
    """A message with a provider id, and when the answer with that id came."""

    provider_message_id: str
    note: int | None
    ended_at: datetime


class OtherMessage(NamedTuple):
    """A message that was sent to a number by another request."""

    msisdn: int
    state: int
    provider_message_id: str | None
    note: int | None
    outcome: int
    begun_at: datetime


class ExportedMessage(NamedTuple):
    """A message with its latest attempt, whose columns are NULL where it has none."""

    seq: int
    row: int
    msisdn: int
    parts: int
    state: int
    attempts: int
    final_at: datetime | None
    cost: Decimal | None
    provider_message_id: str | None
    error_code: str | None
    error: str | None
    job_id: str | None
    account: str | None
    begun_at: datetime | None


class TickTimes(NamedTuple):
    """When the last tick was, and before when no lease is judged."""

    ticked_at: datetime | None
    judge_after: datetime | None


class PendingCampaign(NamedTuple):
    """A campaign that may have been sent after a backup was made."""

    id: int
    name: str
    pending: int

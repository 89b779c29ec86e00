"""The states of campaigns, batches, messages and attempts, and which state may follow which.

One table each. The store's statements take from them which rows they may change
(`store/transitions.py`); nothing else decides what may follow what.
"""

from collections.abc import Mapping
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Final, TypeVar, cast


class CampaignState(StrEnum):
    """Life of a campaign."""

    #: Its file is being read; it sends nothing.
    IMPORTING = "importing"
    #: Accepted; it waits for its start.
    SCHEDULED = "scheduled"
    #: Batches are released.
    RUNNING = "running"
    #: Paused by a person, or because the provider refused its sender, template or text.
    PAUSED = "paused"
    #: Nothing of it is pending, in flight or polled.
    FINISHED = "finished"
    #: Ended by a person; batches in flight are settled normally.
    CANCELLED = "cancelled"
    #: Nothing in its file can be sent.
    REJECTED = "rejected"


class BatchState(IntEnum):
    """Life of a batch: the unit of release, claim and settlement."""

    #: Its pending messages wait for release.
    PENDING = 0
    #: Its id was handed to the account's queue.
    QUEUED = 1
    #: A worker holds it; no request was begun yet.
    CLAIMED = 2
    #: The attempt is recorded; requests may have left.
    SUBMITTING = 3
    #: Every message has an answer, or is in doubt.
    SETTLED = 4
    #: Cancelled by a person before it was attempted.
    CANCELLED = 5
    #: Its pending messages moved to a fallback account.
    REPLACED = 6

    @property
    def label(self) -> str:
        """The state's public name, as JSON has it."""
        return self.name.lower()


class MessageState(IntEnum):
    """Life of one recipient's message."""

    #: Not submitted yet.
    PENDING = 0
    #: Accepted by the provider.
    SUBMITTED = 1
    #: A receipt says that it reached the handset.
    DELIVERED = 2
    #: A receipt says that it did not reach the handset.
    UNDELIVERED = 3
    #: Its validity period ended before it reached the handset.
    EXPIRED = 4
    #: The provider refused this recipient.
    REJECTED = 5
    #: Never accepted; its attempts are used up.
    FAILED = 6
    #: May have been accepted; never sent again automatically.
    IN_DOUBT = 7
    #: Its number was on the suppression list when the batch began.
    SUPPRESSED = 8
    #: Its campaign was cancelled, or a person dropped it, before it was submitted.
    CANCELLED = 9
    #: Its campaign expired before it was submitted.
    LAPSED = 10

    @property
    def label(self) -> str:
        """The state's public name, as JSON and the export have it."""
        return self.name.lower()


class RejectKind(IntEnum):
    """Why a row of the file has no message."""

    #: It has no usable number, or its text cannot be made.
    INVALID = 0
    #: An earlier row has the same number.
    DUPLICATE = 1
    #: The number is on the suppression list.
    SUPPRESSED = 2

    @property
    def label(self) -> str:
        """The public name, as JSON and the export have it."""
        return self.name.lower()


class AttemptOutcome(IntEnum):
    """The outcome of one request to a provider."""

    #: Recorded before the first byte; no answer stored yet.
    OPEN = 0
    #: An answer with results for recipients.
    ANSWERED = 1
    #: Surely not accepted: it is retried, or final for its recipients.
    REFUSED = 2
    #: The provider may have accepted it.
    DOUBTFUL = 3
    #: Withdrawn before its first byte.
    NOT_SENT = 4

    @property
    def label(self) -> str:
        """The public name."""
        return self.name.lower()


class Kind(StrEnum):
    """The kind of a campaign by law and contract; some providers route by it."""

    TRANSACTIONAL = "transactional"
    PROMOTIONAL = "promotional"
    OTP = "otp"


class Encoding(IntEnum):
    """The alphabet in which a text is sent (3GPP TS 23.038)."""

    GSM7 = 0
    UCS2 = 1

    @property
    def label(self) -> str:
        """The name people know."""
        return "GSM-7" if self is Encoding.GSM7 else "UCS-2"


_C = CampaignState
CAMPAIGN_TRANSITIONS: Final = MappingProxyType(
    {
        # Cancelled: a person has discarded one that was broken off.
        _C.IMPORTING: frozenset({_C.SCHEDULED, _C.REJECTED, _C.CANCELLED}),
        _C.SCHEDULED: frozenset({_C.RUNNING, _C.PAUSED, _C.CANCELLED}),
        _C.RUNNING: frozenset({_C.PAUSED, _C.FINISHED, _C.CANCELLED}),
        # Scheduled: resumed, and started by the next tick. Finished: what was left has lapsed.
        _C.PAUSED: frozenset({_C.SCHEDULED, _C.CANCELLED, _C.FINISHED}),
        # Failed messages are tried again, or a doubt ended with messages to be submitted again.
        _C.FINISHED: frozenset({_C.SCHEDULED}),
        _C.CANCELLED: frozenset[CampaignState](),
        _C.REJECTED: frozenset[CampaignState](),
    }
)

_B = BatchState
BATCH_TRANSITIONS: Final = MappingProxyType(
    {
        # Settled without a request: its messages lapsed, failed when they moved to a fallback
        # account, or are in doubt because the store was restored from a backup.
        _B.PENDING: frozenset({_B.QUEUED, _B.CANCELLED, _B.REPLACED, _B.SETTLED}),
        _B.QUEUED: frozenset({_B.CLAIMED, _B.PENDING, _B.CANCELLED, _B.REPLACED, _B.SETTLED}),
        _B.CLAIMED: frozenset({_B.SUBMITTING, _B.PENDING, _B.SETTLED, _B.CANCELLED}),
        _B.SUBMITTING: frozenset({_B.PENDING, _B.SETTLED, _B.CANCELLED}),
        # A person's decision on doubt, a retry, or a proof of absence gives it messages again.
        _B.SETTLED: frozenset({_B.PENDING}),
        _B.CANCELLED: frozenset[BatchState](),
        _B.REPLACED: frozenset[BatchState](),
    }
)

_M = MessageState
MESSAGE_TRANSITIONS: Final = MappingProxyType(
    {
        _M.PENDING: frozenset(
            {
                _M.SUBMITTED,
                _M.REJECTED,
                _M.FAILED,
                _M.IN_DOUBT,
                _M.SUPPRESSED,
                _M.CANCELLED,
                _M.LAPSED,
            }
        ),
        _M.SUBMITTED: frozenset({_M.DELIVERED, _M.UNDELIVERED, _M.EXPIRED}),
        # Cancelled: proved absent, or given up by a person, after the campaign's end.
        _M.IN_DOUBT: frozenset({_M.SUBMITTED, _M.PENDING, _M.FAILED, _M.CANCELLED}),
        _M.DELIVERED: frozenset[MessageState](),
        # Pending: a person's `campaign retry`; never one that was in doubt and given up.
        _M.UNDELIVERED: frozenset({_M.PENDING}),
        _M.EXPIRED: frozenset({_M.PENDING}),
        _M.REJECTED: frozenset({_M.PENDING}),
        # Submitted: a late answer says that it was accepted.
        _M.FAILED: frozenset({_M.PENDING, _M.SUBMITTED}),
        _M.SUPPRESSED: frozenset[MessageState](),
        _M.CANCELLED: frozenset[MessageState](),
        _M.LAPSED: frozenset[MessageState](),
    }
)

_A = AttemptOutcome
ATTEMPT_TRANSITIONS: Final = MappingProxyType(
    {
        _A.OPEN: frozenset({_A.ANSWERED, _A.REFUSED, _A.DOUBTFUL, _A.NOT_SENT}),
        # A late acceptance, or the word of the worker that no byte has left.
        _A.DOUBTFUL: frozenset({_A.ANSWERED, _A.NOT_SENT}),
        _A.ANSWERED: frozenset[AttemptOutcome](),
        _A.REFUSED: frozenset[AttemptOutcome](),
        _A.NOT_SENT: frozenset[AttemptOutcome](),
    }
)

#: Batches that occupy one of their account's `max_in_flight` slots.
IN_FLIGHT: Final = frozenset({_B.QUEUED, _B.CLAIMED, _B.SUBMITTING})
#: Batches that no worker holds: people and rules may change them.
UNCLAIMED: Final = frozenset({_B.PENDING, _B.QUEUED})
#: Batches that a worker holds under a lease.
HELD: Final = frozenset({_B.CLAIMED, _B.SUBMITTING})
#: Messages that a provider accepted, whatever came of them.
ACCEPTED: Final = frozenset({_M.SUBMITTED}) | MESSAGE_TRANSITIONS[_M.SUBMITTED]
#: Messages that will not be sent: no provider took them.
NOT_SUBMITTED: Final = frozenset(_M) - ACCEPTED - {_M.PENDING, _M.IN_DOUBT}

_TABLES: Final[Mapping[type[object], object]] = {
    CampaignState: CAMPAIGN_TRANSITIONS,
    BatchState: BATCH_TRANSITIONS,
    MessageState: MESSAGE_TRANSITIONS,
    AttemptOutcome: ATTEMPT_TRANSITIONS,
}
State = TypeVar("State", CampaignState, BatchState, MessageState, AttemptOutcome)


def transitions_of(state: State) -> Mapping[State, frozenset[State]]:
    """The table of the kind of `state`: what may follow each of its states."""
    return cast("Mapping[State, frozenset[State]]", _TABLES[type(state)])


def may_follow(old: State, new: State) -> bool:
    """Whether what is in state `old` may be put into state `new`."""
    return new in transitions_of(old)[old]


def predecessors(new: State) -> frozenset[State]:
    """The states that may be followed by `new`: what the store compares before it sets `new`."""
    return frozenset(old for old, allowed in transitions_of(new).items() if new in allowed)

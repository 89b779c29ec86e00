"""Who did not get a campaign's message, by reason: what it means, and what to do."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dispatcher.policy.failure_reasons import (
    Explanation,
    explain_reason,
    matches_reason,
    reason_words,
)
from dispatcher.status import MessageState
from dispatcher.store.engine import Store
from dispatcher.store.failures import count_failures
from dispatcher.store.rows import CampaignRow

#: Reasons that are counted apart: a provider may have a text of its own for every recipient.
_MOST: Final = 1000
_OTHER: Final = "other reasons"

#: What the words of an account's provider mean: account → words → explanation.
ReasonsOf = Callable[[str], Mapping[str, Explanation]]


@dataclass(slots=True, kw_only=True)
class FailureGroup:
    """Recipients of one state, account and reason.

    `retryable` of them may be submitted again, in `parts` parts; the others were in doubt before.
    `example` is the number of one of them.
    """

    state: MessageState
    account: str
    reason: str
    explanation: Explanation
    example: int
    recipients: int = 0
    retryable: int = 0
    parts: int = 0


def group_failures(
    store: Store,
    campaigns: Sequence[CampaignRow],
    reasons_of: ReasonsOf,
    *,
    states: Collection[MessageState] = (),
    reasons: Collection[str] = (),
) -> list[FailureGroup]:
    """The failures of campaigns by reason, the most frequent first.

    Only those in one of `states` and with one of `reasons` (`matches_reason`), where given.
    """
    groups: dict[tuple[int, str, str], FailureGroup] = {}
    for row in count_failures(store, [campaign.id for campaign in campaigns]):
        if states and row.state not in states:
            continue
        if reasons and not matches_reason(reasons, row.error_code, row.error):
            continue
        state, account = MessageState(row.state), row.account or campaigns[0].account
        reason = reason_words(row.error_code, row.error)
        if len(groups) >= _MOST and (state, account, reason) not in groups:
            reason = _OTHER
        group = groups.get((state, account, reason))
        if group is None:
            own = reasons_of(account)
            group = groups[state, account, reason] = FailureGroup(
                state=state,
                account=account,
                reason=reason,
                explanation=explain_reason(state, row.error_code, row.error, own),
                example=row.example,
            )
        group.recipients += row.n
        group.retryable += row.retryable
        group.parts += row.parts
    return sorted(groups.values(), key=lambda one: (-one.recipients, one.state, one.reason))


def count_by_state(groups: Sequence[FailureGroup]) -> Iterator[tuple[MessageState, int]]:
    """How many recipients of each state may be submitted again; states without any are left out."""
    for state in MessageState:
        count = sum(group.retryable for group in groups if group.state is state)
        if count:
            yield state, count

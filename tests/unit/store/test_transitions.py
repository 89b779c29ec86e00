"""Conditions of UPDATE statements, as the tables of `status.py` have them."""

import pytest

from dispatcher.status import HELD, AttemptOutcome, BatchState, CampaignState, MessageState
from dispatcher.store.transitions import has_state, may_become


@pytest.mark.parametrize(
    ("condition", "sql"),
    [
        (may_become(BatchState.SUBMITTING), "batch.state = 2"),
        (may_become(BatchState.CLAIMED), "batch.state = 1"),
        (may_become(BatchState.CANCELLED), "batch.state IN (0, 1, 2, 3)"),
        (may_become(BatchState.SETTLED, only_from=HELD), "batch.state IN (2, 3)"),
        (may_become(MessageState.LAPSED), "message.state = 0"),
        (may_become(MessageState.SUBMITTED), "message.state IN (0, 6, 7)"),
        (may_become(AttemptOutcome.DOUBTFUL), "attempt.outcome = 0"),
        (may_become(CampaignState.PAUSED), "campaign.state IN ('running', 'scheduled')"),
        (has_state(CampaignState.RUNNING), "campaign.state = 'running'"),
        (has_state(BatchState.QUEUED, BatchState.PENDING), "batch.state IN (0, 1)"),
    ],
    ids=str,
)
def test_a_condition_names_the_states_that_may_come_before(condition, sql):
    assert str(condition) == sql


def test_a_row_may_keep_its_state():
    kept = may_become(BatchState.PENDING, only_from={BatchState.PENDING, BatchState.QUEUED})
    assert str(kept) == "batch.state IN (0, 1)"


@pytest.mark.parametrize(
    ("new", "only_from", "message"),
    [
        (MessageState.PENDING, {MessageState.SUBMITTED}, "PENDING may not follow SUBMITTED"),
        (BatchState.CLAIMED, {BatchState.SETTLED}, "CLAIMED may not follow SETTLED"),
        (CampaignState.RUNNING, {CampaignState.CANCELLED}, "RUNNING may not follow CANCELLED"),
        (AttemptOutcome.ANSWERED, {AttemptOutcome.REFUSED}, "ANSWERED may not follow REFUSED"),
        (AttemptOutcome.OPEN, (), "OPEN may follow no state"),
    ],
)
def test_a_statement_for_a_forbidden_change_cannot_be_made(new, only_from, message):
    with pytest.raises(ValueError, match=message):
        may_become(new, only_from=only_from)

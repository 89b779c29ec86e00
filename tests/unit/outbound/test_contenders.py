"""What a campaign brings to the fair queue: its turn, and its own rate with what is on its way."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from dispatcher.outbound.release import _make_contender
from dispatcher.policy.fair_queue import Unit
from dispatcher.status import BatchState
from dispatcher.store.row_parts import InFlightBatch
from tests.support.stores import settings

NOW = datetime(2030, 5, 6, 12, tzinfo=UTC)
MINE, OTHER = 7, 8


def contend(out=(), *, rate=10.0, paid_s=0, turn=5, account_turn=0):
    until = None if paid_s is None else NOW + timedelta(seconds=paid_s)
    campaign = SimpleNamespace(
        id=MINE, rate=rate, paid_until=until, turn=turn, priority=3, one_off=False, kind="bulk"
    )
    account = SimpleNamespace(turn=account_turn)
    return _make_contender(account, campaign, settings(max_recipients=1000), out, NOW)


def on_its_way(campaign_id, state):
    """A batch of 4 messages in 9 parts."""
    return InFlightBatch(campaign_id, state, pending=4, requests=1, parts=9, bundle=None)


@pytest.mark.parametrize(
    ("out", "ahead_s"),
    [
        ([], 0.0),
        ([on_its_way(MINE, BatchState.QUEUED)], 0.4),
        ([on_its_way(MINE, BatchState.CLAIMED)], 0.4),
        ([on_its_way(MINE, BatchState.SUBMITTING)], 0.0),  # it has paid
        ([on_its_way(OTHER, BatchState.QUEUED)], 0.0),
        ([on_its_way(OTHER, BatchState.SUBMITTING)], 0.0),
        ([on_its_way(MINE, BatchState.QUEUED), on_its_way(OTHER, BatchState.QUEUED)], 0.4),
    ],
)
def test_what_is_released_and_has_not_paid_uses_up_the_campaigns_rate(out, ahead_s):
    usage = contend(out).own_rate
    assert (usage.unit, usage.ahead_s) == (Unit.MESSAGES, pytest.approx(ahead_s))


def test_a_campaign_without_a_rate_of_its_own_uses_none_up():
    assert contend([on_its_way(MINE, BatchState.QUEUED)], rate=None).own_rate is None


def test_what_is_paid_ahead_uses_up_the_campaigns_rate():
    assert contend(paid_s=3).own_rate.ahead_s == pytest.approx(3)


@pytest.mark.parametrize(("turn", "account_turn", "time"), [(5, 0, 5), (5, 9, 9)])
def test_a_campaign_does_not_catch_up_on_what_others_sent(turn, account_turn, time):
    assert contend(turn=turn, account_turn=account_turn).virtual_time == time

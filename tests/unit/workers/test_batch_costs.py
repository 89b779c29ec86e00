"""What the requests of a batch pay of each rate: the dearest decides."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from dispatcher.outbound.rates import _MOST_RECIPIENTS, _most_recipients, own_rate_wait, rate_wait
from dispatcher.policy.fair_queue import SHORT_WAIT_S
from dispatcher.providers.shared.settings import ProviderSettings
from workers.batch.begin import numbers_within_the_day
from workers.batch.rates import BatchCosts


def rate(*, is_campaigns=False, paid_s=0.0):
    return SimpleNamespace(is_campaigns=is_campaigns, paid_s=lambda _locked, _now: paid_s)


@pytest.mark.parametrize(
    ("rates", "spacings", "all_s", "account_s"),
    [
        ([], [], 0.0, 0.0),
        ([rate()], [0.2], 0.2, 0.2),
        ([rate(), rate()], [0.2, 0.5], 0.5, 0.5),
        ([rate(), rate(is_campaigns=True)], [0.2, 0.5], 0.5, 0.2),
        ([rate(is_campaigns=True)], [0.5], 0.5, 0.0),
    ],
)
def test_the_dearest_rate_is_waited_for(rates, spacings, all_s, account_s):
    costs = BatchCosts(rates=rates, spacings=[[9.0] * len(rates), spacings])
    assert (costs.interval_s(1), costs.account_interval_s(1)) == (all_s, account_s)


@pytest.mark.parametrize(
    ("rates", "seconds"),
    [
        ([], 0.0),
        ([rate(paid_s=-1.0)], -1.0),
        ([rate(paid_s=2.0), rate(paid_s=3.0)], 3.0),
        ([rate(paid_s=2.0), rate(paid_s=3.0, is_campaigns=True)], 2.0),
    ],
)
def test_the_accounts_rates_are_used_up_as_long_as_the_longest_of_them(rates, seconds):
    assert BatchCosts(rates=rates, spacings=[]).account_paid_s(None, None) == seconds


@pytest.mark.parametrize(
    ("own", "documented", "most"), [(7, 5, 7), (None, 5, 5), (None, None, _MOST_RECIPIENTS)]
)
def test_the_recipients_of_a_request_are_the_settings_the_documents_or_a_guess(
    own, documented, most
):
    settings = SimpleNamespace(max_recipients=own, documented_max_recipients=documented)
    assert _most_recipients(settings) == most


@pytest.mark.parametrize(
    ("limit", "account", "count"),
    [
        (None, SimpleNamespace(day_count=0, day_until=None), 3),
        (9, None, 3),
    ],
)
def test_without_a_daily_limit_all_requests_may_begin(limit, account, count):
    batch = SimpleNamespace(provider=SimpleNamespace(settings=SimpleNamespace(daily_limit=limit)))
    numbers = [*range(3)]
    assert len(numbers_within_the_day(batch, numbers, account, None)) == count


SHARED = ProviderSettings(
    provider="fake", base_url="http://127.0.0.1:9", max_recipients=1000, messages_per_second=10
)
NOW = datetime(2030, 5, 6, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("rate", "paid_s", "words"),
    [
        (None, 60, None),
        (10.0, None, None),
        (10.0, SHORT_WAIT_S, None),  # a moment is not worth a word
        (10.0, 60, "its own rate, used up until 2030-05-06 12:01:00 UTC"),
    ],
)
def test_what_a_campaigns_own_rate_waits_for_is_said(rate, paid_s, words):
    until = None if paid_s is None else NOW + timedelta(seconds=paid_s)
    campaign = SimpleNamespace(rate=rate, paid_until=until)
    assert own_rate_wait(SHARED, campaign, NOW) == words


def test_an_account_that_is_not_known_waits_for_no_rate():
    assert rate_wait(SHARED, None, NOW) is None


@pytest.mark.parametrize(("paid_s", "is_said"), [(None, False), (SHORT_WAIT_S, False), (60, True)])
def test_what_an_accounts_rate_waits_for_is_said(paid_s, is_said):
    until = None if paid_s is None else NOW + timedelta(seconds=paid_s)
    account = SimpleNamespace(paid_until=lambda _unit: until)
    words = "its rate, used up until 2030-05-06 12:01:00 UTC"
    assert rate_wait(SHARED, account, NOW) == (words if is_said else None)

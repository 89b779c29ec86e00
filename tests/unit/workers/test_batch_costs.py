"""What the requests of a batch pay of each rate: the dearest decides."""

from types import SimpleNamespace

import pytest

from dispatcher.outbound.rates import _MOST_RECIPIENTS, _most_recipients
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

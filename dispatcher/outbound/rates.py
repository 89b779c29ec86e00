"""The rates of an account, and how far into the future the store has them paid."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from dispatcher.policy.batching import REQUEST_S
from dispatcher.policy.fair_queue import SHORT_WAIT_S, Unit
from dispatcher.policy.pacing import FIRST_BYTE_S, MOST_LEAD_S
from dispatcher.providers.shared.settings import ProviderSettings
from dispatcher.store.rows import AccountRow, CampaignRow

#: Recipients of a request where neither the configuration nor the provider's document has a limit.
_MOST_RECIPIENTS = 2000
#: Parts of a text where neither the provider nor the configuration names a limit.
_MOST_PARTS = 255
#: How far ahead the last start may be that was given, with the time for late ones after it.
_MOST_AHEAD_S = MOST_LEAD_S + FIRST_BYTE_S


@dataclass(frozen=True, slots=True)
class AccountRate:
    """A rate of an account; `longest_s` is the longest that one request pays for it."""

    per_second: float
    longest_s: float


def account_rates(settings: ProviderSettings) -> dict[Unit, AccountRate]:
    """The account's rates by unit, each per second."""
    parts = settings.max_parts or _MOST_PARTS
    most = {
        Unit.MESSAGES: (settings.messages_per_second, 1),
        Unit.PARTS: (settings.parts_per_second, parts),
        Unit.REQUESTS: (settings.requests_per_second, 1),
    }
    found = {}
    for unit, (rate, cost) in most.items():
        if rate is not None:
            recipients = 1 if unit is Unit.REQUESTS else _most_recipients(settings)
            found[unit] = AccountRate(rate, _longest_s(settings, rate, cost, recipients))
    return found


def campaign_longest_s(settings: ProviderSettings, rate: float) -> float:
    """The longest that one request of the account pays for a campaign's own rate, in seconds."""
    return _longest_s(settings, rate, 1, _most_recipients(settings))


def _longest_s(settings: ProviderSettings, rate: float, cost: int, recipients: int) -> float:
    """`cost`: what one recipient costs at most. See `Provider.batch_size`."""
    longest_s = cost * recipients / rate
    if settings.max_recipients is not None:
        return longest_s
    return max(min(longest_s, REQUEST_S), cost / rate)


def _most_recipients(settings: ProviderSettings) -> int:
    return settings.max_recipients or settings.documented_max_recipients or _MOST_RECIPIENTS


def seconds_ahead(paid_until: datetime | None, now: datetime, *, longest_s: float) -> float:
    """For how many seconds from now a rate is paid; negative: since when it was not used.

    At most one request's worth beyond the last start that may have been given: what a clock left
    behind when it was ahead is dropped within a minute (`dispatcher/store/clocks.py`).
    """
    if paid_until is None:
        return -1.0
    return min((paid_until - now).total_seconds(), longest_s + _MOST_AHEAD_S)


def rate_wait(settings: ProviderSettings, account: AccountRow | None, now: datetime) -> str | None:
    """That an account waits for its rate, to follow "it waits for"; None if it does not."""
    if account is None:
        return None
    waits_s = [
        seconds_ahead(account.paid_until(unit), now, longest_s=rate.longest_s)
        for unit, rate in account_rates(settings).items()
    ]
    return _wait_in_words("its rate", max(waits_s, default=0.0), now)


def own_rate_wait(settings: ProviderSettings, campaign: CampaignRow, now: datetime) -> str | None:
    """That a campaign waits for its own rate, in the same words; None if it does not."""
    if campaign.rate is None:
        return None
    longest_s = campaign_longest_s(settings, campaign.rate)
    wait_s = seconds_ahead(campaign.paid_until, now, longest_s=longest_s)
    return _wait_in_words("its own rate", wait_s, now)


def _wait_in_words(what: str, wait_s: float, now: datetime) -> str | None:
    """None for a moment, which is not worth a word."""
    if wait_s <= SHORT_WAIT_S:
        return None
    return f"{what}, used up until {now + timedelta(seconds=wait_s):%Y-%m-%d %H:%M:%S} UTC"

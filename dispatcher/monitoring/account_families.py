"""Metrics about accounts: health, hours, rates, balance, and the requests to their providers."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import accumulate, islice
from typing import Final

import orjson
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from dispatcher.campaigns.constraints import CampaignConstraints
from dispatcher.campaigns.gate import campaign_schedule
from dispatcher.config.settings import Settings
from dispatcher.errors import ErrorKind
from dispatcher.monitoring.families import Sample, make_counter, make_gauge, seconds_since
from dispatcher.monitoring.request_counts import Durations
from dispatcher.monitoring.snapshot import Snapshot, is_open
from dispatcher.outbound.rates import account_rates, seconds_ahead
from dispatcher.policy.breaker import Breaker
from dispatcher.status import AttemptOutcome, Kind
from dispatcher.store.metric_figures import DURATION_EDGES_S
from dispatcher.store.rows import AccountRow

_REASONS: Final = ("operator", *(kind.value for kind in ErrorKind if kind.pauses_account), "other")
#: Packages of a balance that are shown; no provider documents more than a few.
_MOST_PACKAGES: Final = 20


def health_families(found: Snapshot, settings: Settings) -> Iterator[Metric]:
    """Whether each account may send, and what keeps it from that."""
    rows = found.accounts
    yield make_gauge(
        "account_open", "1 if the account sends at full speed while windows are open.", ["account"],
        [([name], is_open(row, settings.accounts.get(name), found.now))
         for name, row in rows.items()],
    )  # fmt: skip
    yield make_gauge(
        "account_paused", "1 for the reason for which the account is paused.",
        ["account", "reason"],
        [([name, reason], _pause_of(row) == reason)
         for name, row in rows.items() for reason in _REASONS],
    )  # fmt: skip
    yield make_gauge(
        "account_stopped", "1 while a person has stopped the account (`dispatcher stop`).",
        ["account"],
        [([name], row is not None and row.stopped_at is not None) for name, row in rows.items()],
    )  # fmt: skip
    yield make_gauge(
        "account_breaker", "1 for the state of the account's breaker.", ["account", "state"],
        [([name, state], ((row.breaker if row else None) or "closed") == state)
         for name, row in rows.items() for state in ("closed", *Breaker)],
    )  # fmt: skip
    yield make_gauge(
        "account_failures", "Requests in a row that failed or left doubt.", ["account"],
        [([name], row.failures if row else 0) for name, row in rows.items()],
    )  # fmt: skip
    yield make_gauge(
        "account_window_open", "1 while the account's windows for a kind of campaign are open.",
        ["account", "kind"], list(_windows(settings, found.now)),
    )  # fmt: skip


def rate_families(found: Snapshot, settings: Settings) -> Iterator[Metric]:
    """Rates that are allowed and used, day's limits, and balances."""
    known = {name: row for name, row in found.accounts.items() if row is not None}
    rates = [
        (name, unit, rate)
        for name, account in settings.accounts.items()
        for unit, rate in account_rates(account).items()
    ]
    yield make_gauge(
        "account_rate_limit_per_second", "The configured rate, in its unit.", ["account", "unit"],
        [([name, unit.value], rate.per_second) for name, unit, rate in rates],
    )  # fmt: skip
    yield make_gauge(
        "account_rate_booked_seconds", "For how many seconds from now the rate is used up.",
        ["account", "unit"],
        [
            ([name, unit.value], max(0.0, seconds_ahead(
                known[name].paid_until(unit) if name in known else None,
                found.now, longest_s=rate.longest_s)))
            for name, unit, rate in rates
        ],
    )  # fmt: skip
    yield make_gauge(
        "account_day_limit", "The configured `daily_limit`.", ["account"],
        [([name], account.daily_limit) for name, account in settings.accounts.items()
         if account.daily_limit is not None],
    )  # fmt: skip
    yield make_gauge(
        "account_day_recipients", "Recipients that have begun on the account's day.", ["account"],
        [([name], row.day_count if row.day_until is not None and found.now < row.day_until else 0)
         for name, row in known.items()],
    )  # fmt: skip
    yield make_gauge(
        "account_balance", "What was left at the last look, in the provider's unit.",
        ["account", "package"], [sample for row in known.values() for sample in _balances(row)],
    )  # fmt: skip
    yield make_gauge(
        "account_balance_age_seconds", "Seconds since the balance was read.", ["account"],
        [([name], seconds_since(found.now, row.balance_at)) for name, row in known.items()
         if row.balance_at is not None],
    )  # fmt: skip
    mark = settings.notify.balance_below
    yield make_gauge(
        "balance_limit", "`balance_below` of [notify]: balances are read where it is set.", [],
        [] if mark is None else [([], mark)],
    )  # fmt: skip


def request_families(found: Snapshot) -> Iterator[Metric]:
    """Requests to providers since this process started."""
    counts, names = found.requests, list(found.accounts)
    yield make_counter(
        "requests_begun", "Requests to the provider that have begun.", ["account"],
        [([name], counts.begun[name]) for name in names],
    )  # fmt: skip
    yield make_counter(
        "request_recipients", "Recipients in requests that have begun: the rate that is used.",
        ["account"], [([name], counts.recipients[name]) for name in names],
    )  # fmt: skip
    ended = {
        **{(name, outcome.label, "none"): 0 for name in names
           for outcome in (AttemptOutcome.ANSWERED, AttemptOutcome.NOT_SENT)},
        **{(name, outcome.label, "no_answer"): 0 for name in names
           for outcome in (AttemptOutcome.REFUSED, AttemptOutcome.DOUBTFUL)},
        **counts.ended,
    }  # fmt: skip
    yield make_counter(
        "requests", "Requests that have ended, by outcome and by what the provider answered.",
        ["account", "outcome", "error"], [([*key], n) for key, n in ended.items()],
    )  # fmt: skip
    yield _histogram(
        "request_duration_seconds", "From a request's record in the store to its stored answer.",
        names, counts.durations,
    )  # fmt: skip
    yield _histogram(
        "release_delay_seconds",
        "From a batch's release to each of its requests: a sample. Those are missing whose batch "
        "was released again before a scrape read them; of a lost ticket the second one counts.",
        names, counts.delays,
    )  # fmt: skip


def _histogram(
    name: str, words: str, accounts: list[str], found: Mapping[str, Durations]
) -> HistogramMetricFamily:
    family = HistogramMetricFamily(f"dispatcher_{name}", words, labels=["account"])
    edges = [*(str(edge) for edge in DURATION_EDGES_S), "+Inf"]
    for account in accounts:
        one = found.get(account, Durations())
        buckets = [(edge, float(n)) for edge, n in zip(edges, accumulate(one.counts), strict=True)]
        family.add_metric([account], buckets=buckets, sum_value=one.total_s)
    return family


def _pause_of(row: AccountRow | None) -> str | None:
    if row is None or row.paused_by is None:
        return None
    return row.paused_by if row.paused_by in _REASONS else "other"


def _windows(settings: Settings, now: datetime) -> Iterator[Sample]:
    for name, account in settings.accounts.items():
        for kind in Kind:
            blank = CampaignConstraints(kind=kind, schedule=None, start_at=None, expire_at=None)
            yield [name, kind.value], campaign_schedule(account, blank, None).is_open(now)


def _balances(row: AccountRow) -> Iterator[Sample]:
    left: dict[str, str] = {} if row.balance is None else orjson.loads(row.balance)
    for package, amount in islice(left.items(), _MOST_PACKAGES):
        yield [row.name, package], float(amount)

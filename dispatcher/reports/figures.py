"""All figures of a report about one campaign, or about those since a time."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from typing import Final

from dispatcher.campaigns.failures import FailureGroup, ReasonsOf, group_failures
from dispatcher.campaigns.gate import campaign_schedule
from dispatcher.config.settings import Settings
from dispatcher.reports.delays import DelayFigures, build_delays
from dispatcher.reports.outcomes import NO_RECEIPT, OUTCOMES, OutcomeCount, count_by_place
from dispatcher.reports.timeline import (
    RateCurve,
    Timeline,
    build_rate,
    build_timeline,
    choose_buckets,
)
from dispatcher.store import campaign_search, costs, former_outcomes, report_figures
from dispatcher.store.engine import Store, store_now
from dispatcher.store.report_figures import TimeBuckets
from dispatcher.store.rows import CampaignRow

_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignLine:
    """One campaign of a report, counted by outcome."""

    campaign: CampaignRow
    outcomes: Mapping[str, int]
    #: How many without a receipt may still get one.
    waiting: int
    cost: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFigures:
    """What a report shows. `campaigns` are all that it is about, newest first.

    `timeline` and `rate` are None before the first request.
    """

    looked_at: datetime
    campaigns: Sequence[CampaignLine]
    outcomes: Mapping[str, int]
    total: int
    parts: int
    cost: Decimal | None
    retried: Mapping[str, int]
    timeline: Timeline | None
    rate: RateCurve | None
    delays: DelayFigures
    countries: Sequence[OutcomeCount]
    operators: Sequence[OutcomeCount]
    failures: Sequence[FailureGroup]

    @property
    def waiting(self) -> int:
        """How many without a receipt may still get one."""
        return sum(line.waiting for line in self.campaigns)

    @property
    def outcome_labels(self) -> Mapping[str, str]:
        """What each outcome is called: who has no receipt may have none yet."""
        yet = f"{NO_RECEIPT} yet" if self.waiting else NO_RECEIPT
        return {name: yet if name == NO_RECEIPT else name for name in OUTCOMES}

    @property
    def outcome_counts(self) -> Sequence[tuple[str, int]]:
        """Each outcome that somebody has; those who may still get a receipt are counted apart."""
        counts = {**self.outcomes, NO_RECEIPT: self.outcomes[NO_RECEIPT] - self.waiting}
        rows = [(name, count) for name, count in counts.items() if count]
        return [*rows, ("waiting for a receipt", self.waiting)] if self.waiting else rows

    @property
    def purged_words(self) -> str | None:
        """The sentence that messages are gone, and what is not counted therefore; else None."""
        at = [one.campaign.purged_at for one in self.campaigns if one.campaign.purged_at]
        if not at:
            return None
        what = "The campaign was" if len(self.campaigns) == 1 else f"{len(at)} campaigns were"
        return (
            f"{what} purged on {max(at):%Y-%m-%d}: outcomes, parts, cost and rate are kept, but no "
            "times of receipts, countries, operators and reasons."
        )


def build_figures(
    store: Store,
    settings: Settings,
    rows: Sequence[CampaignRow],
    zone: tzinfo,
    reasons_of: ReasonsOf,
) -> ReportFigures:
    """Count everything about these campaigns; periods begin at whole hours of `zone`.

    The database counts, a page of messages at a time: memory does not grow with the campaigns.
    """
    ids = [row.id for row in rows]
    kept = [row for row in rows if row.purged_at is None]
    kept_ids = [row.id for row in kept]
    lines = _campaign_lines(store, rows)
    outcomes = {name: sum(line.outcomes[name] for line in lines) for name in OUTCOMES}
    total = sum(outcomes.values())
    buckets = _find_buckets(store, ids, zone)
    countries, operators = count_by_place(report_figures.count_series(store, kept_ids))
    prices = [line.cost for line in lines if line.cost is not None]
    with store.read() as conn:
        now = store_now(conn)
    return ReportFigures(
        looked_at=now,
        campaigns=lines,
        outcomes=outcomes,
        total=total,
        parts=sum(one.parts for one in countries)
        + sum(row.parts for row in rows if row.purged_at is not None),
        cost=sum(prices, Decimal()) if prices else None,
        retried=_count_retried(store, ids),
        timeline=None
        if buckets is None or not kept
        else build_timeline(
            report_figures.count_begun(store, kept_ids, buckets),
            report_figures.count_final(store, kept_ids, buckets),
            buckets,
            sum(sum(line.outcomes.values()) for line in lines if line.campaign.purged_at is None),
        ),
        rate=None if buckets is None else _build_rate(store, settings, rows, buckets),
        delays=build_delays(report_figures.count_delays(store, kept_ids)),
        countries=countries,
        operators=operators,
        failures=group_failures(store, kept, reasons_of),
    )


def _campaign_lines(store: Store, rows: Sequence[CampaignRow]) -> list[CampaignLine]:
    lines = []
    for at in range(0, len(rows), _AT_ONCE):
        some = rows[at : at + _AT_ONCE]
        with store.read() as conn:
            counts = campaign_search.count_messages(conn, [row.id for row in some])
            prices = costs.costs_of(conn, [row.id for row in some])
        lines += [
            CampaignLine(
                campaign=row,
                outcomes={
                    name: sum(counts[row.id][state.label] for state in states)
                    for name, states in OUTCOMES.items()
                },
                waiting=max(0, counts[row.id]["submitted"] - counts[row.id]["no_receipt"]),
                cost=prices.get(row.id),
            )
            for row in some
        ]
    return lines


def _find_buckets(store: Store, ids: Sequence[int], zone: tzinfo) -> TimeBuckets | None:
    span = report_figures.load_span(store, ids)
    if span.first_at is None or span.last_at is None:
        return None
    local = span.first_at.astimezone(zone)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    return choose_buckets(span.first_at, span.last_at, midnight.astimezone(UTC))


def _build_rate(
    store: Store, settings: Settings, rows: Sequence[CampaignRow], buckets: TimeBuckets
) -> RateCurve:
    """The rate; limit and windows only for a single campaign, which has one of each."""
    limit, schedule = None, None
    account = settings.accounts.get(rows[0].account) if len(rows) == 1 else None
    if account is not None:
        rates = [rows[0].rate, account.messages_per_second]
        limit = min((rate for rate in rates if rate is not None), default=None)
        if rows[0].zones is None:
            schedule = campaign_schedule(account, rows[0], None)
    requests = report_figures.count_requests(store, [row.id for row in rows], buckets)
    return build_rate(requests, buckets, limit, schedule)


def _count_retried(store: Store, ids: Sequence[int]) -> dict[str, int]:
    total = Counter[str]()
    for at in range(0, len(ids), _AT_ONCE):
        with store.read() as conn:
            for state, count in former_outcomes.count_retried(
                conn, ids[at : at + _AT_ONCE]
            ).items():
                total[state.label] += count
    return dict(total)

"""The figures of a report as JSON. Times are in UTC, amounts are texts."""

from collections.abc import Mapping, Sequence
from typing import Any

from dispatcher.campaigns.wording import iso_time
from dispatcher.reports.figures import ReportFigures
from dispatcher.reports.outcomes import OutcomeCount
from dispatcher.reports.timeline import RateCurve, Timeline
from dispatcher.store.column_types import format_price


def report_to_json(figures: ReportFigures) -> dict[str, Any]:
    """All that the page shows; outcomes have underscores in their names."""
    return {
        "looked_at": iso_time(figures.looked_at),
        "campaigns": [
            {
                "id": line.campaign.id,
                "name": line.campaign.name,
                "state": line.campaign.state,
                "account": line.campaign.account,
                "created_at": iso_time(line.campaign.created_at),
                "outcomes": _named(line.outcomes),
                "cost": format_price(line.cost),
            }
            for line in figures.campaigns
        ],
        "total": figures.total,
        "outcomes": _named(figures.outcomes),
        "retried": dict(figures.retried),
        "parts": figures.parts,
        "cost": format_price(figures.cost),
        "timeline": None if figures.timeline is None else _timeline(figures.timeline),
        "rate": None if figures.rate is None else _rate(figures.rate),
        "delays": {
            "delivered": figures.delays.delivered,
            "classes": [{"delay": name, "recipients": n} for name, n in figures.delays.classes],
            "percentiles_s": {str(p): s for p, s in figures.delays.percentiles_s.items()},
        },
        "countries": _place_rows(figures.countries),
        "operators": _place_rows(figures.operators),
        "failures": [
            {
                "state": one.state.label,
                "reason": one.reason,
                "account": one.account,
                "recipients": one.recipients,
                "retryable": one.retryable,
                "meaning": one.explanation.meaning,
                "advice": one.explanation.advice,
            }
            for one in figures.failures
        ],
    }


def _named(outcomes: Mapping[str, int]) -> dict[str, int]:
    return {name.replace(" ", "_"): count for name, count in outcomes.items()}


def _timeline(timeline: Timeline) -> dict[str, Any]:
    return {
        "until": [iso_time(at) for at in timeline.ends],
        "outcomes": {
            name.replace(" ", "_"): list(counts) for name, counts in timeline.outcomes.items()
        },
        "later": timeline.left_out,
    }


def _rate(rate: RateCurve) -> dict[str, Any]:
    return {
        "from": [iso_time(at) for at in rate.starts],
        "period_s": rate.size_s,
        "per_second": [round(value, 3) for value in rate.per_second],
        "limit": rate.limit,
        "windows_closed": list(rate.is_closed),
    }


def _place_rows(rows: Sequence[OutcomeCount]) -> list[dict[str, Any]]:
    return [
        {
            "name": row.name,
            "total": row.total,
            "outcomes": _named(row.counts),
            "parts": row.parts,
            "cost": format_price(row.cost),
        }
        for row in rows
    ]

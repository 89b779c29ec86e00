"""The figures of a report as JSON. Times are in UTC, amounts are texts."""

from collections.abc import Iterator, Mapping, Sequence
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
                "purged_at": iso_time(line.campaign.purged_at),
                "outcomes": _named(line.outcomes),
                "cost": format_price(line.cost),
            }
            for line in figures.campaigns
        ],
        "total": figures.total,
        "outcomes": _named(figures.outcomes),
        "waiting_for_receipt": figures.waiting,
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


def report_to_rows(figures: ReportFigures) -> Iterator[dict[str, object]]:
    """The tables of a report as rows of one table; `part` is the table's name in the JSON."""
    for line in figures.campaigns:
        yield _row("campaigns", line.campaign.name, line.outcomes, cost=format_price(line.cost))
    for part, places in (("countries", figures.countries), ("operators", figures.operators)):
        for place in places:
            cost = format_price(place.cost)
            yield _row(part, place.name, place.counts, parts=place.parts, cost=cost)
    for one in figures.failures:
        name = f"{one.state.label}: {one.reason}"
        yield {"part": "failures", "name": name, "total": one.recipients}
    for name, count in figures.delays.classes:
        yield {"part": "delays", "name": name, "total": count}
    if (timeline := figures.timeline) is not None:
        for period, end in enumerate(timeline.ends):
            counts = {name: counts[period] for name, counts in timeline.outcomes.items()}
            yield _row("timeline", iso_time(end), counts)


def _row(
    part: str, name: str | None, counts: Mapping[str, int], **more: object
) -> dict[str, object]:
    total = sum(counts.values())
    return {"part": part, "name": name, "total": total, "outcomes": _named(counts), **more}


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

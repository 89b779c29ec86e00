"""The report as one page: pictures, and below each the table that it was drawn from."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Final

from markupsafe import Markup

from dispatcher.reports.charts import (
    bar_chart,
    column_chart,
    figure,
    format_number,
)
from dispatcher.reports.delays import format_delay
from dispatcher.reports.figures import CampaignLine, ReportFigures
from dispatcher.reports.outcomes import OUTCOMES, OutcomeCount, shorten
from dispatcher.reports.page import facts, html, join, page, read_style, table
from dispatcher.reports.time_sections import (
    COLOURS,
    legend_of,
    rate_section,
    time_section,
)
from dispatcher.store.column_types import format_price

_MOST_BARS: Final = 8
_MOST_ROWS: Final = 50
_MOST_REASONS: Final = 10
_MOST_CAMPAIGNS: Final = 200
ShowTime = Callable[[datetime], str]


def report_page(figures: ReportFigures, title: str, zone: tzinfo, zone_label: str) -> str:
    """The page; all its times are in `zone`, which it names."""

    def show_time(at: datetime) -> str:
        return f"{at.astimezone(zone):%Y-%m-%d %H:%M:%S}"

    head = html(
        '<h1>{title}</h1><p class="soft">All times are in {zone}. Written on {now}.</p>',
        title=title,
        zone=zone_label,
        now=show_time(figures.looked_at),
    )
    if figures.purged_words is not None:
        head += html("<p>{}</p>", figures.purged_words)
    sections = [
        _summary(figures, show_time),
        time_section(figures.timeline, figures.outcome_labels, zone, zone_label),
        _delay_section(figures),
        _place_section(
            "Outcomes by country", "country", figures.countries, figures.outcome_labels,
            "The country of the number.",
        ),
        _place_section(
            "Outcomes by operator", "operator", figures.operators, figures.outcome_labels,
            "The operator that the number's series was given to; people keep their number when "
            "they change the operator.",
        ),
        _reason_section(figures),
        rate_section(figures.rate, zone, zone_label),
        _cost_section(figures),
        _campaign_section(figures.campaigns, show_time),
    ]  # fmt: skip
    return page(title, head + join(sections), style=read_style("report.css"))


def _summary(figures: ReportFigures, show_time: ShowTime) -> Markup:
    pairs: list[tuple[str, object]] = [("Recipients", f"{figures.total:,}")]
    pairs += [
        (name.capitalize(), _share(count, figures.total)) for name, count in figures.outcome_counts
    ]
    pairs += [
        ("Parts", f"{figures.parts:,}"),
        ("Cost", format_price(figures.cost)),
        *((f"Retried, {name.replace('_', ' ')}", f"{n:,}") for name, n in figures.retried.items()),
    ]
    if len(figures.campaigns) != 1:
        return facts([("Campaigns", f"{len(figures.campaigns):,}"), *pairs])
    campaign = figures.campaigns[0].campaign
    times = [
        ("Created", campaign.created_at), ("Started", campaign.started_at),
        ("Ended", campaign.finished_at),
    ]  # fmt: skip
    words = [
        ("State", campaign.state), ("Account", campaign.account), ("Sender", campaign.sender),
        *((name, show_time(at)) for name, at in times if at is not None),
    ]  # fmt: skip
    text = (
        html('<h2>Text</h2><div class="text" dir="auto">{}</div>', campaign.text)
        if campaign.text
        else Markup()
    )
    return facts([*words, *pairs]) + text


def _delay_section(figures: ReportFigures) -> Markup:
    title, delays = "Delivery delay", figures.delays
    if not delays.delivered:
        return html("<section><h2>{}</h2><p>No receipt says delivered yet.</p></section>", title)
    labels = [name.removeprefix("< ") for name, _count in delays.classes]
    counts = [count for _name, count in delays.classes]
    percentiles = [
        (f"{percent}\N{NO-BREAK SPACE}% within", format_delay(seconds))
        for percent, seconds in delays.percentiles_s.items()
    ]
    return html(
        "<section><h2>{}</h2>{}{}{}</section>",
        title,
        figure(
            title,
            column_chart(title, labels, [("delivered", counts, "c-good")]),
            [("delivered", "c-good")],
            "Recipients by the delay that they had at most. "
            "From the request to the provider until its receipt was read: receipts are asked for "
            "at growing intervals, so the handset had it earlier.",
        ),
        facts(percentiles),
        table(
            title, ("delay", "recipients", "share"),
            [(name, f"{n:,}", _percent(n, delays.delivered)) for name, n in delays.classes],
            numeric=(1, 2),
        ),
    )  # fmt: skip


def _place_section(
    title: str,
    what: str,
    rows: Sequence[OutcomeCount],
    outcome_labels: Mapping[str, str],
    note: str,
) -> Markup:
    if not rows:
        return Markup()
    names = [name for name in OUTCOMES if any(row.counts[name] for row in rows)]
    bars = shorten(rows, _MOST_BARS)
    shown = [outcome_labels[name] for name in names]
    series = [
        (label, [row.counts[name] for row in bars], COLOURS[name])
        for label, name in zip(shown, names, strict=True)
    ]
    listed = shorten(rows, _MOST_ROWS)
    return html(
        "<section><h2>{}</h2>{}{}</section>",
        title,
        figure(
            title, bar_chart(title, [row.name for row in bars], series), legend_of(series), note
        ),
        table(
            title,
            (what, "recipients", *shown),
            [
                (
                    row.name,
                    f"{row.total:,}",
                    *(_share(row.counts[name], row.total) for name in names),
                )
                for row in listed
            ],
            numeric=range(1, len(names) + 2),
        ),
    )


def _reason_section(figures: ReportFigures) -> Markup:
    title = "Not reached, by reason"
    if not figures.failures:
        return html("<section><h2>{}</h2><p>Nobody so far.</p></section>", title)
    top = figures.failures[:_MOST_REASONS]
    labels = [f"{one.state.label}: {one.reason}" for one in top]
    series = [("recipients", [one.recipients for one in top], "c-bad")]
    left = len(figures.failures) - len(top)
    note = "State, and the provider's words. `campaign failures` shows how to try again."
    has_several = len({one.account for one in figures.failures}) > 1
    rows = [
        (
            f"{one.state.label}: {one.reason}{f' ({one.account})' if has_several else ''}",
            f"{one.recipients:,}", one.explanation.meaning, one.explanation.advice,
        )
        for one in figures.failures[:_MOST_ROWS]
    ]  # fmt: skip
    return html(
        "<section><h2>{}</h2>{}{}</section>",
        title,
        figure(
            title,
            bar_chart(title, labels, series),
            [("recipients", "c-bad")],
            note + (f" {left} further reasons are in the table." if left else ""),
        ),
        table(title, ("reason", "recipients", "means", "do"), rows, numeric=(1,), wide=(2, 3)),
    )


def _cost_section(figures: ReportFigures) -> Markup:
    title = "Cost"
    priced = [row for row in figures.countries if row.cost is not None]
    if not priced:
        return html(
            "<section><h2>{}</h2><p>The provider states no prices; {} parts.</p></section>",
            title,
            f"{figures.parts:,}",
        )
    bars = shorten(sorted(priced, key=lambda row: -(row.cost or 0)), _MOST_BARS)
    series = [("cost", [float(row.cost or 0) for row in bars], "c-calm")]
    rows = [
        (
            row.name, format_price(row.cost), f"{row.parts:,}",
            format_number(float(row.cost or 0) / max(row.counts["delivered"], 1)),
        )
        for row in shorten(priced, _MOST_ROWS)
    ]  # fmt: skip
    return html(
        "<section><h2>{}</h2>{}{}{}</section>",
        title,
        figure(
            title,
            bar_chart(title, [row.name for row in bars], series),
            [("cost", "c-calm")],
            "By the provider's own prices, in its currency; by country of the number. What earlier "
            "attempts cost before a retry is in the total only.",
        ),
        facts([("Total", format_price(figures.cost))]),
        table(title, ("country", "cost", "parts", "per delivered"), rows, numeric=(1, 2, 3)),
    )


def _campaign_section(lines: Sequence[CampaignLine], show_time: ShowTime) -> Markup:
    if len(lines) == 1:
        return Markup()
    rows = [
        (
            line.campaign.id, line.campaign.name, line.campaign.state, line.campaign.account,
            show_time(line.campaign.created_at), f"{line.campaign.total:,}",
            _share(line.outcomes["delivered"], line.campaign.total), format_price(line.cost),
        )
        for line in lines[:_MOST_CAMPAIGNS]
    ]  # fmt: skip
    columns = ("id", "name", "state", "account", "created", "recipients", "delivered", "cost")
    left = len(lines) - len(rows)
    note = html("<p>{} older ones are not listed.</p>", left) if left > 0 else Markup()
    listed = table("Campaigns, newest first", columns, rows, numeric=(0, 5, 6, 7), wide=(1,))
    return html("<section><h2>Campaigns</h2>{}{}</section>", listed, note)


def _share(count: int, total: int) -> str:
    return f"{count:,} ({_percent(count, total)})" if count else "0"


def _percent(count: int, total: int) -> str:
    share = 100 * count / total if total else 0.0
    shown = share if share < 99.95 or count == total else 99.9
    return f"{shown:.1f}\N{NO-BREAK SPACE}%"

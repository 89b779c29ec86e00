"""A report in the terminal, in 80 columns."""

from typing import TYPE_CHECKING, Final

import click

from dispatcher.cli.output import pluralize, print_line, print_table, safe_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import tzinfo

    from dispatcher.reports.figures import ReportFigures
    from dispatcher.reports.outcomes import OutcomeCount
    from dispatcher.reports.timeline import RateCurve, Timeline

_BAR: Final = 30
_MOST_ROWS: Final = 8
_MOST_TIMES: Final = 12


def print_report(figures: "ReportFigures", title: str, zone: "tzinfo") -> None:
    """Print all figures of a report; its times are in `zone`, which is named."""
    from dispatcher.store.column_types import format_price
    from dispatcher.windows.zone_names import zone_name

    click.echo(title)
    click.echo(f"times in {zone_name(zone)}")
    if figures.purged_words is not None:
        print_line(figures.purged_words, style={"bold": True})
    cost = f", cost {format_price(figures.cost)}" if figures.cost is not None else ""
    click.echo(f"{figures.total:,} recipients, {figures.parts:,} parts{cost}")
    if len(figures.campaigns) > 1:
        click.echo(f"{len(figures.campaigns):,} campaigns")
    if figures.retried:
        again = ", ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in figures.retried.items())
        click.echo(f"submitted again by a person or after doubt: {again}")
    click.echo()
    _print_bars(figures.outcome_counts, figures.total)
    if figures.timeline is not None:
        _print_timeline(figures.timeline, figures.outcome_labels, zone)
    if figures.delays.delivered:
        _print_delays(figures)
    _print_places("country", figures.countries, figures.outcome_labels)
    _print_places("operator", figures.operators, figures.outcome_labels)
    _print_failures(figures)
    if figures.rate is not None:
        _print_rate(figures.rate, zone)
    if len(figures.campaigns) > 1:
        _print_campaigns(figures)


def _print_bars(rows: "Sequence[tuple[str, int]]", total: int) -> None:
    for name, count in rows:
        share = count / total if total else 0.0
        filled = max(round(share * _BAR), 1 if count else 0)
        bar = "█" * filled + "░" * (_BAR - filled)
        click.echo(f"  {name:<21} {count:>11,}  {100 * share:>5.1f} %  {bar}")


def _print_timeline(
    timeline: "Timeline", outcome_labels: "Mapping[str, str]", zone: "tzinfo"
) -> None:
    names = [name for name, counts in timeline.outcomes.items() if any(counts)]
    step = -(-len(timeline.ends) // _MOST_TIMES)
    places = list(range(len(timeline.ends)))[::-1][::step][::-1]
    click.echo("\nrecipients over time")
    print_table(
        ("until", *(outcome_labels[name] for name in names)),
        [
            (
                f"{timeline.ends[i].astimezone(zone):%Y-%m-%d %H:%M:%S}",
                *(timeline.outcomes[name][i] for name in names),
            )
            for i in places
        ],
        spare=("pending", "in doubt"),
    )
    if timeline.left_out:
        click.echo(f"{timeline.left_out:,} more came to their outcome later")


def _print_delays(figures: "ReportFigures") -> None:
    from dispatcher.reports.delays import format_delay

    within = ", ".join(
        f"{percent} % within {format_delay(seconds)}"
        for percent, seconds in figures.delays.percentiles_s.items()
    )
    click.echo("\ndelivery delay, until the receipt was read")
    print_line(f"  {within}", "  ")
    _print_bars(figures.delays.classes, figures.delays.delivered)


def _print_places(
    what: str, rows: "Sequence[OutcomeCount]", outcome_labels: "Mapping[str, str]"
) -> None:
    from dispatcher.reports.outcomes import OUTCOMES, shorten

    if not rows:
        return
    shown = shorten(rows, _MOST_ROWS)
    names = [name for name in OUTCOMES if any(row.counts[name] for row in shown)]
    click.echo(f"\nby {what} of the number")
    print_table(
        (what, "total", *(outcome_labels[name] for name in names)),
        [(row.name, row.total, *(row.counts[name] for name in names)) for row in shown],
        spare=("pending", "in doubt"),
    )


def _print_failures(figures: "ReportFigures") -> None:
    if not figures.failures:
        return
    click.echo("\nnot reached, by reason")
    for one in figures.failures[:_MOST_ROWS]:
        print_line(f"  {one.recipients:>9,}  {one.state.label}: {safe_text(one.reason)}", " " * 13)
        print_line(f"             {safe_text(one.explanation.meaning)}", " " * 13)
    if (left := len(figures.failures) - _MOST_ROWS) > 0:
        click.echo(f"  and {pluralize(left, 'further reason')}")
    if len(figures.campaigns) == 1:
        campaign = figures.campaigns[0].campaign
        click.echo(f"  `dispatcher campaign failures {campaign.id}` says what to do")


def _print_rate(rate: "RateCurve", zone: "tzinfo") -> None:
    from dispatcher.reports.charts import format_number
    from dispatcher.reports.delays import format_delay

    busy = [value for value in rate.per_second if value] or [0.0]
    limit = "no limit" if rate.limit is None else f"the limit is {format_number(rate.limit)}/s"
    click.echo(f"\nrate, averaged over {format_delay(rate.size_s)}")
    click.echo(
        f"  highest {format_number(max(busy))}/s, average while sending "
        f"{format_number(sum(busy) / len(busy))}/s; {limit}"
    )
    first, last = rate.starts[0].astimezone(zone), rate.starts[-1].astimezone(zone)
    click.echo(f"  requests from {first:%Y-%m-%d %H:%M:%S} to {last:%Y-%m-%d %H:%M:%S}")
    if any(rate.is_closed):
        click.echo(f"  the windows were closed for {sum(rate.is_closed)} of {len(rate.starts)} "
                   "periods")  # fmt: skip


def _print_campaigns(figures: "ReportFigures") -> None:
    from dispatcher.store.column_types import format_price

    click.echo()
    print_table(
        ("id", "name", "state", "total", "delivered", "not delivered", "cost"),
        [
            (
                line.campaign.id, line.campaign.name, line.campaign.state, line.campaign.total,
                line.outcomes["delivered"], line.outcomes["not delivered"],
                format_price(line.cost),
            )
            for line in figures.campaigns[:20]
        ],
        spare=("cost", "state"),
    )  # fmt: skip

"""The sections of a report that show what happened when."""

from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Final

from markupsafe import Markup

from dispatcher.reports.charts import area_chart, figure, format_number, line_chart
from dispatcher.reports.delays import format_delay
from dispatcher.reports.outcomes import NO_RECEIPT, OUTCOMES
from dispatcher.reports.page import html, table
from dispatcher.reports.timeline import RateCurve, Timeline

#: The colour of each outcome.
COLOURS: Final = {
    "delivered": "c-good",
    "not delivered": "c-bad",
    NO_RECEIPT: "c-calm",
    "in doubt": "c-odd",
    "not submitted": "c-late",
    "pending": "c-rest",
}
_MOST_TIMES: Final = 24


def time_section(
    timeline: Timeline | None, outcome_labels: Mapping[str, str], zone: tzinfo, zone_label: str
) -> Markup:
    title = "Recipients over time"
    if timeline is None:
        return html("<section><h2>{}</h2><p>Nothing was submitted yet.</p></section>", title)
    names = [name for name in OUTCOMES if any(timeline.outcomes[name])]
    labels = _time_labels(timeline.ends, zone)
    shown = [outcome_labels[name] for name in names]
    series = [
        (label, timeline.outcomes[name], COLOURS[name])
        for label, name in zip(shown, names, strict=True)
    ]
    note = "How many recipients had which outcome at that time. A receipt counts when it was read."
    if timeline.left_out:
        note += f" {timeline.left_out:,} more came to their outcome later."
    step = -(-len(labels) // _MOST_TIMES)
    places = list(range(len(labels)))[::-1][::step][::-1]
    rows = [(labels[i], *(f"{timeline.outcomes[name][i]:,}" for name in names)) for i in places]
    return html(
        "<section><h2>{}</h2>{}{}</section>",
        title,
        figure(title, area_chart(title, labels, series), legend_of(series), note),
        table(
            _time_caption(title, timeline.ends, zone, zone_label),
            ("until", *shown),
            rows,
            numeric=range(1, len(names) + 1),
        ),
    )


def rate_section(rate: RateCurve | None, zone: tzinfo, zone_label: str) -> Markup:
    title = "Rate and windows"
    if rate is None:
        return Markup()
    labels = _time_labels(rate.starts, zone)
    limit = rate.limit
    top = max([*rate.per_second, limit or 0.0]) * 1.05
    series = [("messages per second", list(rate.per_second), "c-accent")]
    legend = [("messages per second", "c-accent")]
    if limit is not None:
        series.append((f"limit {format_number(limit)}", [limit] * len(labels), "c-late"))
        legend.append((f"limit: {format_number(limit)} messages per second", "c-late"))
    shades = []
    if any(rate.is_closed):
        closed = [top if is_closed else 0.0 for is_closed in rate.is_closed]
        shades.append(("windows closed", closed, "c-shade"))
        legend.append(("windows closed", "c-shade"))
    step = -(-len(labels) // _MOST_TIMES)
    rows = []
    for at in range(0, len(labels), step):
        some = rate.per_second[at : at + step]
        closed_share = sum(rate.is_closed[at : at + step])
        windows = "open" if not closed_share else "closed"
        if 0 < closed_share < len(some):
            windows = "open in part"
        rows.append(
            (labels[at], format_number(sum(some) / len(some)),
             format_number(max(some)), windows)
        )  # fmt: skip
    note = (
        f"Averages over {format_delay(rate.size_s)}; a request carries up to ten seconds' worth at "
        "once. Limit and windows are those that are set now."
    )
    return html(
        "<section><h2>{}</h2>{}{}</section>",
        title,
        figure(title, line_chart(title, labels, series, shades), legend, note),
        table(
            _time_caption(f"{title}, messages per second", rate.starts, zone, zone_label),
            ("from", "average", "highest", "windows"), rows, numeric=(1, 2),
        ),
    )  # fmt: skip


def _time_caption(title: str, times: Sequence[datetime], zone: tzinfo, zone_label: str) -> str:
    first, last = (times[i].astimezone(zone).date() for i in (0, -1))
    days = f"{first}" if first == last else f"{first} to {last}"
    return f"{title}, {days}, times in {zone_label}"


def _time_labels(times: Sequence[datetime], zone: tzinfo) -> list[str]:
    """The time of day, or also the date where there is more than one day."""
    local = [at.astimezone(zone) for at in times]
    if local[-1].date() == local[0].date():
        has_seconds = any(at.second for at in local)
        return [f"{at:%H:%M:%S}" if has_seconds else f"{at:%H:%M}" for at in local]
    is_long = (local[-1] - local[0]).days > 4
    return [f"{at:%d %b}" if is_long else f"{at:%d %b %H:%M}" for at in local]


def legend_of(series: Sequence[tuple[str, object, str]]) -> list[tuple[str, str]]:
    """The name of each series, with its colour."""
    return [(name, colour) for name, _values, colour in series]

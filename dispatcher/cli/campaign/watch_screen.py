"""The screen of `campaign watch`: one campaign with everything, or several, two lines each."""

from typing import TYPE_CHECKING, Final

from dispatcher.cli.campaign.progress import (
    draw_bar,
    format_duration,
    format_rate,
    progress_line,
    stop_reason,
    stop_style,
)
from dispatcher.cli.doubt import doubt_in_short
from dispatcher.cli.output import pluralize, safe_text
from dispatcher.cli.zones import local_times

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import ConsoleDimensions, RenderableType
    from rich.text import Text

    from dispatcher.cli.campaign.watched import Watched

_BAR_CELLS: Final = 30
#: A narrow terminal shows the numbers before the bar.
_BESIDE_BAR: Final = 48
_LABEL: Final = 10
#: A label, what it says, and the style.
_Line = tuple[str, str, str]


def draw_screen(
    watched: "Sequence[Watched]", missing: str | None, now: str, size: "ConsoleDimensions"
) -> "RenderableType":
    """Everything that is watched, for a terminal of this size. `missing`: no scheduler."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = []
    if missing is not None:
        parts.append(Text(missing, style="bold yellow"))
    if len(watched) == 1:
        parts += [_draw_head(watched[0], size.width), _draw_lines(_detail_lines(watched[0]))]
    else:
        most = max(1, (size.height - 3) // 3)
        for one in watched[:most]:
            summary = _draw_lines(_summary_lines(one), no_wrap=True)
            parts += [_draw_head(one, size.width), summary]
        if len(watched) > most:
            parts.append(Text(f"and {pluralize(len(watched) - most, 'campaign')} more"))
    parts.append(Text(f"{now}  Ctrl-C stops watching, nothing else", style="dim"))
    return Group(*parts)


def _draw_head(one: "Watched", width: int) -> "Text":
    from rich.text import Text

    view, tally = one.view, one.view.tally
    share = tally.submitted / tally.total if tally.total else 0.0
    head = Text(no_wrap=True, overflow="ellipsis")
    head.append(f"{view.campaign.id} ", style="bold")
    head.append(f"{view.campaign.state} ", style=_state_style(view.campaign.state))
    head.append(draw_bar(share, max(4, min(_BAR_CELLS, width - _BESIDE_BAR))), style="green")
    head.append(f" {int(100 * share)} % {tally.submitted}/{tally.total} submitted  ")
    head.append(safe_text(view.campaign.name), style="bold")
    return head


def _state_style(state: str) -> str:
    return {"running": "green", "paused": "bold yellow", "cancelled": "yellow"}.get(state, "cyan")


def _detail_lines(one: "Watched") -> "Iterator[_Line]":
    view, tally = one.view, one.view.tally
    counts = [
        (tally.pending, "pending"), (tally.delivered, "delivered"),
        (tally.waiting, "waiting for a receipt"), (tally.not_delivered, "not delivered"),
        (tally.no_receipt, "without a receipt"), (tally.not_submitted, "not submitted"),
        (tally.in_doubt, "in doubt"),
    ]  # fmt: skip
    yield "messages", ", ".join(f"{n} {words}" for n, words in counts if n) or "none", ""
    if tally.pending and not view.is_over:
        left = one.pace.remaining_s(tally.pending)
        now = f"{format_rate(one.pace.per_second)} messages/s now"
        now = now if one.pace.is_measured else "measuring"
        time_left = "" if left is None else f", {format_duration(left)} left"
        yield "rate", f"{now}{time_left}; allowed: {one.rate or 'not known'}", ""
        yield "window", one.window, "yellow" if "CLOSED" in one.window else ""
        if one.forecast is not None:
            yield "forecast", one.forecast, ""
    elif view.polls:
        yield "receipts", f"of {pluralize(view.polls, 'request')} are still asked for", ""
    balance = "" if one.balance is None else f"; balance: {one.balance}"
    state = "paused" if view.account_paused_by is not None else "open"
    health = view.account_trouble or state
    style = "" if health == "open" else "bold yellow"
    yield "account", f"{view.campaign.account}, {health}{balance}", style
    if (stopped := stop_reason(view)) is not None:
        yield "waits", stopped, stop_style(view)
    if (doubt := doubt_in_short(view)) is not None:
        yield "doubt", doubt, "bold red"
    for batch in one.trouble:
        again = (
            ""
            if batch.not_before is None
            else f", next try {batch.not_before:%Y-%m-%d %H:%M:%S} UTC"
        )
        tries = pluralize(batch.tries, "try", "tries")
        words = f"batch {batch.seq + 1}: {tries}{again}: {batch.error}"
        yield "trouble", local_times(words, [view.campaign.account]), "yellow"


def _summary_lines(one: "Watched") -> "Iterator[_Line]":
    words = progress_line(one.view, one.pace).split(" · ", 2)[-1]
    yield "", words, "bold red" if one.view.tally.in_doubt else ""
    if (stopped := stop_reason(one.view)) is not None:
        yield "", stopped, stop_style(one.view)
    elif one.forecast is not None and one.view.tally.pending:
        yield "", one.forecast, "dim"


def _draw_lines(lines: "Iterator[_Line]", *, no_wrap: bool = False) -> "RenderableType":
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 1))
    table.add_column(min_width=_LABEL, max_width=_LABEL, no_wrap=True, style="dim")
    table.add_column(overflow="ellipsis" if no_wrap else "fold", no_wrap=no_wrap)
    for label, words, style in lines:
        table.add_row(label, Text(safe_text(words), style=style))
    return Padding(table, 0)

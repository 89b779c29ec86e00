"""Progress of a campaign: redrawn on a terminal; elsewhere a line from time to time."""

import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

from dispatcher.cli.banners import scheduler_warning
from dispatcher.cli.campaign.pace import SubmissionPace
from dispatcher.cli.doubt import doubt_in_short
from dispatcher.cli.output import print_line
from dispatcher.cli.terminal import is_terminal
from dispatcher.cli.zones import local_times

if TYPE_CHECKING:
    from rich.text import Text

    from dispatcher.campaigns.view import CampaignView
    from dispatcher.store.engine import Store

_EVERY_S = 0.5
_FORECAST_EVERY_S = 5.0
_LINE_EVERY_S = 2.0
_BAR_CELLS = 40


def follow_campaign(
    store: "Store",
    reference: str,
    until: Callable[["CampaignView"], bool],
    *,
    silent: bool = False,
    forecast: Callable[["CampaignView"], str | None] = lambda _view: None,
) -> "CampaignView":
    """Show a campaign's progress until `until` is true; returns the last view.

    `forecast` is called every 5 s, and its sentence shown with the progress. Raises
    KeyboardInterrupt on Ctrl-C.
    """
    from dispatcher.campaigns.view import load_view

    pace = SubmissionPace()
    foreseen, missing, asked_at = None, None, -_FORECAST_EVERY_S
    with ProgressDisplay() as screen:
        while True:
            shown = load_view(store, reference)
            pace.add_observation(shown.total_submitted)
            if not silent:
                if time.monotonic() - asked_at >= _FORECAST_EVERY_S:
                    foreseen, asked_at = forecast(shown), time.monotonic()
                    missing = scheduler_warning(store)
                screen.show_progress(
                    shown, pace, foreseen if shown.counts["pending"] else None, missing
                )
            if until(shown):
                return shown
            time.sleep(_EVERY_S)


def progress_line(shown: "CampaignView", pace: SubmissionPace) -> str:
    """One line: how many of all, the counts of a Tally, the rate and the time left."""
    tally = shown.tally
    bits = [f"{shown.campaign.state}", f"{tally.submitted}/{tally.total} submitted"]
    bits.append(f"{tally.delivered} delivered")
    bits += [
        f"{count} {words}"
        for count, words in (
            (tally.not_delivered, "not delivered"), (tally.not_submitted, "not submitted"),
        )
        if count
    ]  # fmt: skip
    if (doubt := doubt_in_short(shown)) is not None:
        bits.append(doubt)
    if tally.pending and not shown.is_over:
        if pace.is_measured:
            bits.append(f"{format_rate(pace.per_second)} messages/s")
        # Before anything has left, the forecast says more than a guess.
        if (left := pace.remaining_s(tally.pending)) is not None:
            bits.append(f"{format_duration(left)} left")
    elif shown.polls:
        bits.append(f"waiting for receipts{_next_poll_text(shown)}")
    return " · ".join(bits)


def stop_reason(shown: "CampaignView") -> str | None:
    """The sentence that says why nothing of a campaign is sent; None if it is not stopped."""
    words = None if shown.is_over else _find_stop(shown)
    return None if words is None else local_times(words, [shown.campaign.account])


def stop_style(shown: "CampaignView") -> str:
    """The style of a `stop_reason`: a person looks at a pause and at trouble, not at a rate."""
    needs_person = (
        shown.campaign.state == "paused"
        or shown.account_paused_by is not None
        or shown.account_trouble is not None
    )
    return "bold yellow" if needs_person else "dim"


def _find_stop(shown: "CampaignView") -> str | None:
    if shown.campaign.state == "paused":
        why = f": {shown.campaign.state_reason}" if shown.campaign.state_reason else ""
        resume = f"`dispatcher campaign resume {shown.campaign.id}` continues"
        return f"campaign paused{why}; {resume}"
    # Where nothing is left to send, the account keeps nothing from being sent.
    by_account = _find_stop_of_account(shown) if shown.counts["pending"] else None
    if by_account is not None or shown.waits_for is None:
        return by_account
    return f"waits for {shown.waits_for}"


def _find_stop_of_account(shown: "CampaignView") -> str | None:
    if shown.account_paused_by is not None:
        return (
            f"account {shown.campaign.account} paused ({shown.account_paused_by}): "
            f"{shown.account_pause_reason}; it waits for {shown.account_waits_for}"
        )
    if shown.account_trouble is not None:
        return (
            f"account {shown.campaign.account} waits for {shown.account_waits_for} "
            f"({shown.account_trouble})"
        )
    if shown.account_waits_for is not None:
        return f"account {shown.campaign.account} waits for {shown.account_waits_for}"
    return None


def can_redraw() -> bool:
    """Whether standard output is a terminal on which lines can be drawn anew."""
    return is_terminal(sys.stdout) and os.environ.get("TERM", "") not in {"", "dumb", "unknown"}


class ProgressDisplay:
    """Prints progress: a line that is redrawn, or one line after the other."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._live = None
        self._clock = clock
        self._shown = False
        self._last: tuple[object, ...] | None = None
        self._last_at = 0.0
        self._drawn: tuple[object, ...] | None = None
        if can_redraw():
            from rich.live import Live

            # Drawn when something has changed: what is drawn again for nothing flickers.
            self._live = Live(auto_refresh=False, transient=False)

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    @property
    def is_fresh(self) -> bool:
        """Whether nothing has been shown yet."""
        return not self._shown

    def show_progress(
        self,
        shown: "CampaignView",
        pace: SubmissionPace,
        foreseen: str | None = None,
        missing: str | None = None,
    ) -> None:
        """Show the state of a campaign.

        `foreseen` is its forecast, `missing` a warning about what all campaigns wait for.
        """
        self._shown = True
        if self._live is not None:
            text, stopped = progress_line(shown, pace), stop_reason(shown) or missing
            drawn = (text, stopped, foreseen, self._live.console.width)
            if drawn != self._drawn:
                self._live.update(_draw_progress(shown, text, stopped, foreseen), refresh=True)
                self._drawn = drawn
            return
        self.print_change(shown, pace, foreseen, missing)

    def print_change(
        self,
        shown: "CampaignView",
        pace: SubmissionPace,
        foreseen: str | None,
        missing: str | None,
        head: str = "",
    ) -> None:
        """Print a line, which begins with `head`, if the campaign changed, and not too often.

        A forecast that moves by a second is not a change.
        """
        stopped = stop_reason(shown) or missing
        key = (
            shown.campaign.state, shown.tally, shown.waits_for, stop_style(shown), missing is None
        )  # fmt: skip
        now = self._clock()
        moved = self._last is None or key[0] != self._last[0]
        if moved or (key != self._last and now - self._last_at >= _LINE_EVERY_S):
            parts = (progress_line(shown, pace), foreseen, stopped)
            print_line(head + " · ".join(part for part in parts if part is not None), "  ")
            self._last, self._last_at = key, now


def _draw_progress(
    shown: "CampaignView", text: str, stopped: str | None, foreseen: str | None
) -> "Text":
    from rich.text import Text

    from dispatcher.cli.output import safe_text

    tally = shown.tally
    share = tally.submitted / tally.total if tally.total else 0.0
    drawn = Text(draw_bar(share), style="green")
    drawn.append(f" {int(100 * share)} % submitted\n{text}", style="default")
    if foreseen is not None:
        drawn.append(f"\n{safe_text(foreseen)}", style="dim")
    if (doubt := doubt_in_short(shown)) is not None:
        drawn.append(f"\n{doubt}", style="bold red")
    if stopped is not None:
        style = stop_style(shown) if stop_reason(shown) else "bold yellow"
        drawn.append(f"\n{safe_text(stopped)}", style=style)
    return drawn


def draw_bar(share: float, cells: int = _BAR_CELLS) -> str:
    """A bar of so many cells, of which a share is full."""
    full = int(cells * share)
    return "█" * full + "░" * (cells - full)


def format_rate(per_second: float) -> str:
    """A rate, with a digit behind the point where it is slow."""
    return f"{per_second:.0f}" if per_second >= 10 or per_second == 0 else f"{per_second:.1f}"


def format_duration(seconds: float) -> str:
    """`42 s`, `3 min 05 s`, `2 h 10 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _next_poll_text(shown: "CampaignView") -> str:
    if shown.next_poll_at is None:
        return ""
    wait_s = (shown.next_poll_at - datetime.now(UTC)).total_seconds()
    return f", next request in {format_duration(wait_s)}" if wait_s > 1 else ""

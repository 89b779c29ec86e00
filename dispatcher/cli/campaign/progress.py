"""Progress of a campaign: redrawn on a terminal; elsewhere a line from time to time."""

import sys
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

import click

from dispatcher.cli.banners import scheduler_warning
from dispatcher.cli.doubt import doubt_in_short
from dispatcher.cli.terminal import is_terminal

if TYPE_CHECKING:
    from rich.text import Text

    from dispatcher.campaigns.view import CampaignView
    from dispatcher.store.engine import Store

_EVERY_S = 0.5
_FORECAST_EVERY_S = 5.0
_LINE_EVERY_S = 2.0
#: The rate shown is the average over this many seconds.
_RATE_OVER_S = 10.0
_BAR_CELLS = 40


class SubmissionPace:
    """How fast messages are submitted, and how long the rest takes at this rate."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def add_observation(self, submitted: int) -> None:
        """Add the number of messages that are submitted by now."""
        now = time.monotonic()
        self._seen.append((now, submitted))
        while len(self._seen) > 2 and now - self._seen[0][0] > _RATE_OVER_S:
            self._seen.popleft()

    @property
    def per_second(self) -> float:
        """Messages per second."""
        (began, first), (ended, last) = self._seen[0], self._seen[-1]
        return (last - first) / (ended - began) if ended > began else 0.0

    def remaining_s(self, remaining: int) -> float | None:
        """Seconds for the rest; None while nothing is submitted."""
        return remaining / self.per_second if self.per_second > 0 else None


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
        bits.append(f"{pace.per_second:.0f} messages/s")
        left = pace.remaining_s(tally.pending)
        bits.append(f"{_format_duration(left)} left" if left is not None else "time left unknown")
    elif shown.polls:
        bits.append(f"waiting for receipts{_next_poll_text(shown)}")
    return " · ".join(bits)


def stop_reason(shown: "CampaignView") -> str | None:
    """The sentence that says why nothing of a campaign is sent; None if it is not stopped."""
    if shown.is_over:
        return None
    if shown.campaign.state == "paused":
        reason = shown.campaign.state_reason
        return f"campaign paused: {reason}" if reason else "campaign paused"
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
    return None if shown.waits_for is None else f"waits for {shown.waits_for}"


class ProgressDisplay:
    """Prints progress: a line that is redrawn, or one line after the other."""

    def __init__(self) -> None:
        self._live = None
        self._shown = False
        self._last = ""
        self._last_at = 0.0
        if is_terminal(sys.stdout):
            from rich.live import Live

            self._live = Live(refresh_per_second=4, transient=False)

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
        text, stopped = progress_line(shown, pace), stop_reason(shown) or missing
        if self._live is not None:
            self._live.update(_draw_bar(shown, text, stopped, foreseen))
            return
        text = " · ".join(part for part in (text, foreseen, stopped) if part is not None)
        now = time.monotonic()
        moved = text.split(" · ")[0] != self._last.split(" · ")[0]
        if moved or (text != self._last and now - self._last_at >= _LINE_EVERY_S):
            click.echo(text)
            self._last, self._last_at = text, now


def _draw_bar(
    shown: "CampaignView", text: str, stopped: str | None, foreseen: str | None
) -> "Text":
    from rich.text import Text

    from dispatcher.cli.output import safe_text

    tally = shown.tally
    share = tally.submitted / tally.total if tally.total else 0.0
    full = int(_BAR_CELLS * share)
    drawn = Text("█" * full + "░" * (_BAR_CELLS - full), style="green")
    drawn.append(f" {int(100 * share)} % submitted\n{text}", style="default")
    if foreseen is not None:
        drawn.append(f"\n{safe_text(foreseen)}", style="dim")
    if (doubt := doubt_in_short(shown)) is not None:
        drawn.append(f"\n{doubt}", style="bold red")
    if stopped is not None:
        drawn.append(f"\n{safe_text(stopped)}", style="bold yellow")
    return drawn


def _format_duration(seconds: float) -> str:
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
    return f", next request in {_format_duration(wait_s)}" if wait_s > 1 else ""

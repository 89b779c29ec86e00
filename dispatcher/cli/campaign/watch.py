"""`dispatcher campaign watch`: campaigns on one screen, live, or as lines where that is a file."""

import signal
import time
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import click

from dispatcher.cli.banners import scheduler_warning
from dispatcher.cli.campaign.progress import ProgressDisplay, can_redraw
from dispatcher.cli.campaign.view import open_store, print_campaign, with_rate_wait
from dispatcher.cli.campaign.watched import Balances, Watched
from dispatcher.cli.exit import interrupted_code
from dispatcher.cli.output import safe_text
from dispatcher.cli.zones import local_times
from dispatcher.local.signals import last_signal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rich.console import ConsoleDimensions, RenderableType

    from dispatcher.store.engine import Store

_EVERY_S: Final = 0.5
_CLOSER_EVERY_S: Final = 3.0
_OPEN: Final = ("scheduled", "running", "paused")


@click.command("watch")
@click.argument("references", metavar="[CAMPAIGN]...", nargs=-1)
@click.pass_context
def campaign_watch(ctx: click.Context, references: tuple[str, ...]) -> None:
    """Follow campaigns until they end; without CAMPAIGN, all that are open.

    One campaign is shown with its rate, window, forecast, account and trouble. Ctrl-C stops
    watching, not the campaigns. Without a terminal, each change is a line.

    \b
    Example:
      dispatcher campaign watch 1
      dispatcher campaign watch
    """
    store = open_store(ctx)
    watch = _Watch(ctx, store, references)
    try:
        watch.run()
    except KeyboardInterrupt:
        goes_on = "the campaign goes on" if len(references) == 1 else "the campaigns go on"
        with suppress(OSError):  # the terminal may be gone
            click.echo(f"\nno longer watching; {goes_on}")
        if last_signal() is not signal.SIGINT:
            raise click.exceptions.Exit(interrupted_code()) from None
        return
    if not watch.last:
        click.echo("no campaign is open; `dispatcher campaign list` shows all")
    for number, one in enumerate(watch.last):
        click.echo("\n" * (number > 0), nl=False)
        print_campaign(ctx, one.view)
    if any(one.view.counts["in_doubt"] for one in watch.last):
        raise click.exceptions.Exit(1)


class _Watch:
    """The campaigns that are watched, looked at again and again until all are over."""

    def __init__(self, ctx: click.Context, store: "Store", references: "Sequence[str]") -> None:
        self._ctx = ctx
        self._store = store
        self._references = references
        self._known: dict[int, Watched] = {}
        self._is_live = can_redraw()
        self._balances = Balances(asks=self._is_live and len(references) == 1)
        self._closer_at = 0.0
        self._missing: str | None = None

    @property
    def last(self) -> "Sequence[Watched]":
        """The campaigns as they were at the last look, in the order in which they were named."""
        return tuple(self._known.values())

    def run(self) -> None:
        """Show them until all are over."""
        screen, show = self._open_screen()
        with screen:
            while True:
                self._look()
                show()
                if all(one.view.is_over for one in self.last):
                    return
                time.sleep(_EVERY_S)

    def _look(self) -> None:
        from dispatcher.campaigns.view import load_view

        for reference in self._find_references():
            view = load_view(self._store, reference)
            if len(self._references) == 1:
                view = with_rate_wait(self._ctx, self._store, view)
            one = self._known.setdefault(view.campaign.id, Watched(view))
            one.view = view
            one.pace.add_observation(view.total_submitted)
        if time.monotonic() >= self._closer_at:
            for one in self.last:
                one.look_closer(self._ctx, self._store, self._balances)
            self._missing = scheduler_warning(self._store)
            self._closer_at = time.monotonic() + _CLOSER_EVERY_S

    def _find_references(self) -> "Iterable[str]":
        """Those that were named; else those that are open, and those that were at the start."""
        if self._references:
            return self._references
        from dispatcher.store.campaign_search import CampaignFilter, list_newest

        with self._store.read() as conn:
            rows = list_newest(conn, limit=50, only=CampaignFilter(states=_OPEN), single=False)
        return [str(key) for key in dict.fromkeys([*self._known, *(row.id for row in rows[::-1])])]

    def _open_screen(self) -> "tuple[AbstractContextManager[object], Callable[[], None]]":
        if not self._is_live:
            return nullcontext(), _LinePrinter(self).print_changes
        from rich.console import Console
        from rich.live import Live

        # The other screen of the terminal: no line of it stays behind when the window changes.
        console = Console()
        live = Live(console=console, screen=True, auto_refresh=False, vertical_overflow="crop")
        return live, lambda: live.update(self._draw(console.size), refresh=True)

    def _draw(self, size: "ConsoleDimensions") -> "RenderableType":
        from dispatcher.cli.campaign.watch_screen import draw_screen

        accounts = {one.view.campaign.account for one in self.last}
        now = local_times(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC", accounts)
        return draw_screen(self.last, self._missing, now, size)

    @property
    def missing(self) -> str | None:
        """The warning that no scheduler runs."""
        return self._missing


class _LinePrinter:
    """A line for each campaign that has changed; with several, each begins with its campaign."""

    def __init__(self, watch: _Watch) -> None:
        self._watch = watch
        self._displays: dict[int, ProgressDisplay] = {}

    def print_changes(self) -> None:
        """Print what has changed since the last call."""
        several = len(self._watch.last) > 1
        for one in self._watch.last:
            campaign = one.view.campaign
            display = self._displays.setdefault(campaign.id, ProgressDisplay())
            forecast = one.forecast if one.view.counts["pending"] else None
            head = f"campaign {campaign.id} ({safe_text(campaign.name)}): " if several else ""
            display.print_change(one.view, one.pace, forecast, self._watch.missing, head)

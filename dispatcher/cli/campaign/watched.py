"""What is shown of a campaign that is watched: its view, and all that stands around it."""

import threading
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import click
import orjson

from dispatcher.cli.campaign.forecast_view import campaign_terms, forecast_in_words
from dispatcher.cli.campaign.pace import SubmissionPace
from dispatcher.cli.context import settings_from
from dispatcher.errors import DispatcherError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dispatcher.campaigns.view import CampaignView
    from dispatcher.store.engine import Store
    from dispatcher.store.rows import AccountRow, BatchRow, CampaignRow

#: Batches in trouble that are named.
_NAMED: Final = 3
#: A balance that was read longer ago is asked for again.
_BALANCE_FRESH: Final = timedelta(minutes=15)


@dataclass(slots=True)
class Watched:
    """A campaign while it is watched."""

    view: "CampaignView"
    pace: SubmissionPace = field(default_factory=SubmissionPace)
    #: When everybody will have been submitted, as a sentence.
    forecast: str | None = None
    #: What it may do: its rate, and whether its windows are open.
    rate: str = ""
    window: str = ""
    #: Its account's balance.
    balance: str | None = None
    trouble: "Sequence[BatchRow]" = ()

    def look_closer(self, ctx: click.Context, store: "Store", balances: "Balances") -> None:
        """Read what changes slowly: forecast, terms, windows, trouble, balance."""
        from dispatcher.store import accounts, campaign_search
        from dispatcher.store.engine import store_now

        campaign = self.view.campaign
        with store.read() as conn:
            now = store_now(conn)
            self.trouble = campaign_search.list_troubled_batches(conn, campaign.id, _NAMED)
            account = accounts.find_account(conn, campaign.account)
        self.forecast = forecast_in_words(ctx, store, self.view)
        terms = dict(campaign_terms(ctx, campaign))
        self.rate = terms.get("rate", "")
        self.window = _describe_window(ctx, self.view, terms.get("windows", ""), now)
        self.balance = balances.find(ctx, campaign, account, now)


def _describe_window(ctx: click.Context, view: "CampaignView", words: str, now: datetime) -> str:
    """Whether the windows are open and until when, in the account's zone, and the windows."""
    from dispatcher.campaigns.gate import campaign_schedule
    from dispatcher.campaigns.wording import format_local

    settings = settings_from(ctx).accounts.get(view.campaign.account)
    if settings is None or view.campaign.zones is not None:
        return words
    allowed, zone = campaign_schedule(settings, view.campaign, None), ZoneInfo(settings.timezone)
    if allowed.is_open(now):
        closes = allowed.closes_at(now)
        return words if closes is None else f"open until {format_local(closes, zone)}; {words}"
    opens = allowed.next_open(now)
    when = "never opens again" if opens is None else f"CLOSED, opens {format_local(opens, zone)}"
    return f"{when}; {words}"


class Balances:
    """What is left at the providers: as the workers read it, or asked for in the background."""

    def __init__(self, *, asks: bool) -> None:
        self._asks = asks
        self._found: dict[str, dict[str, object]] = {}
        self._asked: set[str] = set()

    def find(
        self, ctx: click.Context, campaign: "CampaignRow", row: "AccountRow | None", now: datetime
    ) -> str | None:
        """The balance for a campaign's kind in words; None while it is not known."""
        name = campaign.account
        at = None if row is None or row.balance is None else row.balance_at
        if row is not None and row.balance is not None and at and now - at < _BALANCE_FRESH:
            return _list_packages(orjson.loads(row.balance), campaign.kind)
        if self._asks and name not in self._asked:
            self._asked.add(name)
            # A provider that is slow must not stop the screen.
            threading.Thread(target=self._ask, args=(ctx, name), daemon=True).start()
        found = self._found.get(name)
        return None if found is None else _list_packages(found, campaign.kind)

    def _ask(self, ctx: click.Context, name: str) -> None:
        from dispatcher.cli.provider_calls import call_provider, provider_of

        with suppress(DispatcherError):
            provider = provider_of(settings_from(ctx), name)
            if provider.capabilities.balance:
                request = provider.balance_request()
                left = call_provider(name, provider, request, provider.parse_balance)
                self._found[name] = {one.package: one.amount for one in left}


def _list_packages(balance: "Mapping[str, object]", kind: str) -> str:
    """The package that has the kind's name; without one, all."""
    own = {each: left for each, left in balance.items() if each.strip().lower() == kind}
    balance = own or balance
    return ", ".join(f"{package} {amount}" for package, amount in balance.items())

"""Checks of what is sent: campaigns that stand still or will be late, and balances."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

import orjson
from sqlalchemy import Connection

from dispatcher.campaigns.waiting import CHECK, waits_for_check
from dispatcher.config.settings import Settings
from dispatcher.doctor.result import CheckResult
from dispatcher.forecast.service import forecast_campaign
from dispatcher.outbound.silence import SILENT_S, count_due
from dispatcher.status import CampaignState
from dispatcher.store import accounts, attempts, campaign_search, due_work
from dispatcher.store.campaign_search import CampaignFilter
from dispatcher.store.engine import Store, store_now

#: Campaigns that are forecast in one run; each costs some milliseconds.
_MOST: Final = 50


def check_standstill(store: Store, settings: Settings) -> Iterator[CheckResult]:
    """Accounts from which nothing has left for a minute although messages were due all the time."""
    with store.read() as conn:
        now = store_now(conn)
        for name in sorted(due_work.accounts_with_waiting(conn, now) & settings.accounts.keys()):
            for campaign_id, pending in _stuck_campaigns(conn, settings, name, now).items():
                yield CheckResult(
                    part="sending",
                    ok=False,
                    what=f"campaign {campaign_id} stands still: {pending} messages are due, and "
                    f"account {name} has sent nothing for {SILENT_S:.0f} s",
                    remedy="see scheduler, workers and broker above; then the workers' logs",
                )


def _stuck_campaigns(
    conn: Connection, settings: Settings, account: str, now: datetime
) -> dict[int, int]:
    before = now - timedelta(seconds=SILENT_S)
    if attempts.has_begun_since(conn, account, before):
        return {}
    own = settings.accounts[account]
    were_due = count_due(conn, account, own, before)
    return {one: n for one, n in count_due(conn, account, own, now).items() if one in were_due}


def check_lateness(store: Store, settings: Settings) -> Iterator[CheckResult]:
    """Campaigns of which messages will lapse, or that cannot be sent as things are."""
    with store.read() as conn:
        now = store_now(conn)
        rows = campaign_search.list_newest(
            conn, limit=_MOST, only=CampaignFilter(states=("scheduled", "running")), single=False
        )
    for row in rows:
        account = settings.accounts.get(row.account)
        if account is None:
            yield CheckResult(
                part="sending",
                ok=False,
                what=f"campaign {row.id} waits for account {row.account}, which is not configured",
                remedy=f"write it under [accounts.{row.account}], or cancel the campaign",
            )
            continue
        if row.state == CampaignState.RUNNING and waits_for_check(row, now):
            yield CheckResult(
                part="sending",
                ok=True,
                is_warning=True,
                what=f"campaign {row.id} waits for {CHECK}: sender, template and balance",
                remedy="nothing to do if it passes within a minute; else "
                f"`dispatcher account check {row.account}` says what the provider answers",
            )
        if lapsed := forecast_campaign(store, account, row).lapsed:
            yield CheckResult(
                part="sending",
                ok=True,
                is_warning=True,
                what=f"campaign {row.id} is late: {lapsed} messages will lapse at --expire-at",
                remedy=f"`dispatcher campaign set {row.id}`: a later --expire-at, a wider "
                "--window, or a higher --rate or --priority",
            )


def check_balances(store: Store, settings: Settings) -> Iterator[CheckResult]:
    """Balances below the mark of [notify], as they were last read."""
    mark = settings.notify.balance_below
    with store.read() as conn:
        known = accounts.all_accounts(conn)
    for name in settings.accounts:
        row = known.get(name)
        if mark is None or row is None or row.balance is None or row.balance_at is None:
            continue
        for package, amount in orjson.loads(row.balance).items():
            if Decimal(amount) < Decimal(str(mark)):
                yield CheckResult(
                    part="accounts",
                    ok=True,
                    is_warning=True,
                    what=f"{name}: {amount} left of {package}, below {mark:.15g} "
                    f"(at {row.balance_at:%Y-%m-%d %H:%M:%S} UTC)",
                    remedy="top up the account at the provider",
                )
